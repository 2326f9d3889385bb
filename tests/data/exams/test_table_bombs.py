"""Tables that unpack to far more than they are are refused before they fill the memory."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from galenic.data.exams.files import read_table
from galenic.errors import UserError


def _excel() -> bytes:
    book = pytest.importorskip("openpyxl").Workbook()
    book.active.append(["a"])
    into = io.BytesIO()
    book.save(into)
    return into.getvalue()


def sheet_bomb(rows: str) -> bytes:
    """A good Excel file with other rows in it."""
    into = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_excel())) as old, zipfile.ZipFile(into, "w", 8) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                head = content.partition(b"<sheetData>")[0]
                head = head.replace(b'<dimension ref="A1:A1"', b'<dimension ref="A1:XFD1048576"')
                content = head + f"<sheetData>{rows}</sheetData></worksheet>".encode()
            new.writestr(name, content)
    return into.getvalue()


def parquet_bomb() -> bytes:
    """One text of 100,000 letters, which is that of 100,000 rows."""
    pyarrow = pytest.importorskip("pyarrow")
    letters = pyarrow.array(["x" * 100_000])
    rows = pyarrow.DictionaryArray.from_arrays([0] * 100_000, letters)
    into = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"question": rows}), into)
    return into.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "far.xlsx": lambda: sheet_bomb('<row r="1048576"><c r="A1048576"><v>1</v></c></row>'),
    "wide.xlsx": lambda: sheet_bomb('<row><c r="XFD1"><v>1</v></c></row>' * 9000),
    "long.xlsx": lambda: sheet_bomb("<row/>" * 1_000_000),
    "text.parquet": parquet_bomb,
}


@pytest.mark.parametrize("name", BOMBS)
def test_tables_may_not_unpack_to_much_more_than_themselves(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    with pytest.raises(UserError, match="200 times its size"):
        read_table(tmp_path / name)


def test_a_table_of_very_many_columns_is_read_quickly(tmp_path: Path) -> None:
    head = ",".join(f"c{number}" for number in range(100_000))
    (tmp_path / "q.csv").write_text(f"{head}\n{'1,' * 99_999}1\n")
    begun = time.process_time()
    assert len(read_table(tmp_path / "q.csv").rows[0][1]) == 100_000
    assert time.process_time() - begun < 10
