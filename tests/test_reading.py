"""Files that never end, or never begin: refused at once, wherever a command takes a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galenic.assistant.triage.rules import load_rules
from galenic.cli.ask.ask import read_context
from galenic.data.calibration import plain_texts
from galenic.data.exams.files import read_table
from galenic.data.jsonl import encode_gzip, read_jsonl
from galenic.data.published import take_published
from galenic.errors import UserError
from galenic.reading import TooLargeError, files_in, has_suffix, read_file
from galenic.retrieval.documents.medquad_files import read_published
from galenic.strict_json import read_object
from galenic.strict_yaml import read_yaml
from galenic.training.federated.clients import read_federation


def test_as_many_bytes_as_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_file(path, 10) == b"x" * 10
    with pytest.raises(TooLargeError, match="it has 10 bytes; 9 are allowed"):
        read_file(path, 9)
    path.write_bytes(b"")
    assert read_file(path, 0) == b""


def test_a_size_that_the_system_does_not_state(tmp_path: Path) -> None:
    """Files in /proc have the size 0 and hold something."""
    path = Path("/proc/self/cmdline")
    if not path.exists():
        pytest.skip("no /proc")
    whole = path.read_bytes()
    assert read_file(path, len(whole)) == whole
    with pytest.raises(TooLargeError, match=f"more than {len(whole) - 1} bytes"):
        read_file(path, len(whole) - 1)


def test_the_shells_pipe_is_read() -> None:
    """As in ``--rules <(command)``."""
    reading, writing = os.pipe()
    os.write(writing, b"said")
    os.close(writing)
    try:
        assert read_file(Path(f"/dev/fd/{reading}"), 10) == b"said"
    finally:
        os.close(reading)


READERS: list[tuple[Callable[[Path], Any], str]] = [
    (read_object, "x.json"),
    (read_yaml, "x.yaml"),
    (read_federation, "x.yaml"),
    (load_rules, "x.yaml"),
    (read_context, "x.txt"),
    (read_jsonl, "x.jsonl"),
    (read_table, "x.csv"),
    (read_table, "x.parquet"),
    (plain_texts, "x.txt"),
    (lambda path: take_published(path, path.parent / "out"), "x.zip"),
    (lambda path: take_published(path, path.parent / "out"), "ori_pqal.json"),
    (read_published, "x.csv"),
    (read_published, "x.zip"),
    (read_published, "x.parquet"),
]


@pytest.mark.parametrize(("read", "name"), READERS)
@pytest.mark.parametrize("what", ["pipe", "zero", "folder", "loop"])
def test_what_is_no_file(read: Callable[[Path], Any], name: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "zero":
        path.symlink_to("/dev/zero")
    elif what == "loop":
        path.symlink_to(path)
    elif name.endswith((".zip", "pqal.json")) or read is read_published:
        pytest.skip("it takes folders")
    else:
        path.mkdir()
    why = {"folder": "directory", "loop": "symbolic links|does not exist"}.get(
        what, "a device or a named pipe"
    )
    with pytest.raises(UserError, match=f"{name}.*{why}") as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_ends_of_names_count_in_either_case(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    for name in ("b.JSONL.GZ", "a.jsonl", "c.json", ".hidden.jsonl", "below/d.Jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jsonl").mkdir()
    assert [path.name for path in files_in(tmp_path, ".jsonl", ".jsonl.gz")] == [
        "a.jsonl", "b.JSONL.GZ",
    ]  # fmt: skip
    assert files_in(tmp_path, ".jsonl", below=True)[-1] == below / "d.Jsonl"
    assert has_suffix("X.GZ", ".gz") and not has_suffix("gz", ".gz")


def test_rows_in_a_gz_in_capitals_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.JSONL.GZ"
    path.write_bytes(encode_gzip([{"a": 1}]))
    assert [row for _, row in read_jsonl(path).rows()] == [{"a": 1}]
