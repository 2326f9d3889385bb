"""The project's own tools: planted bugs, the picture of the house, addresses, links of the site."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import house
import mutant_runs
import mutants
import mutations
import renew_reports
from galenic.reports.document import ReportDocument
from galenic.reports.markdown import to_markdown
from galenic.reports.study_markdown import study_markdown

ROOT = Path(__file__).parents[1]
SOURCE = '''
"""Docstring."""
LIMIT = 5

def first(values, at_least=2):
    if not values:
        raise ValueError("none" + str(1))
    found = [v for v in values if v]
    found.append(1)
    return max(found) >= at_least and len(found) < LIMIT
'''


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_changes_are_small_different_and_leave_messages_alone() -> None:
    found = mutations.mutations(SOURCE)
    said = {(m.before, m.after) for m in found}
    assert {("5", "6"), ("2", "3"), ("not values", "values"), ("v", "True")} <= said
    assert ("found.append(1)", "pass") in said
    assert ("max(found)", "min(found)") in said
    assert ("max(found) >= at_least", "max(found) > at_least") in said
    assert not any("none" in m.before or "Docstring" in m.before for m in found)
    made = {ast.unparse(mutations.mutate(SOURCE, m)) for m in found}
    assert len(made) == len(found)
    assert ast.unparse(ast.parse(SOURCE)) not in made
    place: dict[str, Any] = {}
    change = next(m for m in found if m.after == "min(found)")
    exec(compile(mutations.mutate(SOURCE, change), "m", "exec"), place)
    assert not place["first"]([1, 5])  # with max it is


def test_mutants_are_drawn_alike_and_every_file_is_there() -> None:
    assert mutants.draw(20, 3, "") == mutants.draw(20, 3, "")
    assert mutants.draw(20, 3, "") != mutants.draw(20, 4, "")
    assert {m.module for m in mutants.draw(0, 0, "units")} == {"units"}
    for module in mutants.MODULES:
        assert mutants.source_of(module).is_file()
        assert all(path.is_file() for path in mutants.tests_of(module))


@pytest.mark.slow
def test_a_mutant_is_read_in_place_of_the_file(tmp_path: Path) -> None:
    every = mutants.draw(0, 0, "units")
    noticed = next(m for m in every if m.mutation.after == "size > 1")
    test = tmp_path / "test_planted.py"
    test.write_text(
        "from galenic.units import parse_size\n"
        "def test_size() -> None:\n    assert parse_size('3', '-') == 3\n"
    )
    for mutant, code in ((noticed, 1), (None, 0)):
        pid = mutant_runs.start([test], mutant, tmp_path / "log", {})
        while (found := mutant_runs.finished(pid, float("inf"))) is None:
            pass
        assert found == code, (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_mutant_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutant_runs, "LEAST_SECONDS", 0.1)
    test = tmp_path / "test_planted.py"
    test.write_text("def test_loop() -> None:\n    while True:\n        pass\n")
    pid = mutant_runs.start([test], mutants.draw(1, 0, "units")[0], tmp_path / "log", {})
    while (found := mutant_runs.finished(pid, float("inf"))) is None:
        pass
    assert found == -signal.SIGPROF


def test_the_tests_that_reach_a_line_come_first() -> None:
    class Item:
        def __init__(self, nodeid: str) -> None:
            self.nodeid = nodeid

    items = [Item(name) for name in ("new", "far", "long", "short", "far again")]
    reached = {"far": (0.1, [1]), "long": (9.0, [5, 7]), "short": (0.5, [7])}
    mutant_runs.Order(reached, 7).pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["short", "long", "new", "far again", "far"]


@pytest.mark.slow
def test_the_picture_shows_every_room_and_what_lies_below() -> None:
    names = house.rooms()
    assert {"data", "evaluation", "cli", house.GROUND} <= set(names)
    uses = house.imports(names)
    height = {room: n for n, level in enumerate(house.rows(uses)) for room in level}
    assert all(height[room] < height[other] for room in names for other in uses[room])
    there = (ROOT / "docs" / "house.svg").read_text("utf-8")
    assert [name for name in names if f">{name}</text>" not in there] == []
    with pytest.raises(SystemExit, match="circle: a -> b -> a"):
        house.rows({"a": {"b"}, "b": {"a"}})


def test_addresses_come_from_one_constant() -> None:
    pytest.importorskip("hatchling", reason="comes with building a package")
    hook = load("hatch_build")
    made = hook.CustomMetadataHook(str(ROOT), {})
    metadata: dict[str, Any] = {}
    made.update(metadata)
    assert metadata == {}  # no address is set
    hook.ADDRESS = "https://example.org/galenic"
    made.update(metadata)
    assert metadata["urls"]["Issues"] == "https://example.org/galenic/issues"


def test_links_of_the_repository_work_on_the_site() -> None:
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    import pages

    def on_site(text: str, source: str) -> str:
        return pages.LINK.sub(lambda match: pages.rewritten(match, source), text)

    assert on_site("[a](docs/ask.md)", "README.md") == "[a](ask.md)"
    assert on_site("![a](docs/house.svg)", "README.md") == "![a](house.svg)"
    assert on_site("[a](../results/answers.md#x)", "docs/ask.md") == "[a](results/answers.md#x)"
    assert on_site("[a](results/)", "README.md") == "[a](results/index.md)"
    assert on_site("[a](../docs/ask.md)", "results/README.md") == "[a](../ask.md)"
    assert on_site("[`x`](../src/galenic/units.py)", "docs/ask.md") == "`x`"
    assert on_site("[a](nowhere.md)", "docs/ask.md") == "[a](nowhere.md)"
    assert on_site("[a](https://x.org) [b](#c)", "README.md") == "[a](https://x.org) [b](#c)"


def test_what_is_promised_to_contributors_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(
        r"`((?:data|evaluation|runtimes|compression|training|exporters|study)/[^`]*)`", text
    ):
        assert (ROOT / "src" / "galenic" / path).exists(), path


@pytest.mark.parametrize(
    "folder",
    [path.parent for path in renew_reports.RESULTS.glob("*/report.json")],
    ids=lambda path: path.name,
)
def test_committed_reports_have_the_present_form(folder: Path) -> None:
    """Else: python tools/renew_reports.py"""
    data = json.loads((folder / "report.json").read_bytes())
    if "facts" in data:
        text = study_markdown(renew_reports.read_study(data))
    else:
        text = to_markdown(ReportDocument.model_validate(data))
    assert (folder / "report.md").read_text(encoding="utf-8") == text


def test_committed_results_name_no_folder_of_the_machine_they_were_made_on() -> None:
    """Where the data was stands as DIR (the files' hashes say which they were)."""
    made = [*renew_reports.RESULTS.glob("*/run.json"), *renew_reports.RESULTS.glob("*/report.*")]
    assert made
    for path in made:
        text = path.read_text(encoding="utf-8")
        found = re.search(r"(?<![\w./~])(/(home|root|tmp|Users|work|data)/|\.\./)[\w./-]*", text)
        assert found is None, f"{path}: {found[0]}"


def test_a_part_measured_anew_takes_its_place_in_the_table(tmp_path: Path) -> None:
    made = load("benchmarks/compatibility")
    table, order = tmp_path / "t.md", ["llama", "phi3", "lfm2"]
    assert made.earlier(table) == {}
    first = {"lfm2": {"quantize": {"refused": "No."}, "gone": {"difference": "9"}}}
    first |= {"llama": {"quantize": {"difference": "1e-2"}, "evaluate: torch": {"wrong": "0.4"}}}
    made.save(table, made.merged({"old": {}}, first, order))
    part = {"llama": {"evaluate: torch": {"difference": "0.0"}}, "lfm2": {}}
    part |= {"phi3": {"quantize": {"refused": "Never."}}}
    made.save(table, made.merged(made.earlier(table), part, order))
    assert made.earlier(table) == {
        "llama": {"evaluate: torch": {"difference": "0.0"}, "quantize": {"difference": "1e-2"}},
        "phi3": {"quantize": {"refused": "Never."}},
        "lfm2": {"quantize": {"refused": "No."}},
    }
    lines = table.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith(("|", "1.", "2."))] == [
        "| | evaluate: torch | quantize |",
        "|---|---|---|",
        "| llama | 0.0 | 1e-2 |",
        "| phi3 | not measured | refused [1] |",
        "| lfm2 | not measured | refused [2] |",
        "1. Never.",
        "2. No.",
    ]
    assert "| llama | WRONG: 0.4 |" in made.as_text({"llama": {"quantize": {"wrong": "0.4"}}})


