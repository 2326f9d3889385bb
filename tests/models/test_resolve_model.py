"""From a name to checked files: paths, folders, and clear errors for all else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from galenic.artifact.pack import pack, unpack
from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.models.tensors import read_table
from galenic.watcher import SilentWatcher
from tiny import write_tiny_gguf
from tiny_hf import write_tiny_hf


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return write_tiny_hf(tmp_path_factory.mktemp("hf") / "llama", "llama")


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny folder, to be damaged."""
    return Path(shutil.copytree(llama, tmp_path / "model"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_gguf_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    monkeypatch.chdir(tmp_path)
    seen: list[int] = []
    files = resolve_model("tiny.gguf", progress=lambda _, done, __: seen.append(done))
    assert (files.name, files.kind, files.path) == ("tiny.gguf", "gguf", path)
    assert files.sha256 == sha256(path)
    assert seen[-1] == path.stat().st_size
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("~/tiny.gguf").sha256 == files.sha256
    shutil.move(path, tmp_path / "no-ending")
    assert resolve_model("no-ending").kind == "gguf"


def test_capitals_in_a_file_name_do_not_hide_a_gguf(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "TINY.GGUF")
    (tmp_path / "._TINY.GGUF").write_bytes(b"what macOS leaves beside it")
    assert resolve_model(str(tmp_path)).path == path
    with pytest.raises(UserError, match="there is no file or folder"):
        resolve_model("OTHER.GGUF")
    packed = tmp_path / "M.GALENIC"
    pack(str(tmp_path), packed, SilentWatcher())
    [back] = unpack(packed, tmp_path / "back", SilentWatcher())
    assert back.read_bytes() == path.read_bytes()


def test_a_folder_with_one_gguf_is_that_gguf(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    assert resolve_model(str(tmp_path)).path == path
    write_tiny_gguf(tmp_path / "other.gguf", seed=1)
    with pytest.raises(UserError, match=r"2 GGUF files.*other\.gguf, tiny\.gguf"):
        resolve_model(str(tmp_path))


def test_a_folder_is_hashed_over_its_weight_files(llama: Path) -> None:
    files = resolve_model(str(llama))
    assert (files.kind, files.path) == ("folder", llama)
    line = f"model.safetensors\n{sha256(llama / 'model.safetensors')}\n"
    assert files.sha256 == hashlib.sha256(line.encode()).hexdigest()


def test_shards_must_all_be_there(llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded = tmp_path / "sharded"
    shutil.copytree(llama, sharded)
    (sharded / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(llama)
    model.save_pretrained(sharded, max_shard_size="100KB")
    shards = sorted(sharded.glob("*.safetensors"))
    assert len(shards) > 1
    lines = "".join(f"{shard.name}\n{sha256(shard)}\n" for shard in shards)
    assert resolve_model(str(sharded)).sha256 == hashlib.sha256(lines.encode()).hexdigest()
    shards[1].unlink()
    with pytest.raises(UserError, match=f"lacks 1 of {len(shards)} weight files: {shards[1].name}"):
        resolve_model(str(sharded))
    shutil.copy(shards[0], shards[1])
    with pytest.raises(UserError, match="lacks the tensor"):
        resolve_model(str(sharded))


def test_an_index_must_stay_in_its_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="outside its own folder"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (["config.json"], "no config.json"),
        (["tokenizer.json"], r"no tokenizer.*vocab\.json \+ merges\.txt"),
        (["model.safetensors"], "no weights"),
    ],
)
def test_what_is_missing_is_named(folder: Path, removed: list[str], message: str) -> None:
    for name in removed:
        (folder / name).unlink()
    with pytest.raises(UserError, match=message):
        resolve_model(str(folder))


def test_other_tokenizer_files_do(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    with pytest.raises(UserError, match="no tokenizer"):
        resolve_model(str(folder))
    (folder / "merges.txt").write_text("")
    resolve_model(str(folder))


def test_pickled_weights_are_refused_with_a_reason(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="can run any code"):
        resolve_model(str(folder))


def test_an_adapter_is_told_from_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="erge it into its base"):
        resolve_model(str(tmp_path))


def test_safetensors_cut_or_damaged(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    for length in (0, 5, 8, 50, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"truncated|only \d bytes"):
            resolve_model(str(folder))
    path.write_bytes(data + b"x")
    with pytest.raises(UserError, match="damaged"):
        resolve_model(str(folder))
    for table in (b"[]", b"{", b'{"a": 3}', b'{"a": {"data_offsets": [4, 0]}}', b"[" * 9999):
        path.write_bytes(len(table).to_bytes(8, "little") + table)
        with pytest.raises(UserError, match="damaged"):
            read_table(path)
    for content, message in (
        (b"\x80\x02pickled" + bytes(9), "begins with"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_table(path)


def test_names_of_shards_that_lie(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    only = "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").rename(folder / only)
    tensors = dict.fromkeys(read_table(folder / only), only)
    index.write_text(json.dumps({"weight_map": tensors}))
    resolve_model(str(folder))
    first = next(iter(tensors))
    outside = ("../x", "a/b", "/etc/passwd", "", ".", "x" * 256, "é" * 200, "\U0001f600" * 64)
    for name in (*outside, "..", "a\x00b", "gone", 5, None, ["a"], {"a": 1}, "CON", "config.json"):
        index.write_text(json.dumps({"weight_map": {**tensors, first: name}}))
        with pytest.raises(UserError, match="outside" if name in outside else str(folder)) as said:
            resolve_model(str(folder))
        assert len(str(said.value).replace(str(folder), "")) < 400
    for text in ("{", "[]", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}'):
        index.write_text(text)
        with pytest.raises(UserError, match=r"index\.json|lacks"):
            resolve_model(str(folder))


def test_a_config_must_be_one(folder: Path) -> None:
    for content in ("{", "[]", "{}"):
        (folder / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json"):
            resolve_model(str(folder))


@pytest.mark.parametrize(
    "changes", [{"num_hidden_layers": 10**6}, {"text_config": {"num_hidden_layers": 10**9}}]
)
def test_layers_by_the_million_are_refused(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=r"000 layers; a model may have 1,000"):
        resolve_model(str(folder))


def test_unknown_names_say_what_is_accepted() -> None:
    with pytest.raises(UserError, match=r"'smolm2-135'.*Did you mean 'smollm2-135m'.*org/name"):
        resolve_model("smolm2-135")
    with pytest.raises(UserError, match="Also accepted"):
        resolve_model("")
    for name in ("./nothing", "nothing.gguf", "a/b/c", "~/nothing", os.sep + "nothing", "a\\b"):
        with pytest.raises(UserError, match="no file or folder"):
            resolve_model(name)
