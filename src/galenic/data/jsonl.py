"""JSON Lines, plain or gzip: errors name file and line; writing is atomic."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.cache import replacing
from galenic.data.rows import RowError
from galenic.errors import UserError
from galenic.limits import JSONL_BYTES, JSONL_LINE, UNPACKED_RATIO, one_line
from galenic.reading import has_suffix, read_file

__all__ = [
    "JsonlFile",
    "encode_gzip",
    "parse_json",
    "parse_line",
    "read_jsonl",
    "read_whole",
    "write_bytes",
]

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class JsonlFile:
    """Uncompressed content of a file, and the hash of the file as stored on disk."""

    path: Path
    sha256: str
    content: bytes

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield line number (from 1) and object of each line, skipping empty lines.

        Raises:
            UserError: a line is not UTF-8, not JSON, or not an object.
        """
        for number, line in enumerate(self.content.split(b"\n"), start=1):
            if line.strip():
                try:
                    yield number, parse_line(line, first=number == 1)
                except RowError as error:
                    raise self.error(number, error) from error

    def error(self, line: int, problem: object) -> UserError:
        """Build the error for an invalid line of this file."""
        return UserError(f"{self.path}, line {line}: {problem}.")


def read_whole(path: Path) -> bytes:
    """Read a file of questions or texts of at most `JSONL_BYTES` bytes.

    Raises:
        UserError: the file is missing, unreadable or too large.
    """
    try:
        return read_file(path, JSONL_BYTES)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def read_jsonl(path: Path) -> JsonlFile:
    """Read a whole ``.jsonl`` or ``.jsonl.gz`` file.

    Raises:
        UserError: the file is missing, unreadable, not valid gzip, or truncated.
    """
    raw = read_whole(path)
    content = _unpack(path, raw) if has_suffix(path, ".gz") else raw
    return JsonlFile(path, hashlib.sha256(raw).hexdigest(), content)


def encode_gzip(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Encode rows as gzipped JSON Lines; without a time stamp, so equal rows give equal bytes.

    Raises:
        TypeError: a value has no form in JSON.
        ValueError: a number is not finite, which `read_jsonl` refuses.
    """
    write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode
    lines = [write(row) + "\n" for row in rows]
    return gzip.compress("".join(lines).encode(), compresslevel=9, mtime=0)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, by renaming a temporary file.

    Raises:
        UserError: its folder does not exist and cannot be made, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"the folder {path.parent} cannot be made: {error.strerror}. Name another."
        ) from error
    with replacing(path) as part:
        part.write_bytes(content)


def _unpack(path: Path, raw: bytes) -> bytes:
    if raw[:2] != _GZIP_MAGIC:
        raise UserError(f"{path} is not a gzip file although its name ends in .gz. Fetch it again.")
    most = min(JSONL_BYTES, max(UNPACKED_RATIO * len(raw), 1 << 20))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise UserError(
                f"{path} unpacks to more than {most:,} bytes ({UNPACKED_RATIO} times its size, and "
                f"{JSONL_BYTES:,}, are allowed). Unpack it yourself if you trust it."
            )
        return content
    except EOFError as error:
        raise UserError(
            f"{path} is cut off: the gzip stream has no end. Fetch it again."
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged ({one_line(str(error))}). Fetch it again.") from error


def parse_line(line: bytes, *, first: bool) -> dict[str, Any]:
    """Parse one line as a JSON object.

    Args:
        line: the line without its line break.
        first: True for the first line of a file, which may begin with a byte order mark.

    Raises:
        RowError: it is not UTF-8, not JSON, or not an object.
    """
    if len(line) > JSONL_LINE:
        raise RowError(f"the line has {len(line):,} bytes, and {JSONL_LINE:,} are allowed")
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1} of the line") from error
    row = parse_json(text)
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    if "\\u" in text and _has_half_pairs(row):
        raise RowError("half of a surrogate pair, which is no text")
    return row


def parse_json(text: str) -> Any:
    """Parse JSON strictly: duplicate keys and NaN are errors.

    Raises:
        RowError: it is not valid JSON in this sense.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON at character {error.pos + 1} ({error.msg})") from error
    except RowError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep nesting
        raise RowError(f"cannot be read ({error})") from error


def _has_half_pairs(row: dict[str, Any]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowError(f"{one_line(repr(twice), 80)} is there twice in one object")
    return row


def _no_constant(name: str) -> float:
    raise RowError(f"{name} is not JSON")
