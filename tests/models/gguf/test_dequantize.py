"""A GGUF as a Hugging Face folder: the same weights, by formulas written out here."""

from __future__ import annotations

import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

import tiny
from galenic.cli.failure import IO, status_of
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.tokenizer import gguf_tokenizer
from galenic.models.load import resolve_model

pytest.importorskip("transformers")
from galenic.models.gguf import dequantize
from galenic.models.gguf.dequantize import dequantized_folder
from galenic.recipes.shapes import open_outline

NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def hf_name(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.{kind}"


def halves(rows: NDArray[np.float32], head_size: int) -> NDArray[np.float32]:
    """Rotary pairs as neighbours (GGUF, llama) -> first half and second half of a head (HF)."""
    out = np.empty_like(rows)
    for head in range(0, len(rows), head_size):
        for pair in range(head_size // 2):
            out[head + pair] = rows[head + 2 * pair]
            out[head + head_size // 2 + pair] = rows[head + 2 * pair + 1]
    return out


def read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_are_those_of_the_file(architecture: str, tied: bool, tmp_path: Path) -> None:
    shape = tiny.TinyShape(tied=tied)
    path = tmp_path / "tiny.gguf"
    files = resolve_model(str(tiny.write_tiny_gguf(path, architecture=architecture, shape=shape)))
    folder = dequantized_folder(files)
    weights = read_weights(folder)
    expected = tiny.tiny_tensors(0, shape, architecture)
    assert {hf_name(name) for name in expected} == set(weights)
    for name, tensor in expected.items():
        rotary = architecture == "llama" and ("attn_q" in name or "attn_k" in name)
        wanted = halves(tensor, shape.head_size) if rotary else tensor
        np.testing.assert_array_equal(weights[hf_name(name)], wanted, err_msg=name)


def test_the_folder_is_a_model_like_any_other(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    path = tiny.write_tiny_gguf(tmp_path / "tiny.gguf")
    folder = dequantized_folder(resolve_model(str(path)))
    assert resolve_model(str(folder)).kind == "folder"
    config, shape = AutoConfig.from_pretrained(folder), tiny.TinyShape()
    assert (config.num_hidden_layers, config.hidden_size) == (shape.num_layers, shape.hidden_size)
    assert config.max_position_embeddings == shape.context_length
    assert config.rope_parameters["rope_theta"] == shape.rope_base
    assert config.rms_norm_eps == pytest.approx(shape.norm_epsilon)
    text = "The 12 <|im_start|>é"
    saved = AutoTokenizer.from_pretrained(folder)
    assert saved(text)["input_ids"] == gguf_tokenizer(path)(text)["input_ids"]
    assert saved.chat_template == tiny.CHAT_TEMPLATE


def test_it_is_done_once_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "tiny.gguf")))
    folder = dequantized_folder(files)
    monkeypatch.setattr(dequantize, "_convert", lambda *_: pytest.fail("converted again"))
    shutil.move(files.path, tmp_path / "moved.gguf")
    again = ModelFiles("other name", "gguf", tmp_path / "tiny.gguf", files.sha256)
    assert dequantized_folder(again) == folder


def test_a_conversion_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "tiny.gguf")))

    def broken(path: Path, header: object, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dequantize, "_convert", broken)
        with pytest.raises(KeyboardInterrupt):
            dequantized_folder(files)
    room = Path(os.environ["GALENIC_CACHE"]) / "dequantized"
    assert [file.name for file in room.iterdir() if file.suffix != ".lock"] == []
    assert dequantized_folder(files).is_dir()


def test_rescaled_rotary_positions_of_other_families_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tiny.tiny_tensors
    factors = {"rope_freqs.weight": np.ones(4, np.float32)}
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "tiny_tensors", lambda *args: tensors(*args) | factors)
        path = tiny.write_tiny_gguf(tmp_path / "stablelm.gguf", architecture="stablelm")
    with pytest.raises(UserError, match=r"rescales its rotary positions.*llama runtime"):
        dequantized_folder(resolve_model(str(path)))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"blk.0.attn_norm.bias": np.ones(32, np.float32)}, "1 tensors that a Llama .*attn_norm"),
        ({"blk.0.attn_q.bias": np.ones(32, np.float32)}, "blk.0.attn_k.bias is missing"),
        ({"blk.1.ffn_up.weight": np.ones((65, 32), np.float32)}, r"has the shape \(65, 32\)"),
    ],
)
def test_weights_that_would_be_left_out_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], message: str
) -> None:
    tensors = tiny.tiny_tensors
    monkeypatch.setattr(tiny, "tiny_tensors", lambda *args: tensors(*args) | extra)
    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "odd.gguf")))
    for refuse in (dequantized_folder, open_outline):  # plan proposes nothing either
        with pytest.raises(UserError, match=message):
            refuse(files)


def test_an_architecture_that_transformers_lacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "x.gguf", architecture="unheard")))
    with pytest.raises(UserError, match=r"unheard.*llama runtime"), caplog.at_level(logging.ERROR):
        dequantized_folder(files)


def test_a_header_that_describes_no_model(tmp_path: Path) -> None:
    """3 heads do not divide a hidden size of 32; the check of transformers is no ValueError."""
    path = tiny.write_tiny_gguf(tmp_path / "lies.gguf")
    reader = gguf.GGUFReader(path, "r+")
    for key in ("llama.attention.head_count", "llama.attention.head_count_kv"):
        field = reader.fields[key]
        field.parts[field.data[0]][0] = 3
    reader.data.flush()
    files = resolve_model(str(path))
    for refuse in (dequantized_folder, open_outline):
        with pytest.raises(UserError, match=r"header of .*lies\.gguf describes no model: .*\(3\)"):
            refuse(files)


def test_too_little_room_is_said_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "tiny.gguf")))
    usage: Any = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="GB of disk") as refused:
        dequantized_folder(files)
    assert status_of(refused.value) == IO


def test_without_the_extra_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    files = resolve_model(str(tiny.write_tiny_gguf(tmp_path / "tiny.gguf")))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"galenic\[train\]"):
        dequantized_folder(files)


@pytest.mark.slow
def test_the_real_model(converted_smollm2: ModelFiles) -> None:
    weights = read_weights(dequantized_folder(converted_smollm2))
    reader = gguf.GGUFReader(converted_smollm2.path)
    assert len(reader.tensors) == len(weights)
    kinds = set()
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.") and not tensor.name.startswith(("blk.0.", "blk.29.")):
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if "attn_q" in tensor.name or "attn_k" in tensor.name:
            values = halves(values, 64)
        np.testing.assert_array_equal(weights[hf_name(tensor.name)], values, err_msg=tensor.name)
        kinds.add(tensor.tensor_type.name)
    assert kinds == {"Q4_1", "Q8_0", "F32"}
