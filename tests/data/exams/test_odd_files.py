"""Files that programs write in their own way: read as they are shown, or refused."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from galenic.data.exams.exam import ExamOptions, read_exam
from galenic.errors import UserError

Row = tuple[dict[str, str], str]


def read(folder: Path, name: str, content: bytes | str) -> tuple[list[Row], tuple[str, ...]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    exam = read_exam(path, [path], ExamOptions())
    return [(dict(row["options"]), row["answer"]) for _, row in exam.rows()], exam.notes


def lines(count: int, start: int = 0) -> bytes:
    rows = ({"question": f"q{n}", "options": ["x", "y"], "answer": "B"} for n in range(count))
    return b"".join(json.dumps(row | {"n": start}).encode() + b"\n" for row in rows)


def excel(rows: list[list[Any]], formats: Mapping[str, str] | None = None) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cell, form in (formats or {}).items():
        book.active[cell].number_format = form
    book.save(into := io.BytesIO())
    return into.getvalue()


def parquet(columns: dict[str, Any]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    writer.write_table(pyarrow.table(columns), into := io.BytesIO())
    return into.getvalue()


def test_all_frames_of_a_packed_file_are_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    frames = zstandard.compress(lines(3)) + zstandard.compress(lines(2000, 1))
    assert len(read(tmp_path, "m.jsonl.zst", frames)[0]) == 2003
    assert (
        len(read(tmp_path, "m.jsonl.gz", gzip.compress(lines(3)) + gzip.compress(lines(2)))[0]) == 5
    )


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    pack = gzip.compress if kind == "gz" else pytest.importorskip("zstandard").compress
    with pytest.raises(UserError, match="is cut off"):
        read(tmp_path, f"m.jsonl.{kind}", pack(lines(500))[:-9])


def test_a_zstd_bomb_is_refused_early(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    with pytest.raises(UserError, match="unpacks to more than"):
        read(tmp_path, "m.jsonl.zst", zstandard.compress(bytes(40 << 20)))


def test_percentages_of_excel_are_read_as_shown(tmp_path: Path) -> None:
    rows = [["question", "A", "B", "answer"], ["How many?", 0.05, 0.125, "A"], ["q", 3, 4.5, "B"]]
    found, _ = read(tmp_path, "m.xlsx", excel(rows, {"B2": "0%", "C2": "0.0%", "B3": "#,##0.00"}))
    assert found == [({"A": "5%", "B": "12.5%"}, "A"), ({"A": "3", "B": "4.5"}, "B")]


@pytest.mark.parametrize(
    ("value", "form", "words"),
    [
        (5, '0.00" mg"', "shows the number 5 in"),
        (0.5, "# ?/?", "shows the number 0.5 in"),
        (datetime.timedelta(hours=30), "[h]:mm", "has turned a text into a date"),
        ("#N/A", "General", "shows an error"),
    ],
)
def test_other_values_that_excel_shows_as_a_text_are_refused(
    tmp_path: Path, value: Any, form: str, words: str
) -> None:
    rows = [["question", "A", "B", "answer"], ["q", value, "b", "A"]]
    with pytest.raises(UserError, match=rf"row 2: Excel {words}"):
        read(tmp_path, "m.xlsx", excel(rows, {"B2": form}))


def test_nan_is_an_empty_cell_and_bytes_are_text(tmp_path: Path) -> None:
    columns = {"question": [b"q", b"r"], "A": [1.0, 2.0], "B": [3.0, 4.5], "C": [5.0, float("nan")]}
    found, _ = read(tmp_path, "m.parquet", parquet({**columns, "answer": ["A", "B"]}))
    assert found == [({"A": "1", "B": "3", "C": "5"}, "A"), ({"A": "2", "B": "4.5"}, "B")]


@pytest.mark.parametrize(
    "choices",
    [
        "['0' '4' '2' '6']",
        "['0', '4', '2', '6']",
        "['0' '4'\n '2' '6']",
        "{'text': array(['0', '4', '2', '6'], dtype=object), "
        "'label': array(['A', 'B', 'C', 'D'], dtype='<U1')}",
    ],
)
def test_lists_that_pandas_wrote_into_a_table(tmp_path: Path, choices: str) -> None:
    """Python itself would read the first as one text, '0426'."""
    found, _ = read(tmp_path, "m.csv", f'question,choices,answer\nWhat?,"{choices}",B\n')
    assert found == [({"A": "0", "B": "4", "C": "2", "D": "6"}, "B")]


def test_ten_options_and_more(tmp_path: Path) -> None:
    names = [f"option{n}" for n in range(1, 12)]
    texts = [f"t{n}" for n in range(1, 12)]
    [(options, answer)], _ = read(
        tmp_path, "m.csv", f"question,{','.join(names)},answer\nq,{','.join(texts)},11\n"
    )
    assert list(options.values()) == texts
    assert answer == "K"
    letters = "abcdefghij"
    [(options, answer)], _ = read(
        tmp_path, "n.csv", f"question,{','.join(letters)},x,answer\nq,{','.join(letters)},9,j\n"
    )
    assert list(options.values()) == list(letters)
    assert answer == "J"


def test_names_with_spaces(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "m.csv", "Question ,Option A,Option-B, Correct Answer\nq,x,y,B\n")
    assert found == [({"A": "x", "B": "y"}, "B")]


def test_a_test_set_of_medmcqa_has_no_answers(tmp_path: Path) -> None:
    row = {"question": "q", "opa": "x", "opb": "y", "opc": "z", "opd": "w", "cop": -1}
    with pytest.raises(UserError, match="`answer` is missing: only test sets"):
        read(tmp_path, "m.jsonl", json.dumps(row))


def test_questions_that_are_there_again_are_counted(tmp_path: Path) -> None:
    rows = [(["x", "y"], "A"), (["y", "x"], "B"), (["x", "y"], "B"), (["x", "z"], "A")]
    text = "\n".join(
        json.dumps({"question": "q", "options": options, "answer": answer})
        for options, answer in rows
    )
    notes = read(tmp_path, "m.jsonl", text)[1]
    assert notes == (
        "questions that are there again with the same options: 2; for 1 of these the "
        "answers differ, so that one is wrong",
    )


def one(options: Any, *answer: object) -> str:
    row = {"question": "q", "options": options}
    return json.dumps([row | {"answer": answer[0]} if answer else row])


def test_letters_that_only_look_like_labels(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "wide.json", one(["x", "y", "z"], "Ｂ"))
    assert found == [({"A": "x", "B": "y", "C": "z"}, "B")]
    assert "full width" in notes[0]
    with pytest.raises(UserError, match=r"CYRILLIC CAPITAL LETTER A\) is none of the options A, B"):
        read(tmp_path, "cyrillic.json", one(["x", "y", "z"], "А"))
    found, _ = read(tmp_path, "own.json", one({"А": "x", "Б": "y"}, "Б"))
    assert found == [({"А": "x", "Б": "y"}, "Б")]


def test_rows_and_heads_of_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: `answer` is missing"):
        read(tmp_path, "short.csv", "question,a,b,answer\nWhat?,x,y\n")
    with pytest.raises(UserError, match="3 cells under 1 column names: the first line"):
        read(tmp_path, "title.xlsx", excel([["My exam"], ["question", "a", "answer"]]))


def test_truth_values_are_options(tmp_path: Path) -> None:
    for name, content in (
        ("t.json", one([True, False], False)),
        ("t.xlsx", excel([["question", "a", "b", "answer"], ["q", True, False, False]])),
    ):
        found, notes = read(tmp_path, name, content)
        assert found == [({"A": "True", "B": "False"}, "B")]
        assert "true or false, read as its text" in notes[0]


def test_options_that_are_marked_as_right(tmp_path: Path) -> None:
    for name in ("correct", "is_correct", "isCorrect"):
        marked = [{"text": text, name: text == "y"} for text in "xyz"]
        found, _ = read(tmp_path, f"{name}.json", one(marked))
        assert found == [({"A": "x", "B": "y", "C": "z"}, "B")]
    for marks, problem in (("xyy", "2 options are marked"), ("xxx", "0 options are marked")):
        options = [
            {"text": text, "correct": mark == "y"} for text, mark in zip("abc", marks, strict=True)
        ]
        with pytest.raises(UserError, match=f"{problem} as right, and one is needed"):
            read(tmp_path, "odd.json", one(options))
    with pytest.raises(UserError, match="no column is known as the answer"):
        read(tmp_path, "other.json", one([{"text": "x", "correct": 0.3}, {"text": "y"}]))


def test_maps_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    options = pyarrow.array([[("A", "x"), ("B", "y")]], type=kind)
    content = parquet({"question": ["q"], "options": options, "answer": ["B"]})
    assert read(tmp_path, "map.parquet", content)[0] == [({"A": "x", "B": "y"}, "B")]
