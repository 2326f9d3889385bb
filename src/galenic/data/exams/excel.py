"""Reading of the cells of an Excel file, as they are shown.

Excel turns what is typed into other values: "5 %" into 0.05 with a number format, "1/2" into a
date. Percentages are turned back; other values that are shown as another text are refused.
"""

from __future__ import annotations

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from galenic.data.exams.packed import MISSING, Room
from galenic.errors import UserError

__all__ = ["read_cells"]

CELL_BYTES = 8
"""What an empty cell takes at least in memory."""
_NUMBERS = re.compile(r"General|@|[0#?.,_ ()E+-]+", re.I)
"""Number formats that show the number itself, of any length."""
_SHARE = re.compile(r"[0#?.,]+ ?%")
_DATES = (datetime.date, datetime.time, datetime.timedelta)


def read_cells(
    content: bytes, path: Path, error: Callable[[int, object], UserError]
) -> list[tuple[int, list[Any]]]:
    """Return the cells of the only filled sheet, by row number.

    Args:
        content: the file.
        path: its path, for error messages.
        error: builds the error for a row.

    Raises:
        UserError: openpyxl is missing, the file is damaged, several sheets are filled, or a cell
            shows another text than its value.
    """
    try:
        import openpyxl
    except ImportError as missing:
        what = MISSING.format(path=path, what="an Excel file", module="openpyxl")
        raise UserError(what) from missing
    room = Room(path, len(content))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            room.take(sum(info.file_size for info in archive.infolist()))
        with warnings.catch_warnings():  # openpyxl warns of styles it drops
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = [(sheet.title, _rows(sheet, room)) for sheet in book]
    except UserError:
        raise
    except Exception as damaged:
        raise UserError(f"{path} is damaged or not an Excel file (.xlsx).") from damaged
    filled = [
        (title, rows)
        for title, rows in sheets
        if any(any(cell.value is not None for cell in row) for row in rows)
    ]
    if len(filled) > 1:
        raise UserError(
            f"{path} has {len(filled)} sheets with content "
            f"({', '.join(title for title, _ in filled)}): save the one that is meant as a file "
            "of its own."
        )
    rows: list[tuple[int, list[Any]]] = []
    for at, row in enumerate(filled[0][1] if filled else (), start=1):
        if any(cell.value is not None for cell in row):
            width = len(rows[0][1]) if rows else 0
            room.take(CELL_BYTES * width)
            shown = [_shown(cell, at, error) for cell in row]
            rows.append((at, shown + [None] * (width - len(shown))))
    return rows


def _rows(sheet: Any, room: Room) -> list[Any]:
    sheet.reset_dimensions()  # as stated they may be millions of empty cells
    rows = []
    for row in sheet.iter_rows():
        room.take(CELL_BYTES * (1 + len(row)))
        rows.append(row)
    return rows


def _shown(cell: Any, at: int, error: Callable[[int, object], UserError]) -> Any:
    value = cell.value
    if isinstance(value, _DATES):
        raise error(
            at,
            f"Excel has turned a text into a date ({value}): format the cell as text and type it "
            "again",
        )
    if value is not None and cell.data_type == "e":
        raise error(at, f"Excel shows an error ({value}) in a cell")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    shape = str(cell.number_format).split(";")[0]
    if _SHARE.fullmatch(shape):
        return f"{value * 100:.12g}%"
    if not _NUMBERS.fullmatch(shape):
        raise error(
            at, f"Excel shows the number {value:g} in the format {shape!r}: format the cell as text"
        )
    return value
