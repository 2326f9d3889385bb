"""Hub ids, with the library's own exceptions and without a network."""

from __future__ import annotations

import errno
import hashlib
import sys
from fnmatch import fnmatch
from json import JSONDecodeError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.fetch.hub import PATTERNS, hub_folder, is_hub_id
from galenic.models.load import resolve_model
from tiny_hf import write_tiny_hf

hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")

TRANSPORT: Any = errors.HfHubHTTPError.__bases__[0]
"""What its HTTP library raises where a connection breaks off; in newer ones no ``OSError``."""


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", download)


def http(name: str) -> Exception:
    """An error of the library as it would come from the server."""
    response: Any = SimpleNamespace(headers={}, request=None)
    kind = getattr(errors, name)
    error: Exception = kind("404 Client Error.\n\nmore", response=response)
    return error


def test_names_of_the_form_org_name() -> None:
    for name in ("org/name", "meta-llama/Llama-3.2-1B", "a/b@main", "a/b@refs/pr/1", "a_b/c.d"):
        assert is_hub_id(name)
    for name in ("name", "a/b/c", "/a/b", "a/", "../b", "a b/c", "a/b@", "a/b?x", "é/b"):
        assert not is_hub_id(name)


def test_a_model_is_downloaded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    folder = write_tiny_hf(tmp_path / "snapshot", "qwen2")
    calls: list[tuple[Any, ...]] = []

    def download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append((repository, revision))
        assert allow_patterns == PATTERNS
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", download)
    files = resolve_model("org/name@v2")
    assert (files.name, files.kind, files.path) == ("org/name@v2", "folder", folder)
    resolve_model("org/name")
    assert calls == [("org/name", "v2"), ("org/name", None)]
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve_model("org/name")


def test_only_needed_files_are_asked_for() -> None:
    def wanted(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in PATTERNS)

    for name in ("config.json", "model-00001-of-00002.safetensors", "tokenizer_config.json",
                 "model.safetensors.index.json", "chat_template.jinja"):  # fmt: skip
        assert wanted(name)
    for name in ("pytorch_model.bin", "consolidated.safetensors", "model.gguf", "README.md",
                 "original/consolidated.00.pth", "modeling_x.py", "onnx/model.onnx"):  # fmt: skip
        assert not wanted(name)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (http("GatedRepoError"), "gated.*hf auth login"),
        (http("RepositoryNotFoundError"), "has no model 'org/name'"),
        (http("RevisionNotFoundError"), "no revision 'v2'"),
        (http("HfHubHTTPError"), "cannot be reached: 404 Client Error. Try"),
        (errors.LocalEntryNotFoundError("Cannot find an appropriate snapshot"), "Cannot find"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (errors.HFValidationError("bad"), "not a Hub id: bad"),
        (ConnectionError(), "ConnectionError"),
        (OSError(errno.ENOSPC, "No space left"), "cannot be stored .*No space left.*HF_HOME"),
        (OSError(errno.EROFS, "Read-only", "/hub"), "cannot be stored .*'/hub'.*HF_HOME"),
        (TRANSPORT("reset by peer"), "cannot be reached: reset by peer"),
        (JSONDecodeError("Expecting value", "<html>", 0), "cannot be reached: Expecting value"),
    ],
)
def test_the_librarys_errors_become_clear(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    with pytest.raises(UserError, match=message):
        resolve_model("org/name@v2")


@pytest.mark.parametrize("whole", [True, False])
def test_the_cached_copy_is_used_where_the_connection_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    def download(repository: str, *, local_files_only: bool = False, **_: object) -> str:
        if not local_files_only:
            raise TRANSPORT("reset by peer")
        if not whole:
            raise errors.LocalEntryNotFoundError("1 file is missing")
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(errors, "IncompleteSnapshotError", OSError, raising=False)
    if whole:
        assert hub_folder("org/name") == tmp_path
        monkeypatch.delattr(errors, "IncompleteSnapshotError")  # the library cannot tell
    with pytest.raises(UserError, match="cannot be reached: reset by peer"):
        hub_folder("org/name")


@pytest.mark.parametrize("kind", ["sha256", "git", "sha1"])
def test_a_cached_file_has_the_hash_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content = b"weights"
    named = {
        "sha256": hashlib.sha256(content),
        "git": hashlib.sha1(b"blob 7\0" + content),
        "sha1": hashlib.sha1(content),
    }[kind].hexdigest()
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "commit"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / named).write_bytes(content)
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs") / named)
    (snapshot / "config.json").write_text("{}")  # where there are no links, files have no such name
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(snapshot))
    assert hub_folder("org/name") == snapshot
    (blobs / named).write_bytes(b"weightz")
    with pytest.raises(UserError, match=rf"model\.safetensors of org/name .*{blobs / named}"):
        hub_folder("org/name")
    (blobs / named).rename(blobs / "etag")  # a name that states no hash
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/etag")
    assert hub_folder("org/name") == snapshot


def test_a_programming_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, TypeError("bug"))
    with pytest.raises(TypeError):
        resolve_model("org/name")


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"galenic\[hub\].*does not exist"):
        resolve_model("org/name")
