"""The report of a study: its numbers against the parts they come from, and what it says."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from galenic.errors import UserError
from galenic.evaluation.compare import compare_pairs, pair_records
from galenic.reports.pareto import Panel, Point, front, pareto_plot
from galenic.reports.runs import load_run
from galenic.reports.study import StudyReport, build_study_report
from galenic.reports.study_html import study_html
from galenic.reports.study_markdown import study_markdown
from galenic.reports.write import write_study_report
from studies import BENCHMARKS, SCORINGS, write_study


@pytest.fixture
def report(tmp_path: Path) -> StudyReport:
    write_study(tmp_path / "study")
    return build_study_report(tmp_path / "study")


def run_of(tmp_path: Path, report: StudyReport, place: int, benchmark: str, scoring: str) -> Path:
    cell = report.rows[place].cell
    return tmp_path / "study" / "nodes" / cell.answers[benchmark][scoring] / "run"


def test_differences_are_those_of_the_records(tmp_path: Path, report: StudyReport) -> None:
    for place, row in enumerate(report.rows):
        assert set(row.answers) == {(b, s) for b in BENCHMARKS for s in SCORINGS}
        for (benchmark, scoring), answers in row.answers.items():
            own = load_run(run_of(tmp_path, report, place, benchmark, scoring)).records
            right = sum(record.correct for record in own)
            assert answers.row.accuracy == right / len(own)
            if not place:
                assert answers.versus is None
                continue
            dense = load_run(run_of(tmp_path, report, 0, benchmark, scoring)).records
            [pairs] = pair_records(dense, own).groups.values()
            assert answers.versus == compare_pairs(pairs)


def test_steps_are_compared_with_the_step_before(tmp_path: Path, report: StudyReport) -> None:
    dense, pruned, small = report.rows
    assert dense.changes == []
    assert {found.parent for found in pruned.changes} == {"dense"}
    assert {found.parent for found in small.changes} == {"pruned"}
    for found in small.changes:
        broke = fixed = 0
        for benchmark in BENCHMARKS:
            sides = [
                load_run(run_of(tmp_path, report, place, benchmark, found.scoring)).records
                for place in (1, 2)
            ]
            for before, after in zip(*sides, strict=True):
                broke += before.correct and not after.correct
                fixed += after.correct and not before.correct
        assert (found.broke, found.fixed) == (broke, fixed)
        kinds = [one.before == one.gold for one in found.shown]
        assert kinds == sorted(kinds, reverse=True)
        assert len(found.shown) == min(3, broke) + min(3, fixed)


def test_collapse_and_kinds_are_seen(report: StudyReport) -> None:
    collapsed = {
        (row.cell.variant, scoring)
        for row in report.rows
        for (_, scoring), answers in row.answers.items()
        if answers.row.collapse
    }
    assert ("pruned", "letter") in collapsed
    kinds = report.rows[0].answers["medmcqa", "letter"].kinds
    assert [one.kind for one in kinds] == ["negation"]
    assert kinds[0].n == 40


def test_marks_that_chance_gives_are_counted(report: StudyReport) -> None:
    """Two rows beside the dense one, each benchmark in each scoring: one in twenty."""
    tests = 2 * len(BENCHMARKS) * len(SCORINGS)
    assert f"Of {tests} comparisons about {0.05 * tests:.0f} " in report.many_tests


def test_the_speed_of_the_dense_model_is_what_it_was_beside_others(report: StudyReport) -> None:
    speeds = [row.speed for row in report.rows]
    beside = [found["reference"] for found in speeds[1:] if found is not None]
    assert beside
    assert speeds[0] is not None
    assert speeds[0]["ratios"] is None
    decode = sorted(one["measures"]["decode"]["median"] for one in beside)
    assert speeds[0]["model"]["measures"]["decode"]["median"] == decode[len(decode) // 2]


@pytest.mark.slow
def test_the_files_say_it_all(tmp_path: Path) -> None:
    write_study(tmp_path / "study", titles={"small": "small | <b>4</b> bits"})
    paths = write_study_report(tmp_path / "study", tmp_path / "report")
    [picture] = [path for path in paths if path.suffix == ".png"]
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert width > 2 * height > 600  # two benchmarks side by side
    texts = {path.name: path.read_text() for path in paths if path != picture}
    assert set(texts) == {
        "report.md", "report.html", "report.json",
        "card-model-dense.md", "card-model-pruned.md", "card-model-small.md",
    }  # fmt: skip
    page = texts["report.html"]
    assert "Collapsed</strong> means" in page
    assert ">collapsed</span>" in page
    assert "models answer <b>" in page
    assert "small | &lt;b&gt;4&lt;/b&gt; bits" in page
    assert page.count("<script") == 1  # the search
    assert page.count("<svg") >= 8
    assert "own words" in page
    text = texts["report.md"]
    assert "small \\| <b>4</b> bits" in text
    assert "| 70.0 MB, 4.5 bits |" in text
    assert "4.5 bits</span>" in page
    assert "| PubMedQA test | yes | .5520 |" in text
    found = json.loads(texts["report.json"])
    assert [row["cell"]["variant"] for row in found["rows"]] == ["dense", "pruned", "small"]
    _, head, body = texts["card-model-small.md"].split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["base_model"] == "org/model"
    assert body.startswith("\n# org-model-small\n\nsmall | <b>4</b> bits (70.0 MB) ")
    assert "\nThe original model, with which" in texts["card-model-dense.md"]
    [index] = card["model-index"]
    assert len(index["results"]) == 4
    accuracy = index["results"][0]["metrics"][0]
    assert accuracy["type"] == "accuracy"
    assert 0 <= accuracy["value"] <= 1
    assert "stage: prune" in body


@pytest.mark.slow
def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_study(tmp_path / "study", failing="small")
    report = build_study_report(tmp_path / "study")
    assert not report.complete
    assert len(report.rows[2].missing) == 4
    assert report.rows[2].answers == {}
    for path in write_study_report(tmp_path / "study", tmp_path / "report"):
        if path.name in ("report.md", "report.html"):
            assert "Incomplete" in path.read_text()
    assert "small cannot &lt;answer&gt;" in (tmp_path / "report" / "report.html").read_text()


def test_a_study_without_answers_has_no_report(tmp_path: Path) -> None:
    store = write_study(tmp_path / "study")
    for path in store.path.rglob("result.json"):
        path.unlink()
    with pytest.raises(UserError, match="no question has been answered"):
        build_study_report(tmp_path / "study")


POINTS = [
    Point("a", 100.0, 0.5, 0.4, 0.6), Point("b", 50.0, 0.4, 0.3, 0.5),
    Point("c", 80.0, 0.3, 0.2, 0.4), Point("d", 120.0, 0.5, 0.4, 0.6),
    Point("same answer", 40.0, 0.9, 0.8, 1.0, collapsed=True),
]  # fmt: skip


def test_the_front_joins_what_nobody_beats() -> None:
    assert [one.name for one in front(POINTS, more=False)] == ["b", "a"]
    assert [one.name for one in front(POINTS, more=True)] == ["d"]
    assert front(POINTS[-1:], more=False) == []


def test_a_plot_says_what_it_shows() -> None:
    svg = pareto_plot(Panel("x", POINTS, "MB of the file"))
    for text in ("MB of the file", "same answer 40, 0.900 collapsed", "collapsed to one answer"):
        assert text in svg
    assert "collapsed" not in pareto_plot(Panel("x", POINTS[:4], "MB"))


def test_a_name_away_from_its_mark_is_joined_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from galenic.reports import pareto

    joined: list[str] = []
    monkeypatch.setattr(pareto, "_join", lambda axes, point, place: joined.append(point.name))
    pareto_plot(Panel("x", POINTS[:1], "MB"))
    assert joined == []
    close = [Point(f"model {at}", 100.0, 0.5 + at / 1e4, 0.4, 0.6) for at in range(8)]
    pareto_plot(Panel("x", close, "MB"))
    assert joined == ["model 1", "model 0"]  # six places are near, and eight names


def test_names_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine models of one size and nearly one accuracy, as at chance."""
    from galenic.reports import pareto

    boxes: list[Any] = []
    names = pareto._names
    many = [Point(f"model {at}", 100.0, 0.3 + at / 1000, 0.2, 0.4) for at in range(9)]

    def watch(figure: Any, axes: Any, points: Any) -> None:
        names(figure, axes, points)
        renderer = figure.canvas.get_renderer()
        named = [text for text in axes.texts if text.get_text()]
        boxes.extend(text.get_window_extent(renderer) for text in named)

    monkeypatch.setattr(pareto, "_names", watch)
    pareto_plot(Panel("x", many, "MB"))
    assert len(boxes) == 9
    pairs = [(a, b) for at, a in enumerate(boxes) for b in boxes[:at]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_a_name_does_not_lean_on_the_mark_of_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Models of equal accuracy and like sizes: names that fit between two marks are ambiguous."""
    from galenic.reports import pareto

    gaps: dict[str, float] = {}
    names = pareto._names
    near = [
        Point(name, cost, value, value - 0.05, value + 0.055)
        for name, cost, value in (
            ("healed-tuned-mixed", 68.8, 0.317), ("mixed", 77.4, 0.31), ("dense", 98.4, 0.31),
            ("quantized", 112.0, 0.307), ("pruned", 538.0, 0.31),
        )
    ]  # fmt: skip

    def watch(figure: Any, axes: Any, panel: Any) -> None:
        names(figure, axes, panel)
        marks = [axes.transData.transform((one.cost, one.value)) for one in panel.points]
        named = [text for text in axes.texts if text.get_text()]
        for text in named:
            box = text.get_window_extent(figure.canvas.get_renderer())
            others = [
                mark
                for mark, point in zip(marks, panel.points, strict=True)
                if point.name != text.get_text()
            ]
            gaps[text.get_text()] = min(
                max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1, 0) for x, y in others
            )

    monkeypatch.setattr(pareto, "_names", watch)
    pareto_plot(Panel("x", near, "MB"))
    assert min(gaps.values()) > 12, gaps  # pixels; about 7 where nearness is not counted


@pytest.mark.slow
def test_a_plot_says_how_many_questions_are_behind_it(report: StudyReport) -> None:
    page = study_html(report)
    assert re.search(r"<b>PubMedQA · letter, n \d+</b>", page)


@pytest.mark.slow
def test_a_study_of_one_benchmark_says_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.BENCHMARKS", ("medmcqa",))
    write_study(tmp_path / "study")
    found = build_study_report(tmp_path / "study")
    assert {scoring: one.n for scoring, one in found.rows[1].pooled.items()} == {
        scoring: found.rows[1].answers["medmcqa", scoring].row.n for scoring in found.scorings
    }
    write_study_report(tmp_path / "study", tmp_path / "report")
    for card in (tmp_path / "report").glob("card-*.md"):
        assert "not been measured on all benchmarks" not in card.read_text()


@pytest.mark.slow
def test_what_was_not_measured_has_no_column(report: StudyReport) -> None:
    assert '<th scope="col">Tokens/s</th>' in study_html(report)
    rows = [replace(row, speed=None, perplexity=None) for row in report.rows]
    bare = replace(report, rows=rows)
    assert not re.search("Tokens/s|Perplexity</th>", study_html(bare))
    assert "tokens/s" not in study_markdown(bare)


@pytest.mark.slow
def test_a_picture_has_at_most_two_plots_in_a_row() -> None:
    """More would be too small to read where a page shows it."""
    from galenic.reports.pareto import pareto_picture

    def size(plots: int) -> tuple[int, int]:
        png = pareto_picture([Panel(str(n), POINTS, "MB") for n in range(plots)])
        return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])

    (width, height), (two, same), (three, double) = size(1), size(2), size(3)
    assert (same, double, three) == (height, 2 * height, two)
    assert width < two <= 2 * width