def test_the_table_of_families_is_whole_and_nothing_in_it_is_wrong() -> None:
    made = load("benchmarks/compatibility")
    table = ROOT / "results" / "compatibility.md"
    rows = made.earlier(table)
    assert list(rows) == [*made.FAMILIES, *made.MORE_FAMILIES, *made.OTHERS]
    assert {tuple(row) for row in rows.values()} == {made.COLUMNS}
    assert not [cell for row in rows.values() for cell in row.values() if "wrong" in cell]
    assert table.read_text("utf-8") == made.as_text(rows)


def test_answers_of_several_runs_are_pooled_and_a_question_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    pooled = load("benchmarks/pooled")

    def record(question: str, prediction: str, benchmark: str = "medmcqa") -> str:
        shares = {label: 0.7 if label == prediction else 0.3 for label in "AB"}
        facts = {"benchmark": benchmark, "id": question, "scoring": "letter", "gold": "A"}
        return json.dumps(facts | {"prediction": prediction, "probabilities": shares}) + "\n"

    files = {
        "a1": record("1", "A") + record("2", "B"),
        "a2": record("2", "A") + record("3", "B") + record("1", "B", "medqa_4options"),
        "b1": record("1", "A") + record("2", "A"),
        "b2": record("3", "A") + record("1", "B", "medqa_4options") + record("9", "A"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = pooled.read([tmp_path / "a1", tmp_path / "a2"])
    after = pooled.read([tmp_path / "b1", tmp_path / "b2"])
    exam, other, everything = pooled.table(before, after)
    assert exam[:5] == ["medmcqa", "3", "1.000", "0.333", "1.000"]  # the first "2" counts
    assert exam[6:9] == ["0.5", "0/2", "0.667"]  # McNemar: both of two one way, 2 x 1/4
    assert exam[10:] == ["A 1 / B 2", "A 3 / B 0"]
    assert other[:5] == ["medqa_4options", "1", "1.000", "0.000", "0.000"]
    assert everything[:5] == ["all", "4", "–", "0.250", "0.750"]
