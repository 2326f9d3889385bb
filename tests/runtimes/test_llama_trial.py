"""GGUFs made to harm: refused before llama.cpp reads them, or tried in a child that may die."""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_llama import model_files

from galenic.cache import cache_folder
from galenic.errors import UserError
from galenic.limits import MESSAGE
from galenic.models.gguf.check import check_model
from galenic.runtimes import llama_trial
from galenic.runtimes.libllama import LibLlama, load_library
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.llama_trial import try_in_child
from raw_gguf import Entry, RawGguf
from tiny import write_tiny_gguf

UINT32, INT32, FLOAT32, STRING, ARRAY, UINT64, FLOAT64 = 4, 5, 6, 8, 9, 10, 12
TOKENS = "tokenizer.ggml.tokens"
ODD = b"\xff" * 100_000


@pytest.fixture(scope="module")
def library() -> LibLlama:
    return load_library()


def tiny(folder: Path) -> RawGguf:
    return RawGguf.read(write_tiny_gguf(folder / "tiny.gguf"))


def value(key: str, new: object, kind: int | None = None) -> Callable[[RawGguf], None]:
    def change(raw: RawGguf) -> None:
        raw.set(key, raw.entry(key).kind if kind is None else kind, new)

    return change


def items(key: str, change_items: Callable[[list], object]) -> Callable[[RawGguf], None]:
    def change(raw: RawGguf) -> None:
        change_items(raw.entry(key).value)

    return change


def row(change_row: Callable[[object], None], at: int = 1) -> Callable[[RawGguf], None]:
    def change(raw: RawGguf) -> None:
        change_row(raw.rows[at])

    return change


def attr(name: str, new: object) -> Callable[[object], None]:
    return lambda one: setattr(one, name, new)


CHANGES: dict[str, tuple[Callable[[RawGguf], None], str]] = {
    "twice a token": (items(TOKENS, lambda t: t.__setitem__(9, t[8])), "appears twice"),
    "alignment 1": (lambda r: r.set("general.alignment", UINT32, 1), "no power of two"),
    "alignment 0": (lambda r: r.set("general.alignment", UINT32, 0), "no power of two"),
    "alignment 48": (lambda r: r.set("general.alignment", UINT32, 48), "no power of two"),
    "alignment of text": (lambda r: r.set("general.alignment", STRING, b"32"), "no power of two"),
    "alignment of 64 bits": (lambda r: r.set("general.alignment", UINT64, 32), "no power of two"),
    "blocks 2^31-1": (value("llama.block_count", 2**31 - 1), "block_count is 2147483647"),
    "blocks 3": (value("llama.block_count", 3), "block_count is 3"),
    "blocks 1": (value("llama.block_count", 1), "block_count is 1"),
    "blocks of text": (value("llama.block_count", b"2", STRING), "block_count is '2'"),
    "no blocks": (lambda r: r.drop("llama.block_count"), "block_count is missing"),
    "no context": (lambda r: r.drop("llama.context_length"), "context_length is missing"),
    "no width": (lambda r: r.drop("llama.embedding_length"), "embedding_length is missing"),
    "another width": (value("llama.embedding_length", 64), "and token_embd.weight is of shape"),
    "no heads": (value("llama.attention.head_count", 0), "0 heads"),
    "three heads": (value("llama.attention.head_count", 3), "3 heads and 2 key heads"),
    "no key heads": (value("llama.attention.head_count_kv", 0), "4 heads and 0 key heads"),
    "odd rotation": (value("llama.rope.dimension_count", 7), "rope.dimension_count is 7"),
    "wide rotation": (value("llama.rope.dimension_count", 64), "rope.dimension_count is 64"),
    "base NaN": (value("llama.rope.freq_base", math.nan), "rope.freq_base is nan"),
    "base 0": (value("llama.rope.freq_base", 0.0), "not a positive number"),
    "eps inf": (value("llama.attention.layer_norm_rms_epsilon", math.inf), "is inf"),
    "eps -1": (value("llama.attention.layer_norm_rms_epsilon", -1.0), "not a positive number"),
    "experts": (lambda r: r.set("llama.expert_used_count", UINT32, 9), "more experts"),
    "no tokenizer": (value("tokenizer.ggml.model", b"none"), "no tokenizer"),
    "tokenizer a number": (value("tokenizer.ggml.model", 1, UINT32), "no tokenizer"),
    "no tokens": (lambda r: r.drop(TOKENS), "no tokenizer"),
    "tokens of numbers": (lambda r: r.set(TOKENS, ARRAY, [1] * 270, UINT32), "another type"),
    "tokens a text": (lambda r: r.set(TOKENS, STRING, b"abc"), "is not a list"),
    "few types": (items("tokenizer.ggml.token_type", list.pop), "270 tokens and 269"),
    "types of floats": (
        lambda r: r.set("tokenizer.ggml.token_type", ARRAY, [1.0] * 270, FLOAT32),
        "another type",
    ),
    "few scores": (lambda r: r.set("tokenizer.ggml.scores", ARRAY, [1.0], FLOAT32), "and 1 of"),
    "scores NaN": (
        lambda r: r.set("tokenizer.ggml.scores", ARRAY, [math.nan] * 270, FLOAT32),
        "no finite numbers",
    ),
    "fewer tokens": (
        lambda r: [items(key, list.pop)(r) for key in (TOKENS, "tokenizer.ggml.token_type")],
        "269 tokens of 32 numbers",
    ),
    "overlapping": (row(attr("offset", 0)), "within another"),
    "at an odd place": (row(attr("offset", 34_562)), "no multiple of 32"),
    "beyond the end": (row(attr("offset", 2**40)), "truncated"),
    "beyond all numbers": (row(attr("offset", 2**64 - 32)), "truncated"),
    "no dimension": (row(attr("dims", [])), "0 dimensions"),
    "nine dimensions": (row(attr("dims", [1] * 9)), "9 dimensions"),
    "dimension 0": (row(attr("dims", [32, 0])), "cannot be stored"),
    "dimensions too large": (row(attr("dims", [2**63, 2])), "truncated"),
    "unknown type": (row(attr("kind", 999)), "has type 999"),
    "a name of 100,000 bytes": (row(attr("name", ODD)), "name of 100,000 letters"),
    "a key of 100,000 bytes": (lambda r: r.set("x" * 100_000, FLOAT32, math.nan), "is nan"),
    "architecture a number": (value("general.architecture", 1, UINT32), "architecture"),
    "a key twice": (lambda r: r.entries.append(Entry(b"llama.block_count", UINT32, 2)), "twice"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_file_says_is_checked_before_the_library_reads_it(
    name: str, tmp_path: Path
) -> None:
    change, says = CHANGES[name]
    raw = tiny(tmp_path)
    change(raw)
    path = raw.write(tmp_path / "bad.gguf")
    with pytest.raises(UserError) as caught:
        check_model(path)
    assert says in str(caught.value)
    assert len(str(caught.value).replace(str(path), "")) < MESSAGE + 200


def test_nested_arrays_are_refused(tmp_path: Path) -> None:
    raw = tiny(tmp_path)
    path = raw.write(tmp_path / "bad.gguf")
    data = path.read_bytes()
    lists = struct.pack("<Q", 1) + b"x" + struct.pack("<IIQ", ARRAY, ARRAY, 1)
    nested = data[:16] + struct.pack("<Q", len(raw.entries) + 1) + lists * 1 + data[24:]
    path.write_bytes(nested)
    with pytest.raises(UserError, match="items of the unknown type 9"):
        check_model(path)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_good_file_passes(architecture: str, tmp_path: Path) -> None:
    check_model(write_tiny_gguf(tmp_path / "tiny.gguf", architecture=architecture))


@pytest.mark.slow
def test_the_real_model_passes(smollm2: Path) -> None:
    check_model(smollm2)
    try_in_child(smollm2)


def fatal(folder: Path) -> Path:
    """A file over which llama.cpp ends the process and which nothing here knows to be bad."""
    raw = tiny(folder)
    raw.entry(TOKENS).value[9] = raw.entry(TOKENS).value[8]
    return raw.write(folder / "fatal.gguf")


@pytest.mark.trial
def test_the_death_of_the_child_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_trial, "check_model", lambda path: None)
    with pytest.raises(UserError, match=r"could not be loaded: llama\.cpp was ended by SIGABRT"):
        LlamaRuntime(model_files(fatal(tmp_path)), threads=1)


@pytest.mark.trial
def test_a_child_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_trial, "WALL", 0.0001)
    with pytest.raises(UserError, match="does not end within 0 seconds"):
        LlamaRuntime(model_files(write_tiny_gguf(tmp_path / "tiny.gguf")), threads=1)


