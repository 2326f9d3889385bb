"""Reading of question files: CSV, TSV, JSON, JSONL, Parquet and Excel, plain or compressed.

The content decides the format: gzip, zstd, Parquet and Excel files begin with magic bytes. The
extension only distinguishes text formats; if it contradicts the content, that is an error.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from galenic.data.exams.packed import Room, parquet_rows
from galenic.data.jsonl import parse_json, parse_line, read_whole
from galenic.data.rows import RowError
from galenic.errors import UserError

__all__ = ["FORMATS", "PACKED", "ExamTable", "exam_suffix", "read_table"]

PACKED = (".gz", ".zst")
_GZIP, _ZSTD, _PARQUET, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04"
_PART = 4096
"""Bytes decompressed at once, so that a file which grows enormously is noticed early."""
_SAID_DELIMITER = re.compile(r"sep=([,;\t|])\r?\n")
_LISTS = ("data", "questions", "examples", "rows", "items", "test", "instances")
"""Keys of a JSON object under which the rows may be found."""


@dataclass
class ExamTable:
    """The rows of a file, each with its location: ``line 3``, ``row 3``.

    Attributes:
        path: path of the file.
        sha256: hash of the file as stored on disk.
        rows: pairs of number and row.
        word: unit of the numbers, ``line`` or ``row``.
        headless: True if there are no column names; columns are then named ``0``, ``1`` ...
        textual: True if every cell is text, numbers included.
        notes: messages for the user on what was read differently from what the name suggests.
    """

    path: Path
    sha256: str
    rows: list[tuple[int, dict[str, Any]]]
    word: str = "line"
    headless: bool = False
    textual: bool = False
    notes: list[str] = field(default_factory=list)

    def error(self, place: int, problem: object) -> UserError:
        """Build the error for a row of this file."""
        return UserError(f"{self.path}, {self.word} {place}: {problem}.")


def exam_suffix(name: str) -> str:
    """Return a question file's extension, including that of its compression; empty if unknown."""
    lower = name.lower()
    for packing in ("", *PACKED):
        for suffix in FORMATS:
            if lower.endswith(suffix + packing):
                return suffix + packing
    return ""


def read_table(path: Path) -> ExamTable:
    """Read a whole question file.

    Raises:
        UserError: it cannot be read, is damaged, or is not a question file; the message gives the
            line.
    """
    raw = read_whole(path)
    table = ExamTable(path, hashlib.sha256(raw).hexdigest(), [])
    content = _unpacked(path, raw)
    suffix = exam_suffix(path.name)
    for packing in PACKED:
        suffix = suffix.removesuffix(packing)
    kind = _by_content(content) or suffix
    if kind not in FORMATS:
        raise UserError(f"{path}: a question file must end in {', '.join(FORMATS)}.")
    if suffix and kind != suffix and {kind, suffix} & {".parquet", ".xlsx"}:
        raise UserError(f"{path} is a {kind} file by its content. Name it so, or fetch it again.")
    FORMATS[kind](content, table)
    return table


def _by_content(content: bytes) -> str:
    if content[:4] == _PARQUET:
        return ".parquet"
    return ".xlsx" if content[:4] == _ZIP else ""


def _unpacked(path: Path, raw: bytes) -> bytes:
    """Decompress the content; a suspiciously high compression ratio is an error."""
    name = path.name.lower()
    room, content = Room(path, len(raw)), None
    try:
        if raw[:2] == _GZIP:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                content = file.read(room.most + 1)
        elif raw[:4] == _ZSTD:
            content = _zstd(raw, room.most)
    except EOFError as error:
        kind = "gzip" if raw[:2] == _GZIP else "zstd"
        raise UserError(
            f"{path} is cut off: its {kind} stream has no end. Fetch it again."
        ) from error
    except (OSError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}). Fetch it again.") from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise UserError(f"{path} is damaged ({error}). Fetch it again.") from error
        raise
    if content is not None:
        room.take(len(content))
        return content
    for suffix, kind in ((".gz", "gzip"), (".zst", "zstd")):
        if name.endswith(suffix):
            raise UserError(
                f"{path} is not a {kind} file although its name ends in {suffix}. Fetch it again."
            )
    return raw


def _zstd(raw: bytes, most: int) -> bytes:
    """Decompress all frames of a zstd file, up to ``most + 1`` bytes.

    Raises:
        EOFError: the last frame has no end; the library itself would return what there is.
    """
    import zstandard

    found = bytearray()
    coder = zstandard.ZstdDecompressor().decompressobj()
    at, left = 0, b""
    while at < len(raw) or left:
        if coder.eof:
            coder = zstandard.ZstdDecompressor().decompressobj()
        part = left or raw[at : at + _PART]
        at += 0 if left else _PART
        found += coder.decompress(part)
        left = coder.unused_data if coder.eof else b""
        if len(found) > most:
            return bytes(found)
    if not coder.eof:
        raise EOFError
    return bytes(found)


def _text(content: bytes, table: ExamTable) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise table.error(line, "not UTF-8; save the file as UTF-8") from error


