"""Files of a study that say what they should not: one error that names the place."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from galenic.errors import UserError
from galenic.reports.study import build_study_report
from galenic.study.store import StudyFolder
from studies import write_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_study(tmp_path / "study")
    return tmp_path / "study"


def node_of(folder: Path, kind: str, place: int = 1) -> Path:
    facts = StudyFolder(folder).read()
    cell = facts["cells"][place]
    node = {
        "answers": cell["answers"]["pubmedqa"]["letter"],
        "stage": cell["made_by"],
        "perplexity": cell["perplexity"],
    }[kind]
    return folder / "nodes" / str(node)


@pytest.mark.parametrize(
    ("how", "place"),
    [
        (lambda one: [one], "a JSON object"),
        (lambda one: one.pop("nodes"), "nodes"),
        (lambda one: one.update(cells={"a": 1}), "cells"),
        (lambda one: one["nodes"].update({"../x": {}}), "nodes.../x"),
        (lambda one: one["cells"][1].update(made_by=["x"]), "cells.1.made_by"),
        (lambda one: one["cells"][1].update(made_by="gone"), "gone"),
        (lambda one: one["cells"][1].update(perplexity="../../etc"), "cells.1.perplexity"),
        (lambda one: one["evaluate"].update(scoring="letter"), "evaluate.scoring"),
        (lambda one: next(iter(one["nodes"].values())).update(needs=["gone"]), "needs gone"),
        (lambda one: one.update(sizes={}), "a model has no size"),
        (lambda one: one["baselines"][0].update(n="many"), "baselines.0.n"),
        (lambda one: one.update(name={"[/red]": 1}), "name"),
    ],
)
def test_a_study_that_lies(folder: Path, how: Callable[[Any], Any], place: str) -> None:
    path = folder / "study.json"
    study = json.loads(path.read_text())
    new = how(study)
    path.write_text(json.dumps(new if isinstance(new, list) and new[:1] == [study] else study))
    with pytest.raises(UserError) as found:
        StudyFolder(folder).states()
    assert str(path) in str(found.value)
    assert place in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("kind", "new", "place"),
    [
        ("answers", {"run": "../../run"}, "run"),
        ("answers", {"run": ["run"]}, "run"),
        ("answers", {}, "run is missing"),
        ("stage", {"model": "m"}, "file_bytes is missing"),
        ("stage", {"model": "m", "file_bytes": -1, "bits_per_weight": 4.5}, "file_bytes"),
        ("stage", {"file_bytes": 1, "bits_per_weight": float("nan")}, "bits_per_weight"),
        ("perplexity", {"perplexity": {"model": {"perplexity": 1}}}, "perplexity.model"),
    ],
)
def test_a_result_that_lies(folder: Path, kind: str, new: dict[str, Any], place: str) -> None:
    path = node_of(folder, kind) / "result.json"
    path.write_text(json.dumps(new))
    with pytest.raises(UserError) as found:
        build_study_report(folder)
    assert str(path) in str(found.value)
    assert place in str(found.value)


def test_answers_to_something_else(folder: Path) -> None:
    cells = StudyFolder(folder).read()["cells"]
    one, other = (cells[0]["answers"][name]["letter"] for name in ("pubmedqa", "medmcqa"))
    (folder / "nodes" / one / "run").rename(folder / "run")
    (folder / "nodes" / other / "run").rename(folder / "nodes" / one / "run")
    (folder / "run").rename(folder / "nodes" / other / "run")
    with pytest.raises(UserError, match="other answers than the study asked for"):
        build_study_report(folder)


def test_a_reason_for_failing_that_lies(folder: Path) -> None:
    node = node_of(folder, "stage")
    (node / "result.json").unlink()
    (node / "error.json").write_text('{"kind": 5, "message": null}')
    with pytest.raises(UserError, match=r"error\.json is damaged: kind"):
        StudyFolder(folder).states()


def test_what_a_killed_study_left_is_no_other_thing(tmp_path: Path) -> None:
    (tmp_path / ".study.json.123-0a1b2c3d.part").write_text("{")
    StudyFolder(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="holds no study"):
        StudyFolder(tmp_path)


def test_an_empty_study_goes_before_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    release = FileLock.release
    monkeypatch.setattr(
        FileLock, "release", lambda lock: (seen.append((tmp_path / "s").exists()), release(lock))
    )
    with StudyFolder(tmp_path / "s").held():
        pass
    assert seen[0] is False


def test_a_study_that_can_only_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = node_of(folder, "stage")
    (node / "result.json").unlink()
    (node / ".lock").touch()

    def acquire(self: FileLock) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert StudyFolder(folder).states()[node.name] == "waiting"
