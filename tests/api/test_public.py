"""The public face: every name works, twice, whatever else was imported; docs/python.md runs."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import galenic
from galenic.cli.main import app
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
RECIPE = """
name: tiny
description: One pruning.
calibration: {num_samples: 4, seq_len: 32}
stages:
  - {stage: prune, method: magnitude, sparsity: 0.1}
"""
RUNS_TWICE = pytest.mark.parametrize("everything", [False, True], ids=["plain", "all imported"])
FUNCTIONS = [name for name in galenic.__all__ if name[0].islower()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page speaks of."""
    folder = tmp_path_factory.mktemp("prepared")
    write_tiny_hf(folder / "my-model", "llama")
    words = (f"the patient number {n} has a fever of {n % 7} days" for n in range(1200))
    (folder / "notes.txt").write_text("\n\n".join(words), encoding="utf-8")
    for name, count in (("exam", 8), ("questions", 60)):
        rows = [
            {
                "id": f"r{i}",
                "question": f"{name} {i}?",
                "options": ["x", "yy"],
                "answer": "AB"[i % 2],
            }
            for i in range(count)
        ]
        text = "\n".join(map(json.dumps, rows))
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "own").mkdir()
    note = "A fever of a child. Drink enough. Paracetamol helps against a fever.\n"
    (folder / "own" / "fever.txt").write_text(note * 5, encoding="utf-8")
    return folder


@pytest.mark.slow
@RUNS_TWICE
def test_the_page_runs_as_it_is_written(
    everything: bool, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in prepared.iterdir():
        copy = shutil.copytree if each.is_dir() else shutil.copyfile
        copy(each, tmp_path / each.name)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["index", "own"])
    assert done.exit_code == 0, done.output
    if everything:
        import_everything()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert 0 <= names["run"].accuracy <= 1
    assert len(names["run"].records) == 6
    assert names["run"].table()[0]["n"] == 6
    assert names["found"].tier == "today"
    assert names["judged"].model.perplexity.value > 1
    assert [one.stage for one in names["small"].stages] == ["prune", "quantize"]
    assert names["dose"].stages[-1].method == "magnitude"
    assert isinstance(names["answer"], galenic.Answer)
    for shown in ("run", "compared", "written", "small", "answer"):
        assert repr(names[shown]).strip()
        html = names[shown]._repr_html_()
        assert html.count("<tr>") == html.count("</tr>")
        assert "<" in html


def test_the_page_shows_every_function() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {name for name in FUNCTIONS if f"galenic.{name}(" not in text} == set()


def import_everything() -> None:
    for module in pkgutil.walk_packages(galenic.__path__, "galenic."):
        if module.name.endswith(("_child", "__main__")):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:  # an extra that is not installed
            continue


def test_no_module_takes_the_place_of_a_function() -> None:
    modules = {module.name for module in pkgutil.iter_modules(galenic.__path__)}
    assert modules & set(galenic.__all__) == set()
    first = {name: getattr(galenic, name) for name in galenic.__all__}
    import_everything()
    for name in galenic.__all__:
        assert getattr(galenic, name) is first[name]
        assert callable(first[name])
    assert set(galenic.__all__) <= set(dir(galenic))
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        _ = galenic.evaluat  # type: ignore[attr-defined]


def test_looking_at_the_names_loads_nothing() -> None:
    probe = "import sys, galenic; dir(galenic); galenic.UserError; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_calls_are_silent_unless_asked(
    prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = prepared / "my-model"
    galenic.prune(model, tmp_path / "a", method="magnitude")
    galenic.evaluate(model, [str(prepared / "exam.jsonl")], output=tmp_path / "run", threads=1)
    assert capfd.readouterr() == ("", "")
    galenic.prune(model, tmp_path / "b", method="magnitude", progress=True)
    said = capfd.readouterr()
    assert said.out == "" and "pruning with magnitude" in said.err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: galenic.evaluate(m, limmit=3), r"unknown option of evaluate 'limmit'.*'limit'"),
        (lambda m: galenic.evaluate(m, limit=0), "limit=0"),
        (lambda m: galenic.prune(m, "x", "wandaa"), "Did you mean 'wanda'"),
        (lambda m: galenic.prune(m, "x", "wanda", sparsty=0.5), "Did you mean 'sparsity'"),
        (lambda m: galenic.prune(m, "x", sparsity=2), "sparsity=2"),
        (lambda m: galenic.prune(m, m, "magnitude"), "exists"),
        (lambda m: galenic.report(), "at least one run"),
        (lambda m: galenic.compare("a", "b", scorin_a="letter"), "scoring_a"),
        (lambda m: galenic.inspect("no-such-model"), "no-such-model"),
    ],
)
def test_mistakes_are_user_errors(call: Any, message: str, prepared: Path) -> None:
    with pytest.raises(galenic.UserError, match=message):
        call(prepared / "my-model")


def test_a_table_prints_well() -> None:
    table = galenic.Table(("name", "share"), (("a<b", 0.25), ("c", None)), "Title")
    assert repr(table) == "Title\nname  share\na<b   0.250\nc     -"
    assert "<td>a&lt;b</td><td>0.250</td>" in table._repr_html_()
    assert list(table) == [{"name": "a<b", "share": 0.25}, {"name": "c", "share": None}]
    assert table[1:] == [{"name": "c", "share": None}]