@pytest.mark.slow
@pytest.mark.trial
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_child_that_computes_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "spin" / "sitecustomize.py"
    module.parent.mkdir()
    module.write_text(
        "import galenic.runtimes.llama_engine as engine\n"
        "def spin(*args, **kwargs):\n"
        "    while True: pass\n"
        "engine.LlamaEngine = spin\n",
        encoding="utf-8",
    )
    paths = (str(module.parent), *sys.path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(llama_trial, "TRIAL_SECONDS", 1)
    monkeypatch.setattr(llama_trial, "WALL", 1000)
    with pytest.raises(UserError, match="took more of the processor"):
        llama_trial.try_in_child(write_tiny_gguf(tmp_path / "tiny.gguf"))


@pytest.mark.trial
def test_what_the_child_refuses_is_told(tmp_path: Path) -> None:
    raw = tiny(tmp_path)
    raw.weights = b"\x00\x00\xc0\x7f" * (len(raw.weights) // 4)  # NaN
    with pytest.raises(UserError, match="predicts values that are NaN"):
        LlamaRuntime(model_files(raw.write(tmp_path / "nan.gguf")), threads=1)


def test_a_file_is_tried_once_for_each_build_of_the_library(
    tmp_path: Path, library: LibLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []
    monkeypatch.setattr(llama_trial, "try_in_child", lambda path, adapter: tried.append(path))
    model = model_files(write_tiny_gguf(tmp_path / "tiny.gguf"))
    llama_trial.check_loads(library, model)
    llama_trial.check_loads(library, model)
    assert len(tried) == 1
    monkeypatch.setitem(library.__dict__, "sha256", "f" * 64)
    llama_trial.check_loads(library, model)
    assert len(tried) == 2
    for damage in ("{", "{}", "[1]"):
        (cache_folder() / llama_trial.TABLE).write_text(damage)
        llama_trial.check_loads(library, model)
    assert len(tried) == 5
