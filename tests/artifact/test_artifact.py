"""A model folder is whole or not there, and its manifest is true."""

from __future__ import annotations

import hashlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from galenic.artifact.manifest import (
    MANIFEST,
    Parent,
    Stage,
    check_new,
    new_artifact,
    read_manifest,
    write_manifest,
)
from galenic.artifact.record import NamedMethod, record_stage
from galenic.errors import UserError
from galenic.jsonl import append_jsonl
from galenic.models.files import ModelFiles


def stage(**changes: Any) -> Stage:
    facts: dict[str, Any] = {
        "stage": "prune",
        "method": "wanda",
        "reference_url": "https://arxiv.org/abs/2306.11695",
        "options": {"sparsity": 0.2},
        "parent": Parent(name="model", sha256="0" * 64),
        "calibration": None,
        "parameters": {"before": {"total": 10}, "after": {"total": 8}},
        "removed": {"blocks": 0.25, "whole": 0.2},
        "sizes": {"before": 40, "after": 32},
        "checks": {"logit_difference": 0.0},
        "versions": {"python": "3"},
    }
    return Stage(**facts | changes)


def test_a_finished_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    stages = (stage(), stage(method="magnitude"))
    with new_artifact(target) as part:
        (part / "weights").write_bytes(b"abc")
        assert not target.exists()
        written = write_manifest(part, stages)
    assert read_manifest(target) == written
    assert written.stages == stages
    assert list(written.files) == ["weights"]
    assert written.files["weights"].sha256 == hashlib.sha256(b"abc").hexdigest()
    assert written.files["weights"].num_bytes == 3
    assert [entry.name for entry in target.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with new_artifact(tmp_path / "model") as part:
            (part / "weights").write_bytes(b"abc")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    left = tmp_path / ".model.123-abcdef01.part"
    left.mkdir()
    (left / "weights").write_bytes(b"half")
    check_new(tmp_path / "model")
    assert left.exists()
    check_new(tmp_path / "model", 1)  # its room counts as free
    assert list(tmp_path.iterdir()) == []
    left.mkdir()
    with new_artifact(tmp_path / "model") as part:
        (part / "weights").write_bytes(b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        check_new(tmp_path)
    with pytest.raises(UserError, match="exists"), new_artifact(tmp_path):
        pytest.fail("not reached")
    with pytest.raises(UserError, match="not UTF-8"):
        check_new(tmp_path / "a\udcff")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100, 0, 1_000_000))
    check_new(tmp_path / "a" / "b", 900_000)
    with pytest.raises(UserError, match=r"0\.00 GB, and 0\.00 GB are free"):
        check_new(tmp_path / "a" / "b", 1_000_000)


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written to"):
        check_new(tmp_path / "file" / "model")


def test_folders_of_others_have_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / MANIFEST).write_text('{"name": "a page", "icons": []}')
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "damaged"), ('{"stages": 3, "files": {}}', "stages"),
     ('{"format": 9, "stages": [], "files": {}}', "format 9")],
)  # fmt: skip
def test_a_manifest_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


def test_a_manifest_of_the_version_before_is_read(tmp_path: Path) -> None:
    stored = Path(__file__).parent / "stored" / "manifest-0.1.0.json"
    text = stored.read_text(encoding="utf-8")
    assert '"knobs"' in text and '"options": {' not in text
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    before = read_manifest(tmp_path)
    assert before is not None
    assert before.stages[0].options["rank"] == 8
    written = write_manifest(tmp_path, [*before.stages, stage()])  # a further stage upon it
    assert read_manifest(tmp_path) == written
    assert '"knobs"' not in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    assert written.stages[0].options == before.stages[0].options


def test_a_stage_is_recorded_behind_those_before(tmp_path: Path) -> None:
    earlier = write_manifest(tmp_path, [stage()])
    (tmp_path / "weights").write_bytes(b"abc")
    manifest = record_stage(
        tmp_path,
        "merge",
        NamedMethod("merge", "https://example.org"),
        ModelFiles("parent", "folder", tmp_path, "1" * 64),
        earlier=[None, earlier],
        libraries=["pytest", "no-such-library"],
        card=lambda done: f"# {done.method}",
        options={"rank": 2},
        parameters={},
        checks={"difference": 0.0},
    )
    first, second = manifest.stages
    assert first == stage()
    assert (second.stage, second.options, second.parent.name) == ("merge", {"rank": 2}, "parent")
    assert second.removed == {"blocks": 0.0, "whole": 0.0}
    assert sorted(second.versions) == ["galenic", "pytest", "python"]
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "# merge"
    assert sorted(manifest.files) == ["README.md", "weights"]
    assert read_manifest(tmp_path) == manifest


def test_lines_are_added_behind_those_there(tmp_path: Path) -> None:
    append_jsonl(tmp_path / "log.jsonl", [{"a": "\u00e9"}])
    append_jsonl(tmp_path / "log.jsonl", ['{"b": 2}', [3]])
    text = (tmp_path / "log.jsonl").read_bytes().decode()
    assert text == '{"a": "\u00e9"}\n{"b": 2}\n[3]\n'
