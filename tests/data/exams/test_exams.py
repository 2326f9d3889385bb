"""Exams of many formats and row shapes: the right key, or a refusal that says what settles it."""
# ruff: noqa: E501 - a row of an exam reads best on one line

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from galenic.data.benchmarks import resolve_benchmarks
from galenic.data.benchmarks.custom import custom_benchmark
from galenic.data.exams.exam import ExamOptions, parse_map
from galenic.data.sources import Dataset, open_source
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig

ROWS: list[dict[str, Any]] = [
    {"question": "Which vitamin?", "A": "C", "B": "D", "answer": "B"},
    {"question": 'Which "one",\nof two?', "A": "one", "B": "two; 2", "answer": "A"},
]
EXPECTED = [
    ("Which vitamin?", {"A": "C", "B": "D"}, "B"),
    ('Which "one",\nof two?', {"A": "one", "B": "two; 2"}, "A"),
]


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def zstd(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


def parquet(rows: list[dict[str, Any]] = ROWS) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    into = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), into)
    return into.getvalue()


def excel(*sheets: list[list[Any]]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for at, cells in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {at}")
        for row in cells:
            sheet.append(row)
    into = io.BytesIO()
    book.save(into)
    return into.getvalue()


def load(folder: Path, name: str, content: bytes, **options: Any) -> Dataset:
    path = folder / name
    path.write_bytes(content)
    return open_source("sample").load(custom_benchmark(path, ExamOptions(**options)))


def keys(dataset: Dataset) -> list[str]:
    return [one.answer for one in dataset.examples]


FORMS: dict[str, Callable[[], bytes]] = {
    "q.jsonl": lambda: jsonl(*ROWS),
    "q.ndjson": lambda: jsonl(*ROWS),
    "q.jsonl.gz": lambda: gzip.compress(jsonl(*ROWS)),
    "q.jsonl.zst": lambda: zstd(jsonl(*ROWS)),
    "packed.jsonl": lambda: gzip.compress(jsonl(*ROWS)),
    "q.json": lambda: json.dumps(ROWS).encode(),
    "in-data.json": lambda: json.dumps({"version": 1, "data": ROWS}).encode(),
    "by-id.json": lambda: json.dumps({"a": ROWS[0], "b": ROWS[1]}).encode(),
    "hub.json": lambda: json.dumps(
        {"rows": [{"row_idx": at, "row": row} for at, row in enumerate(ROWS)]}
    ).encode(),
    "lines.json": lambda: jsonl(*ROWS),
    "whole.jsonl": lambda: json.dumps(ROWS, indent=1).encode(),
    "q.csv": lambda: table(","),
    "q.CSV.gz": lambda: gzip.compress(table(",")),
    "bom.csv": lambda: b"\xef\xbb\xbf" + table(","),
    "semicolon.csv": lambda: table(";"),
    "tab.csv": lambda: table("\t"),
    "said.csv": lambda: b"sep=|\r\n" + table("|"),
    "q.tsv": lambda: table("\t"),
    "q.tsv.zst": lambda: zstd(table("\t")),
    "q.parquet": parquet,
    "q.xlsx": lambda: excel([list(ROWS[0]), *(list(row.values()) for row in ROWS)], []),
}


@pytest.mark.parametrize("name", FORMS)
def test_formats(tmp_path: Path, name: str) -> None:
    dataset = load(tmp_path, name, FORMS[name]())
    found = [(one.question, dict(one.options), one.answer) for one in dataset.examples]
    assert found == EXPECTED


def test_a_line_that_names_the_separator_counts_as_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 4: `answer` 'Z' is none"):
        load(tmp_path, "q.csv", b"sep=;\nquestion;A;B;answer\nQ?;w;x;A\nR?;w;x;Z\n")


def test_whole_decimals_are_indices(tmp_path: Path) -> None:
    rows = [{"question": "Q?", "choices": ["w", "x"], "answer": Decimal("1.00")}]
    assert keys(load(tmp_path, "q.parquet", parquet(rows))) == ["B"]
    rows[0]["answer"] = Decimal("0.50")
    with pytest.raises(UserError, match=r"0\.5 is none of the options"):
        load(tmp_path, "q.parquet", parquet(rows))


MCQ = {"opa": "w", "opb": "x", "opc": "y", "opd": "z", "choice_type": "single", "exp": "see"}


def medmcqa(*cops: int) -> bytes:
    rows = [{"id": f"i{at}", "question": "Q?", **MCQ, "cop": cop} for at, cop in enumerate(cops)]
    return jsonl(*rows)


SHAPES: dict[str, tuple[bytes, list[str]]] = {
    "MedQA": (
        jsonl({"question": "Q?", "answer": "x", "options": {"A": "w", "B": "x"}, "meta_info": "s1"},
              {"question": "Q?", "answer": "x", "options": {"A": "w", "B": "x"}, "answer_idx": "B"},
              {"question": "Q?", "choices": ["w", "x"], "answer": ["x"]}),
        ["B", "B", "B"],
    ),
    "MedMCQA from 0": (medmcqa(0, 2, 1), ["A", "C", "B"]),
    "MedMCQA from 1": (medmcqa(4, 2, 1), ["D", "B", "A"]),
    "MMLU": (
        jsonl({"question": "Q?", "subject": "anatomy", "choices": ["w", "x", "y", "z"], "answer": 3}),
        ["D"],
    ),
    "ARC": (
        jsonl({"id": "M1", "question": "Q?", "choices": {"text": ["w", "x"], "label": ["1", "2"]}, "answerKey": "2"},
              {"id": "M2", "question": {"stem": "Q?", "choices": [{"text": "w", "label": "A"}, {"text": "x", "label": "B"}]}, "answerKey": "A"}),
        ["2", "A"],
    ),
    "HellaSwag": (
        jsonl({"ind": 4, "activity_label": "Sit", "ctx_a": "He", "ctx_b": "", "ctx": "He", "endings": ["w", "x", "y", "z"], "label": "3"},
              {"ind": 4, "activity_label": "Sit", "ctx": "She", "endings": ["w", "x", "y", "z"], "label": "0"}),
        ["D", "A"],
    ),
    "samples of lm-eval": (
        jsonl({"doc_id": 7, "doc": {"question": "Q?", "choices": ["w", "x"], "answer": 1}, "target": "1", "resps": [[-1.0]]},
              {"doc_id": 8, "doc": {"query": "Q?", "choices": ["w", "x"], "gold": 0}, "target": "0"}),
        ["B", "A"],
    ),
    "objects": (
        jsonl({"question": "Q?", "options": [{"key": "A", "value": "w"}, {"key": "B", "value": "x"}], "answer": "B"}),
        ["B"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_row_shapes(tmp_path: Path, shape: str) -> None:
    content, expected = SHAPES[shape]
    assert keys(load(tmp_path, "q.jsonl", content)) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_name_decides_nothing(tmp_path: Path, shape: str) -> None:
    content, expected = SHAPES[shape]
    for name in ("medmcqa.jsonl", "hellaswag_validation.jsonl"):
        assert keys(load(tmp_path, name, content)) == expected


def test_row_shapes_in_parquet(tmp_path: Path) -> None:
    """Tables give a row all labels of the file, and lists as arrays."""
    rows = [
        {"question": "Q?", "options": {"A": "w", "B": "x", "C": None}, "answer_idx": "B"},
        {"question": "Q?", "options": {"A": "w", "B": "x", "C": "y"}, "answer_idx": "C"},
    ]
    dataset = load(tmp_path, "q.parquet", parquet(rows))
    assert keys(dataset) == ["B", "C"]
    assert [len(one.options) for one in dataset.examples] == [2, 3]
    arc = [
        {"question": "Q?", "choices": {"text": ["w", "x"], "label": ["A", "B"]}, "answerKey": "B"}
    ]
    assert keys(load(tmp_path, "arc.parquet", parquet(arc))) == ["B"]


def test_mmlu_without_column_names(tmp_path: Path) -> None:
    content = b'"What is it?",w,x,y,z,C\n"And, this?",1,2,3,4,A\n'
    dataset = load(tmp_path, "anatomy.csv", content)
    assert keys(dataset) == ["C", "A"]
    assert "no column names" in dataset.notes[0]
    with pytest.raises(UserError, match=r"line 2: .*column names"):
        load(tmp_path, "odd.csv", b'"What is it, then?",w,x,y,z,C\n"And this?",1,2\n')


BLOOD = ["O", "A", "B", "AB"]
NUMBERS = ["4", "3", "2", "1"]


@pytest.mark.parametrize(
    ("options", "answer", "keys_by_flag"),
    [
        (BLOOD, "B", {"letters": "B", "texts": "C"}),
        (["E", "D", "C", "B", "A"], "B", {"letters": "B", "texts": "D"}),
        (NUMBERS, 3, {"indices": "D", "numbers": "C", "texts": "B"}),
        (NUMBERS, "3", {"indices": "D", "numbers": "C", "texts": "B"}),
        (["b", "a"], "b", {"letters": "B", "texts": "A"}),
        (["1", "2", "3"], 1, {"indices": "B", "numbers": "A", "texts": "A"}),
    ],
)
def test_two_readings_are_refused_and_the_flag_settles_it(
    tmp_path: Path, options: list[str], answer: object, keys_by_flag: dict[str, str]
) -> None:
    fine = {"question": "Fine?", "options": ["w", "x"], "answer": "x"}
    content = jsonl(fine, {"question": "Q?", "options": options, "answer": answer})
    with pytest.raises(UserError, match=r"line 2: .* as text: .*--answers-are"):
        load(tmp_path, "q.jsonl", content)
    alone = jsonl({"question": "Q?", "options": options, "answer": answer})
    for flag, key in keys_by_flag.items():
        assert keys(load(tmp_path, "q.jsonl", alone, answers_are=flag)) == [key], flag
    with pytest.raises(UserError, match=r"line 1: .* none of the"):
        wrong = "letters" if "letters" not in keys_by_flag else "indices"
        load(tmp_path, "q.jsonl", alone, answers_are=wrong)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (medmcqa(0, 4), r"0 \(line 1\) and the number of options \(line 2\)"),
        (medmcqa(1, 2, 3), "does not tell whether places count from 0 or from 1"),
        (medmcqa(0, -1), "line 2: `answer` is missing"),
        (jsonl(*({"question": f"Q{at}?", "options": ["w", "x", "y"], "answer": 1 + at % 2}
                 for at in range(20))), "does not tell whether"),
        (jsonl({"question": "Q?", "options": {"A": "w", "B": "x"}, "answer": "w", "answer_idx": "B"}),
         "line 1: 'answer' 'w' and 'answer_idx' 'B' name different options"),
        (jsonl({"stem": "Q?", "problem": "P?", "options": ["w", "x"], "answer": "w"}),
         "--map question=stem"),
        (jsonl({"foo": "Q?", "options": ["w", "x"], "answer": "w"}), "--map question=COLUMN"),
        (jsonl({"question": "Q?", "bar": "w", "answer": "w"}), "--map options=COLUMN"),
        (jsonl({"question": "Q?", "options": ["w", "x"], "baz": "w"}), "--map answer=COLUMN"),
        (jsonl({"question": "Q?", "options": ["w", None], "answer": "w"}), "must be text"),
        (jsonl({"question": "Q?", "endings": ["w", "x"], "ctx": "He", "label": ""}), "is missing"),
    ],
)  # fmt: skip
def test_refusals_name_the_line(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load(tmp_path, "q.jsonl", content)


@pytest.mark.parametrize(
    ("answer", "repaired"),
    [
        ("b", "in other case"), ("(B)", "brackets"), ("B.", "full stop"), ("Option B", "brackets"),
        ("1", "written as text"), (["x"], "list of one"), ("X ", "case or white space"),
        ("B) x", "with its text"), ("B", ""), (1, ""), ("x", ""), (1.0, ""),
    ],
)  # fmt: skip
def test_repairs_are_counted(tmp_path: Path, answer: object, repaired: str) -> None:
    row = {"question": "Q?", "options": ["w", "x"], "answer": answer}
    dataset = load(tmp_path, "q.jsonl", jsonl(*({**row, "question": f"Q{n}?"} for n in range(3))))
    assert keys(dataset) == ["B"] * 3
    if repaired:
        assert len(dataset.notes) == 1
        assert dataset.notes[0].startswith("repaired in 3 rows: ")
        assert repaired in dataset.notes[0]
    else:
        assert dataset.notes == ()


def test_equal_options_are_counted_apart(tmp_path: Path) -> None:
    options = ["w", "w", "x"]
    rows = [{"question": f"Q{key}?", "options": options, "answer": key} for key in ("C", "A")]
    [note] = load(tmp_path, "q.jsonl", jsonl(*rows)).notes
    assert "equal text: 2; in 1 of them the right one" in note
    with pytest.raises(UserError, match="the text of 2 options"):
        load(tmp_path, "q.jsonl", jsonl({"question": "Q?", "options": options, "answer": "w"}))


def test_columns_of_their_own(tmp_path: Path) -> None:
    content = b"stem;key;first;second;passage;nr\nQ?;second one;first one;second one;Read.;7\n"
    columns = parse_map("question=stem,answer=key,options=first+second,context=passage,id=nr")
    [one] = load(tmp_path, "q.csv", content, columns=columns).examples
    assert (one.question, one.answer, one.context, one.id) == ("Q?", "B", "Read.", "7")
    nested = jsonl({"x": {"stem": "Q?", "alts": ["w", "x"]}, "k": "x"})
    columns = parse_map("question=x.stem, options=x.alts, answer=k")
    assert keys(load(tmp_path, "n.jsonl", nested, columns=columns)) == ["B"]
    with pytest.raises(UserError, match=r"no column 'gone' \(--map\); there are stem"):
        load(tmp_path, "q.csv", content, columns=(("question", "gone"),))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("question", "FIELD=COLUMN"),
        ("question=", "FIELD=COLUMN"),
        ("quesion=stem", "question"),
        ("answer=a,answer=b", "twice"),
        ("question=q,options=a+b+a", "'a' twice among the options"),
    ],
)
def test_maps_that_say_nothing(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parse_map(text)
    with pytest.raises(UserError, match=problem):
        EvaluateConfig(model="m", map=text)


def test_flags_of_exams_need_one() -> None:
    with pytest.raises(UserError, match="your own exams"):
        resolve_benchmarks(["medmcqa"], ExamOptions(answers_are="texts"))
    old = EvaluateConfig(model="m").model_dump()
    assert not {"map", "answers_are"} & set(old)  # as runs have it that were begun before
    assert EvaluateConfig(model="m", answers_are="texts").model_dump()["answers_are"] == "texts"


def test_places_in_tables_count_from_what_the_file_shows(tmp_path: Path) -> None:
    def numbers(*answers: int) -> bytes:
        rows = [f"Q{at}?,w,x,y,{answer}" for at, answer in enumerate(answers)]
        return "\n".join(["question,option1,option2,option3,answer", *rows]).encode()

    assert keys(load(tmp_path, "q.csv", numbers(0, 2, 1))) == ["A", "C", "B"]
    one = load(tmp_path, "q.csv", numbers(3, 2, 1))
    assert keys(one) == ["C", "B", "A"]
    assert "count from 1" in one.notes[0]
    with pytest.raises(UserError, match=r"indices \(from 0\) or numbers"):
        load(tmp_path, "q.csv", numbers(1, 2))
    assert keys(load(tmp_path, "q.csv", numbers(1, 2), answers_are="numbers")) == ["A", "B"]


def test_excel(tmp_path: Path) -> None:
    import datetime

    head = ["question", "A", "B", "answer"]
    dataset = load(tmp_path, "q.xlsx", excel([head, ["Q?", 1, 2.5, "B"], [None] * 4]))
    assert dict(dataset.examples[0].options) == {"A": "1", "B": "2.5"}
    assert "a number, read as its text" in dataset.notes[0]
    with pytest.raises(UserError, match="2 sheets with content"):
        load(tmp_path, "q.xlsx", excel([head], [head]))
    with pytest.raises(UserError, match="row 2: Excel has turned a text into a date"):
        load(tmp_path, "q.xlsx", excel([head, ["Q?", datetime.date(2026, 1, 2), "x", "A"]]))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("q.jsonl.gz", b"{}", "not a gzip file although"),
        ("q.jsonl.gz", gzip.compress(jsonl(*ROWS))[:-9], "cut off"),
        ("q.jsonl.gz", gzip.compress(b" " * 3_000_000), "unpacks to more than"),
        ("q.jsonl.zst", b"{}", "not a zstd file although"),
        ("q.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"x" * 9, "damaged"),
        ("q.csv", b"question,A,B,answer\nna\xefve,w,x,A\n", "line 2: not UTF-8"),
        ("q.csv", b'question,A,B,answer\n"two\nlines",w,x,A\nQ?,w,x,Z\n', "line 4: .*'Z' is none"),
        ("q.csv", b"question,A,A,answer\nQ?,w,x,A\n", "'A' is there twice"),
        ("q.csv", b"question,A,B,answer\nQ?,w,x,A,more\n", "5 cells under 4"),
        ("q.csv", b"question,A,B,answer\n", "holds no question"),
        ("q.csv", b"", "holds no question"),
        ("q.json", b"[1]", "row 1: not a JSON object"),
        ("q.json", b"{", "not JSON"),
        ("q.json", b"[" * 9999 + b"\n{}", "cannot be read"),
        ("q.json", b'{"data": [], "rows": []}', "several lists"),
        ("q.parquet", b"PAR1xxxx", "damaged or not a Parquet"),
        ("q.csv", b"PAR1xxxx", "is a .parquet file by its content"),
        ("q.xlsx", b"PK\x03\x04xxxx", "damaged or not an Excel"),
        ("q.doc", b"", "must end in .*csv"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    if "arquet" in problem:
        pytest.importorskip("pyarrow")
    if "Excel" in problem:
        pytest.importorskip("openpyxl")
    with pytest.raises(UserError, match=problem):
        load(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content", "module"),
    [("q.parquet", b"PAR1", "pyarrow"), ("q.xlsx", b"PK\x03\x04", "openpyxl")],
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"needs {module}.*pip install 'galenic\[exams\]'"):
        load(tmp_path, name, content)


def test_a_folder_of_exams(tmp_path: Path) -> None:
    folder = tmp_path / "exams"
    folder.mkdir()
    (folder / "b.csv").write_bytes(table(","))
    (folder / "a.jsonl").write_bytes(jsonl({**ROWS[0], "id": "x"}))
    (folder / "notes.txt").write_text("no exam")
    [benchmark] = resolve_benchmarks([str(folder)])
    dataset = open_source("sample").load(benchmark)
    assert [one.id for one in dataset.examples] == ["a.jsonl/x", "b.csv/2", "b.csv/3"]
    assert benchmark.name == "custom_exams"
    assert benchmark.title == "exams (test: a.jsonl, b.csv)"
    (folder / "b.csv").write_bytes(table(",") + b"Q?,w,x,Z\n")
    with pytest.raises(UserError, match=r"b\.csv, line 5: .*'Z'"):
        open_source("sample").load(benchmark)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no question files"):
        custom_benchmark(tmp_path / "empty")


def test_splits_of_a_folder_are_said(tmp_path: Path) -> None:
    for name in ("validation-00000-of-00001.jsonl", "train-00000-of-00001.jsonl"):
        (tmp_path / name).write_bytes(jsonl({**ROWS[0], "question": name}))
    benchmark = custom_benchmark(tmp_path)
    assert benchmark.default_split == "validation"
    assert "(validation: validation-00000-of-00001.jsonl)" in benchmark.title
    source = open_source("sample")
    assert source.load(benchmark).examples[0].question.startswith("validation")
    assert source.load(benchmark, "train").examples[0].question.startswith("train")
