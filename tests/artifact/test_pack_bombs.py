"""Packed models and packed lines made to harm: refused, and nothing is left."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galenic.artifact import pack as packing
from galenic.artifact.pack import pack, unpack
from galenic.data import jsonl
from galenic.data.jsonl import read_jsonl
from galenic.errors import UserError
from galenic.watcher import SilentWatcher
from tiny import write_tiny_gguf


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    write_tiny_gguf(folder / "tiny.gguf")
    pack(str(folder / "tiny.gguf"), folder / "tiny.galenic", SilentWatcher())
    return folder / "tiny.galenic"


def rewritten(
    source: Path, target: Path, change: Callable[[Any], Any], way: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == packing.INDEX:
                data = json.dumps(change(json.loads(data))).encode("utf-8", "surrogatepass")
            new.writestr(name, data, way if name == packing.INDEX else zipfile.ZIP_STORED)
    return target


def renamed(*names: str) -> Callable[[Any], Any]:
    def change(index: Any) -> Any:
        (entry,) = index["files"].values()
        return index | {"files": dict.fromkeys(names, entry)}

    return change


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/x", "a/../../x", "a\x00b", "a//b", "a/", "\u202ex", "C:x", "x" * 2000]
)
def test_odd_names_are_refused(packed: Path, tmp_path: Path, name: str) -> None:
    path = rewritten(packed, tmp_path / "x.galenic", renamed(name))
    with pytest.raises(UserError, match="outside its own folder, or that no folder can hold"):
        unpack(path, tmp_path / "out", SilentWatcher())
    assert not (tmp_path / "out").exists()


def test_half_of_a_surrogate_pair_is_no_name(packed: Path, tmp_path: Path) -> None:
    path = rewritten(packed, tmp_path / "x.galenic", renamed("\ud800"))
    with pytest.raises(UserError, match="surrogates not allowed"):
        unpack(path, tmp_path / "out", SilentWatcher())


def test_a_name_is_no_file_and_folder_at_once(packed: Path, tmp_path: Path) -> None:
    path = rewritten(packed, tmp_path / "x.galenic", renamed("a/b", "a"))
    with pytest.raises(UserError, match="a is a file and a folder"):
        unpack(path, tmp_path / "out", SilentWatcher())


def test_a_list_that_unpacks_to_more_than_it_is_is_refused(packed: Path, tmp_path: Path) -> None:
    path = rewritten(packed, tmp_path / "x.galenic", lambda index: index, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="no packed model at all"):
        unpack(path, tmp_path / "out", SilentWatcher())


def test_a_long_list_is_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PACK_INDEX", 100)
    with pytest.raises(UserError, match="no packed model at all"):
        unpack(packed, tmp_path / "out", SilentWatcher())


def test_gzip_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 5_000_000))
    with pytest.raises(UserError, match="unpacks to more than"):
        read_jsonl(path)
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000))
    assert len(list(read_jsonl(path).rows())) == 1000


def test_files_and_lines_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"b": "' + "x" * 100 + '"}\n')
    monkeypatch.setattr(jsonl, "JSONL_LINE", 100)
    with pytest.raises(UserError, match="line 2: the line has 109 bytes, and 100 are allowed"):
        list(read_jsonl(path).rows())
    monkeypatch.setattr(jsonl, "JSONL_BYTES", 50)
    with pytest.raises(UserError, match="has 119 bytes; 50 are allowed"):
        read_jsonl(path)


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}\n')
    with pytest.raises(UserError, match="line 2: half of a surrogate pair"):
        list(read_jsonl(path).rows())
