"""The cache folder, writing whole or not at all, locks and remembered hashes."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from galenic.cache import (
    CHUNK,
    cache_folder,
    file_sha256,
    forget_changed,
    locked,
    remember_sha256,
    replacing,
    write_atomically,
)
from galenic.errors import UserError

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
ABD = "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"  # sha256sum of "abd"


def test_the_folder_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path / "here"))
    assert cache_folder("models", "x") == tmp_path / "here" / "models" / "x"
    assert (tmp_path / "here" / "models" / "x").is_dir()


def test_without_the_variable_it_is_in_the_users_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GALENIC_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert cache_folder() == tmp_path / "galenic"


def test_a_folder_that_cannot_be_made_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="GALENIC_CACHE"):
        cache_folder()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_atomically(path, "old")

    def broken() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert path.read_text() == "old"
    write_atomically(path, "new é")
    assert path.read_bytes() == "new é".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("one", "two"):
        with replacing(target) as part:
            part.mkdir()
            (part / content).write_text(content)
            assert not (target / content).exists()
    assert [file.name for file in target.iterdir()] == ["two"]
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_lock_lets_one_in_at_a_time_and_sweeps_leftovers(tmp_path: Path) -> None:
    target = tmp_path / "count"
    target.write_text("0")
    (tmp_path / ".count.1-dead.part").write_text("from a killed process")
    (tmp_path / ".other.1-dead.part").write_text("not ours")
    (tmp_path / ".count.er.1-dead.part").write_text("another process may be writing it")

    def add() -> None:
        with locked(target):
            value = int(target.read_text())
            time.sleep(0.02)
            target.write_text(str(value + 1))

    threads = [threading.Thread(target=add) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() == "5"
    assert not (tmp_path / ".count.1-dead.part").exists()
    assert (tmp_path / ".other.1-dead.part").exists()
    assert (tmp_path / ".count.er.1-dead.part").exists()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left"), RuntimeError("I/O error: full (os error 28)")],
)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    def fill() -> None:
        with replacing(tmp_path / "table") as part:
            part.write_text("half")
            raise error

    with pytest.raises(UserError, match="the disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files")
def test_waiting_for_another_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("galenic.cache.SILENT", 0.01)
    held = threading.Event()

    def hold() -> None:
        with locked(tmp_path / "x"):
            held.set()
            time.sleep(0.5)

    threading.Thread(target=hold).start()
    held.wait()
    with locked(tmp_path / "x"):
        assert f"{tmp_path / 'x'} is being written by another process" in caplog.text
    caplog.clear()
    with locked(tmp_path / "x"):
        assert not caplog.text


def test_a_folder_that_takes_no_files_is_not_waited_for() -> None:
    with pytest.raises(UserError, match="no file can be made in /proc"), locked(Path("/proc/x")):
        pass


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "table") as part:
        part.read_text()


def test_a_hash_is_computed_once_while_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    remember_sha256(path, ABD)
    assert file_sha256(path) == ABD  # not read
    path.write_bytes(b"abdc")
    assert file_sha256(path) not in (ABC, ABD)


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_a_change_that_hides_its_time_is_seen(tmp_path: Path, how: str) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    assert file_sha256(path) == ABC
    state = path.stat()
    if how == "written":
        time.sleep(0.02)  # the clock of a file system may tick every few milliseconds
        path.write_bytes(b"abd")
    else:
        other = tmp_path / "other"
        other.write_bytes(b"abd")
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        other.replace(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert file_sha256(path) == ABD


def test_hashes_of_vanished_files_are_forgotten(tmp_path: Path) -> None:
    for name in ("gone", "stays"):
        (tmp_path / name).write_bytes(b"abc")
        file_sha256(tmp_path / name)
    (tmp_path / "gone").unlink()
    remember_sha256(tmp_path / "stays", ABC)
    table = (cache_folder() / "hashes.json").read_text()
    assert "stays" in table
    assert "gone" not in table


def test_a_damaged_table_only_costs_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    for damage in ("{", "[]", f'{{"{path}": 3}}'):
        (cache_folder() / "hashes.json").write_text(damage)
        assert file_sha256(path) == ABC
    assert "damaged" in caplog.text


def test_hashing_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(2 * CHUNK + 5))
    seen: list[tuple[int, int]] = []
    file_sha256(path, progress=lambda _, done, total: seen.append((done, total)))
    size = 2 * CHUNK + 5
    assert seen == [(CHUNK, size), (2 * CHUNK, size), (size, size)]


def test_every_remembered_file_is_read_again(tmp_path: Path) -> None:
    for name in ("same", "other", "gone"):
        (tmp_path / name).write_bytes(b"abc")
        file_sha256(tmp_path / name)
    remember_sha256(tmp_path / "other", ABD)  # as if its change had been hidden
    (tmp_path / "gone").unlink()
    assert forget_changed() == {str(tmp_path / "same"): True, str(tmp_path / "other"): False}
    assert file_sha256(tmp_path / "other") == ABC
    assert all(forget_changed().values())
