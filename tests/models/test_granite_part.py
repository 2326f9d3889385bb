"""A dense Granite 4 model computes the same as the Granite model that it is rewritten as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from tiny_hf import write_tiny_tokenizer

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")


def write_granite4(folder: Path, **more: Any) -> Path:
    folder.mkdir()
    words = len(write_tiny_tokenizer(folder))
    settings: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": 64,
        "intermediate_size": 16,
        "shared_intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 0,
        "layer_types": ["attention"] * 3,
        "position_embedding_type": "rope",
        "max_position_embeddings": 512,
        "rope_theta": 12345.0,
        "rms_norm_eps": 1e-5,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.2,
        "logits_scaling": 1.5,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "pad_token_id": None,
    }
    config = transformers.AutoConfig.for_model("granitemoehybrid", **(settings | more))
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def logits(folder: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([[5, 71, 104, 9, 33, 250, 12]])).logits


def test_dense_granite4_is_granite(tmp_path: Path) -> None:
    folder = write_granite4(tmp_path / "m")
    opened = open_model(resolve_model(str(folder)))
    assert opened.shapes.family == "granite"
    torch.testing.assert_close(logits(opened.folder), logits(folder), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "more",
    [
        {"layer_types": ["attention", "mamba", "attention"], "mamba_d_state": 16},
        {"num_local_experts": 2},
        {"position_embedding_type": None},
    ],
    ids=["recurrent", "experts", "no rotary positions"],
)
def test_others_are_refused_by_name(tmp_path: Path, more: dict[str, Any]) -> None:
    folder = write_granite4(tmp_path / "m", **more)
    with pytest.raises(UserError, match="Of Granite 4, the models with attention"):
        open_model(resolve_model(str(folder)))
