"""`galenic index`, `search` and `purge` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from galenic.cli.main import app
from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.errors import UserError
from galenic.home import index_path


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=typed, env={"COLUMNS": "200"})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "notes.md").write_text("# Pills\n\nTake [b]metformin[/b] at breakfast.", "utf-8")
    (folder / "photo.jpg").write_bytes(b"\xff")
    assert run("index", str(folder)).exit_code == 0
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    row = {
        "id": "m1",
        "question": "What are the symptoms of Cystitis ?",
        "answer": "Dysuria.",
        "focus": "Cystitis",
        "source": "NIDDK",
        "url": "https://example.org/cystitis",
        "synonyms": [],
    }
    write_bytes(tmp_path / "data/medquad/medquad.jsonl.gz", encode_gzip([row]))
    write_bytes(tmp_path / "data/manifest.json", b'{"files": {}}')
    return tmp_path / "data"


@pytest.mark.parametrize("command", ["index", "search", "purge"])
def test_help_shows_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Examples" in done.output and f"galenic {command}" in done.output


def test_a_folder_is_indexed_listed_and_removed(own: Path) -> None:
    (own / "notes.md").write_text("Other pills.", encoding="utf-8")
    done = run("index", str(own))
    assert f"{own}: 0 new, 1 changed, 0 unchanged, 0 removed; 1 passages written" in done.output
    assert "1 x other kinds of file (.jpg)" in done.output
    listed = run("index", "--list").output
    assert f"{own}: 1 files, 1 passages, licence: your own" in listed
    assert str(index_path()) in listed
    assert "is out of the index" in run("index", "--remove", str(own)).output
    assert "Nothing is indexed." in run("index", "--list").output
    assert (own / "notes.md").is_file()


def test_medquad_is_shown_with_its_attribution(data: Path) -> None:
    done = run("index", "medquad", "--data", str(data))
    assert "medquad: 1 new" in done.output
    assert "CC BY 4.0: A. Ben Abacha" in run("index", "--list").output
    shown = run("search", "it burns when I pee, burning pee").output
    assert "[1] Cystitis - What are the symptoms of Cystitis ?" in shown
    assert "National Institute of Diabetes" in shown and "licence: CC BY 4.0" in shown
    assert "https://example.org/cystitis" in shown
    assert shown.count("A Question-Entailment Approach") == 1


def test_search_shows_place_and_text_as_it_is(own: Path) -> None:
    shown = run("search", "metformin").output
    assert "Take [b]metformin[/b] at breakfast." in shown
    assert "notes.md, line 3; your own documents" in shown
    assert "Nothing was found" in run("search", "zorb").output


def test_search_for_programs_and_from_standard_input(own: Path) -> None:
    [found] = json.loads(run("search", "--json", "-", typed="metformin?\n").stdout)
    assert found["text"] == "Take [b]metformin[/b] at breakfast."
    assert found["snippet"]["marks"] == [[8, 17]]
    assert found["collection"] == str(own) and found["place"] == "line 3"
    assert json.loads(run("search", "--json", "zorb").stdout) == []


def test_purge_asks_first(own: Path) -> None:
    done = run("purge", typed="n\n")
    assert done.exit_code == 1 and str(index_path()) in done.output
    assert index_path().is_file()
    done = run("purge", "--yes")
    assert done.exit_code == 0 and f"deleted {index_path()}" in done.output
    assert not index_path().exists()
    assert "Nothing is kept" in run("purge").output
    assert (own / "notes.md").is_file()


def test_mistakes(own: Path) -> None:
    for arguments, message in (
        (("index",), "one of these is needed"),
        (("index", str(own), "--list"), "one of these is needed"),
        (("index", str(own / "nowhere")), "is not a file or folder"),
        (("index", "medquad"), "GALENIC_DATA"),
        (("index", str(own), "--max-size", "much"), "--max-size"),
        (("index", "--remove", "/nowhere"), "nothing of /nowhere is indexed"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, UserError) and message in str(done.exception)
    assert run("search", "x", "-k", "0").exit_code == 2
    run("purge", "--yes")
    assert "nothing is indexed yet" in str(run("search", "x").exception)


def test_json_says_what_was_indexed_and_what_is_there(tmp_path: Path, own: Path) -> None:
    (own / "more.txt").write_text("Take it with food.", "utf-8")
    found = json.loads(run("index", str(own), "--json").stdout)
    assert (found["new"], found["unchanged"]) == (1, 1)
    listed = json.loads(run("index", "--list", "--json").stdout)
    assert [one["num_files"] for one in listed["collections"]] == [2]
    assert listed["vectors"] is None
    assert json.loads(run("index", "--remove", str(own), "--json").stdout)["removed"] == str(own)
