"""GPT-NeoX and Pythia as they are published: old names, old settings, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from galenic.errors import UserError  # noqa: E402
from galenic.models.checkpoint import open_checkpoint  # noqa: E402
from galenic.models.files import ModelFiles  # noqa: E402
from galenic.models.gguf.folder import folder_source, folder_to_gguf  # noqa: E402
from galenic.models.gguf.rope import read_rope  # noqa: E402
from galenic.models.layers import read_layout  # noqa: E402
from galenic.runtimes import llama_context  # noqa: E402
from galenic.runtimes.llama import LlamaRuntime  # noqa: E402
from tiny_hf import write_tiny_hf  # noqa: E402

TOKENS = [int(x) for x in np.random.default_rng(0).integers(3, 250, 40)]


def changed(folder: Path, changes: dict[str, Any], *gone: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in gone} | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_hf(tmp_path / "neox", "gpt_neox", hidden_size=64)


def test_pythia_of_2023(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its config has rotary_pct and rotary_emb_base, its files hold masks that no version reads."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for layer in range(3):
        prefix = f"gpt_neox.layers.{layer}.attention."
        tensors[f"{prefix}bias"] = torch.ones(1, 1, 8, 8)
        tensors[f"{prefix}masked_bias"] = torch.tensor(-1e9)
        tensors[f"{prefix}rotary_emb.inv_freq"] = torch.ones(2)
    save_file(tensors, path, {"format": "pt"})
    old = {"rotary_pct": 0.5, "rotary_emb_base": 500, "use_parallel_residual": False}
    changed(folder, old, "rope_parameters")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([TOKENS])).logits[0], -1).numpy()
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)
    folder_to_gguf(folder, tmp_path / "m.gguf", "F32")
    with LlamaRuntime(ModelFiles("m", "gguf", tmp_path / "m.gguf", "0" * 64), threads=1) as llama:
        np.testing.assert_allclose(llama.log_probs(TOKENS), wanted, rtol=0, atol=0.03)
    open_checkpoint(ModelFiles("m", "folder", folder, ""))  # takes the same files


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rotary_pct": 1.0},
        {"rotary_emb_base": 77},
        {"rope_theta": 77.0, "partial_rotary_factor": 0.5},
        {"rotary_pct": 0.5, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
        {"rotary_emb_base": 5, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rotary_pct": 0.5, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    ],
)
def test_rotary_settings_are_read_as_transformers_does(settings: dict[str, Any]) -> None:
    size = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 128}
    config = {"model_type": "gpt_neox", **size, **settings}
    read = transformers.GPTNeoXConfig(**size, **json.loads(json.dumps(settings))).rope_parameters
    rope = read_rope(config, "m", 16, ("default", "linear", "yarn"), share=0.25)
    assert rope.theta == read["rope_theta"]
    assert rope.dims == int(16 * read["partial_rotary_factor"])
    assert rope.kind == read["rope_type"]


def test_the_parts_of_a_head_stay_together(folder: Path) -> None:
    """Queries, keys and values are taken apart per head as the model itself does."""
    tensors = {tensor.name: tensor for tensor in folder_source(folder).tensors}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    whole = model.gpt_neox.layers[1].attention.query_key_value.weight.detach()
    parts = [head.chunk(3) for head in whole.split(3 * 16)]  # four heads of 16
    wanted = torch.cat([torch.cat([head[place] for head in parts]) for place in range(3)])
    np.testing.assert_array_equal(tensors["blk.1.attn_qkv.weight"].read(0, 192), wanted.numpy())
    assert list(read_layout(model).blocks[0].linears) == ["qkv", "o", "up", "down"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"attention_bias": False}, "attention_bias false"),
        ({"hidden_act": "relu"}, "activation relu"),
    ],
)
def test_what_llama_cpp_cannot_compute_is_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        folder_source(changed(folder, changes))
