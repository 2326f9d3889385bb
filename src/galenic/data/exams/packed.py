"""Limits on what a packed file may unpack to; files of a zip and rows of Parquet within them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from galenic.data.jsonl import read_whole
from galenic.errors import UserError
from galenic.limits import JSONL_BYTES, UNPACKED_RATIO, one_line

__all__ = ["MISSING", "Room", "parquet_rows", "zipped_files"]

MISSING = (
    "{path} is {what}, which needs {module}. Install it with `pip install 'galenic[exams]'`, or "
    "save the file as CSV or JSONL."
)
ROW_BYTES = 100
"""What an empty row takes at least in memory."""
BATCH = 1000


class Room:
    """The bytes that a file may still unpack to.

    Args:
        path: the file, for the error.
        packed: its size in bytes.
    """

    def __init__(self, path: Path, packed: int) -> None:
        self.path = path
        self.most = self.left = min(JSONL_BYTES, max(UNPACKED_RATIO * packed, 1 << 20))

    def take(self, size: int) -> None:
        """Count ``size`` bytes.

        Raises:
            UserError: that is more than the file may unpack to.
        """
        self.left -= size
        if self.left < 0:
            raise UserError(
                f"{self.path} unpacks to more than {self.most:,} bytes ({UNPACKED_RATIO} times its "
                f"size, and {JSONL_BYTES:,}, are allowed). Unpack it yourself if you trust it."
            )


def zipped_files(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of a zip, in order of their names.

    Args:
        path: the zip.
        is_wanted: whether a file of this name is read.

    Raises:
        UserError: it is not a zip, is damaged, or unpacks to too much.
    """
    data = read_whole(path)
    room = Room(path, len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in sorted(archive.infolist(), key=lambda one: one.filename):
                if is_wanted(info.filename):
                    room.take(info.file_size)
                    yield info.filename, archive.read(info)
    except (
        OSError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError
    ) as error:  # fmt: skip
        raise UserError(f"{path} cannot be read as a zip: {one_line(str(error))}.") from error


def parquet_rows(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Read all rows of a Parquet file.

    Raises:
        UserError: pyarrow is missing, the file is damaged, or unpacks to too much.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            MISSING.format(path=path, what="a Parquet file", module="pyarrow")
        ) from error
    room, rows = Room(path, len(content)), []
    try:
        with parquet.ParquetFile(io.BytesIO(content)) as file:
            size = max(1, min(BATCH, room.left // (1 + _largest_cell(file.metadata))))
            for batch in file.iter_batches(batch_size=size):
                room.take(batch.nbytes + ROW_BYTES * batch.num_rows)
                rows += batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        why = one_line(str(error))
        raise UserError(f"{path} is damaged or not a Parquet file ({why}).") from error
    return rows


def _largest_cell(metadata: Any) -> int:
    """Upper bound of a row's bytes: a text that is stored once can be that of every row."""
    return max(
        (
            sum(group.column(at).total_uncompressed_size for at in range(group.num_columns))
            for group in map(metadata.row_group, range(metadata.num_row_groups))
        ),
        default=0,
    )
