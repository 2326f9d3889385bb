"""Markdown, JSON, the terminal table, examples, and writing all of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from galenic.errors import UserError
from galenic.reports.document import ReportDocument, build_report
from galenic.reports.examples import pick_examples
from galenic.reports.markdown import to_markdown
from galenic.reports.rows import build_rows
from galenic.reports.runs import load_run, load_runs
from galenic.reports.terminal import summary_table
from galenic.reports.write import write_report
from runs import write_run


def printed(folder: Path) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(summary_table(load_run(folder)))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_terminal_table_fits_and_cries_collapse_in_red(tmp_path: Path) -> None:
    benchmarks = ["pubmedqa", "medqa_4options", "medqa_5options", "medmcqa"]
    folder = write_run(
        tmp_path,
        benchmarks=benchmarks,
        scorings=["text_per_byte", "generate"],
        debias="permutations",
        position_bias=30,
        num_items=20,
        keep=150,
    )
    text = printed(folder)
    plain = "\n".join(line for line in Console().render_str(text).plain.splitlines())
    assert "incomplete: 150 of 160" in plain
    assert "\x1b[1;31m" in text
    assert "COLLAPSE 100% A" in plain
    assert "unparsed" in plain
    assert all(name in plain for name in benchmarks)


def test_terminal_table_shows_the_numbers_of_the_row(tmp_path: Path) -> None:
    folder = write_run(tmp_path, skill=6, num_items=50)
    (row,) = build_rows(load_run(folder))
    text = printed(folder)
    assert f"{row.accuracy:.3f}".removeprefix("0") in text
    assert f"{row.baselines.majority:.3f}".removeprefix("0") in text
    assert "\x1b[32m" in text  # green: above the majority class
    assert "truncated" not in text


def test_terminal_table_says_how_many_questions_were_truncated(tmp_path: Path) -> None:
    folder = write_run(tmp_path, num_items=5)
    path = folder / "records.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for record in records[:3]:
        record["truncated"] = True
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    assert "3 truncated" in printed(folder)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_tables_are_whole_and_agree_with_the_json(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path,
        benchmarks=["pubmedqa", "medmcqa"],
        scorings=["letter", "generate"],
        debias="permutations",
        num_items=25,
    )
    report = build_report([load_run(folder)])
    text = to_markdown(report)
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        lines = [cells(line) for line in table.splitlines()]
        assert len(lines) == 2 + len(report.rows)
        assert len({len(line) for line in lines}) == 1
    first = [cells(line) for line in tables[0].splitlines()[2:]]
    for line, row in zip(first, report.rows, strict=True):
        assert line[2] == row.method
        assert line[4] == f"**{row.accuracy:.3f}**".replace("0.", ".")
    assert "galenic evaluate" in text
    assert "Not a medical device" in text


def test_the_machine_is_said_in_words(tmp_path: Path) -> None:
    run = build_report([load_run(write_run(tmp_path))]).runs[0]
    known = {"processor": "A Chip", "cores": 2, "memory_bytes": 25_276_063_744, "system": "Linux-6"}
    named = run.model_copy(update={"machine": known})
    assert named.machine_words == "A Chip, 2 cores, 25.3 GB memory, system Linux-6"
    assert run.model_copy(update={"machine": {"processor": ""}}).machine_words == ""


def test_markdown_tells_of_collapse_and_of_missing_answers(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "x|y", position_bias=30, num_items=30, keep=24)
    text = to_markdown(build_report([load_run(folder)]))
    assert "**Incomplete:** run `x|y` holds 24 of 30" in text
    assert "**COLLAPSE:** x|y / medmcqa / letter answers `A` to 100%" in text
    assert "| x\\|y | MedMCQA validation |" in text
    assert "| 24 of 30 |" in text


def test_examples_are_the_most_confident_right_then_wrong(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, num_items=60))
    (row,) = build_rows(run)
    shown = pick_examples(run, row)
    assert [one.correct for one in shown] == [True] * 3 + [False] * 3
    for correct in (True, False):
        confident = sorted(
            (max(r.probabilities.values()) for r in run.records if r.correct == correct),
            reverse=True,
        )
        picked = [
            max(option.probability or 0 for option in one.options)
            for one in shown
            if one.correct == correct
        ]
        assert picked == confident[:3]
    for one in shown:
        gold = [option for option in one.options if option.gold]
        chosen = [option for option in one.options if option.chosen]
        assert (len(gold), len(chosen)) == (1, 1)
        assert (gold == chosen) == one.correct


def test_examples_of_generated_answers_bring_their_text(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, scorings=["generate"], num_items=40))
    (row,) = build_rows(run)
    for one in pick_examples(run, row):
        assert one.generated in {f"The answer is {one.prediction}.", "I cannot say."}
        assert all(option.probability is None for option in one.options)


@pytest.mark.slow
def test_write_report_leaves_three_whole_files_and_nothing_else(tmp_path: Path) -> None:
    runs = load_runs([write_run(tmp_path / "run", num_items=12)])
    folder = tmp_path / "new" / "report"
    for _ in range(2):  # a second time replaces
        paths = write_report(runs, folder)
    assert [path.name for path in paths] == ["report.md", "report.html", "report.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert ReportDocument.model_validate(content) == build_report(runs)
    assert content["rows"][0]["n"] == 12


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    runs = load_runs([write_run(tmp_path / "run", num_items=4)])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make this folder"):
        write_report(runs, tmp_path / "file" / "report")
    with pytest.raises(UserError, match="at least one run"):
        build_report([])


@pytest.mark.slow
def test_no_question_text_where_none_is_wanted(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", num_items=12))
    questions = {item.question for item in run.items.values()}
    for count, there in ((0, False), (2, True)):
        paths = write_report([run], tmp_path / f"report{count}", examples=count)
        text = "".join(path.read_text(encoding="utf-8") for path in paths)
        assert any(question in text for question in questions) is there