def _read_jsonl(content: bytes, table: ExamTable) -> None:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                row = parse_line(line, first=number == 1)
            except RowError as error:
                if number == 1 and line.strip() in (b"[", b"{"):
                    _read_json(content, table)
                    table.notes.append(f"{table.path.name} holds one JSON document, not JSON lines")
                    return
                raise table.error(number, error) from error
            table.rows.append((number, row))


def _read_json(content: bytes, table: ExamTable) -> None:
    text = _text(content, table)
    try:
        found = parse_json(text)
    except RowError as error:
        if _is_lines(text):
            _read_jsonl(content, table)
            table.notes.append(f"{table.path.name} holds JSON lines, not one JSON document")
            return
        raise UserError(f"{table.path}: {error}.") from error
    table.word = "row"
    table.rows = list(enumerate(_rows_of(found, table), start=1))


def _is_lines(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        return len(lines) > 1 and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False


def _rows_of(found: Any, table: ExamTable) -> Iterator[dict[str, Any]]:
    if isinstance(found, Mapping):
        lists = [name for name in _LISTS if isinstance(found.get(name), list)]
        if len(lists) > 1:
            raise UserError(
                f"{table.path} has several lists ({', '.join(lists)}): save the one that is meant "
                "as a file of its own."
            )
        if lists:
            found = found[lists[0]]
        elif found and all(isinstance(one, Mapping) for one in found.values()):
            found = [{"id": name, **one} for name, one in found.items()]
        else:
            found = [found]
    if not isinstance(found, list):
        raise UserError(f"{table.path} holds no list of questions.")
    for at, row in enumerate(found, start=1):
        if not isinstance(row, Mapping):
            raise UserError(f"{table.path}, row {at}: not a JSON object.")
        inner = row.get("row")  # row format of the Hub's dataset viewer
        yield dict(inner) if isinstance(inner, Mapping) and "row_idx" in row else dict(row)


def _read_csv(content: bytes, table: ExamTable) -> None:
    _read_cells(content, table, None)


def _read_tsv(content: bytes, table: ExamTable) -> None:
    _read_cells(content, table, "\t")


def _read_cells(content: bytes, table: ExamTable, delimiter: str | None) -> None:
    table.textual = True
    text = _text(content, table)
    first = text.split("\n", 1)[0]
    if said := _SAID_DELIMITER.match(text):  # Excel's own first line: "sep=;"
        delimiter, text = said[1], text[said.end() :]
    if delimiter is None:
        counts = {one: first.count(one) for one in ",;\t|"}
        delimiter = max(counts, key=lambda one: counts[one])
        if delimiter != "," and counts[","] < counts[delimiter]:
            shown = "tab" if delimiter == "\t" else delimiter
            table.notes.append(
                f"{table.path.name}: cells are separated by {shown!r}, not by a comma"
            )
        else:
            delimiter = ","
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    cells: list[tuple[int, list[str]]] = []
    begin = first_line = 2 if said else 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                cells.append((begin, row))
            begin = reader.line_num + first_line
    except csv.Error as error:
        raise table.error(begin, f"no valid CSV ({error})") from error
    _fill(cells, table)


def _fill(cells: list[tuple[int, list[Any]]], table: ExamTable) -> None:
    """Add rows of cells as dicts; the keys come from the first row."""
    if not cells:
        return
    head = [str(cell or "").strip() for cell in cells[0][1]]
    if not _is_header(head):
        table.headless = True
        table.rows = [
            (place, {str(at): cell for at, cell in enumerate(row)}) for place, row in cells
        ]
        return
    twice = next((name for name, number in Counter(head).items() if name and number > 1), None)
    if twice is not None:
        raise table.error(cells[0][0], f"the column {twice!r} is there twice")
    for place, row in cells[1:]:
        if len(row) > len(head) and any(str(cell or "").strip() for cell in row[len(head) :]):
            raise table.error(
                place,
                f"{len(row)} cells under {len(head)} column names: the first line that is filled "
                "must have the names of all columns",
            )
        names = (name or str(at) for at, name in enumerate(head))
        full = [*row, *[""] * (len(head) - len(row))]
        table.rows.append((place, dict(zip(names, full, strict=False))))


def _is_header(head: list[str]) -> bool:
    """Whether a first row is a header: column names are short, a question is not."""
    return max(map(len, head)) <= 40 and not any(cell.endswith("?") for cell in head)


def _read_parquet(content: bytes, table: ExamTable) -> None:
    rows = parquet_rows(table.path, content)
    table.word = "row"
    for at, row in enumerate(rows, start=1):
        try:
            table.rows.append((at, _plain(row)))
        except UnicodeDecodeError as error:
            raise table.error(at, "holds bytes that are not UTF-8 text") from error


def _plain(value: Any) -> Any:
    """Replace what only Parquet has by its JSON form: NaN (an empty cell), bytes, numbers, maps."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):  # a map
            return {str(name): _plain(one) for name, one in value}
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def _read_excel(content: bytes, table: ExamTable) -> None:
    from galenic.data.exams.excel import read_cells

    table.word = "row"
    _fill(read_cells(content, table.path, table.error), table)


FORMATS: dict[str, Callable[[bytes, ExamTable], None]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
}
"""Reader for each file extension."""
