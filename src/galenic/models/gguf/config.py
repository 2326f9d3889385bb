"""Build a transformers configuration from the header of a GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.families import FAMILIES, Family, check_family, model_type_of
from galenic.models.gguf.family import multiplier_keys
from galenic.models.gguf.header import GgufHeader, read_metadata
from galenic.models.gguf.names import EMBEDDING, HEAD
from galenic.models.gguf.rope_config import rope_settings, short_float

__all__ = ["header_config", "header_type"]

_SETTINGS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "use_parallel_residual": "use_parallel_residual",
    "sliding_window": "attention.sliding_window",
}
"""transformers configuration key to GGUF metadata key (without the architecture prefix)."""
_TOKENS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
PERIOD = "attention.sliding_window_pattern"
USED = "expert_used_count"


def header_type(header: GgufHeader) -> str:
    """Return the ``model_type`` of a GGUF; for an unknown architecture, the architecture's name."""
    architecture = str(header.metadata["general.architecture"])
    return model_type_of(
        architecture, experts=bool(header.metadata.get(f"{architecture}.expert_count"))
    )


def header_config(header: GgufHeader, path: Path) -> Any:
    """Build the transformers configuration of a GGUF.

    Args:
        header: header of the file.
        path: path of the file.

    Raises:
        UserError: the architecture is unknown, or transformers cannot express its settings.
    """
    import transformers

    architecture = header.metadata["general.architecture"]
    model_type = header_type(header)
    check_family(model_type, str(path))
    family = FAMILIES[model_type]
    facts = _sizes(header, architecture, family, path)
    facts |= _biases(header, family)
    facts |= _windows(header, path, family, facts)
    facts |= _experts(header, family)
    facts["rope_parameters"] = rope_settings(
        header,
        path,
        facts.get("head_dim") or facts["hidden_size"] // facts["num_attention_heads"],
        facts["max_position_embeddings"],
        layered=family.layered_rope,
    )
    if facts["rope_parameters"].get("rope_type") == "longrope" and "longrope" in family.scalings:
        # takes precedence over the same key in the rotary settings
        original = facts["rope_parameters"]["original_max_position_embeddings"]
        facts["original_max_position_embeddings"] = original
    facts |= _tokens(header.metadata)
    with refusals(lambda why: UserError(f"the header of {path} describes no model: {why}")):
        return transformers.AutoConfig.for_model(model_type, **facts)


def _sizes(header: GgufHeader, architecture: str, family: Family, path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {
        setting: header.metadata[f"{architecture}.{key}"]
        for setting, key in _SETTINGS.items()
        if f"{architecture}.{key}" in header.metadata
    }
    shapes = {tensor.name: tuple(reversed(tensor.shape)) for tensor in header.tensors}
    needed = ("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")
    lacking = [_SETTINGS[key] for key in needed if not isinstance(facts.get(key), int)]
    if lacking or EMBEDDING not in shapes or not facts["num_attention_heads"]:
        raise UserError(
            f"the header of {path} describes no model: it lacks {', '.join(lacking) or EMBEDDING}."
        )
    quotient = facts["hidden_size"] // facts["num_attention_heads"]
    head_dim = facts.setdefault("head_dim", quotient)
    if header.metadata.get(f"{architecture}.attention.value_length", head_dim) != head_dim:
        raise UserError(f"{path} has keys and values of different sizes, not supported.")
    if family.heads_fill and head_dim == quotient:
        del facts["head_dim"]
    for key in facts.keys() & {"rms_norm_eps", "layer_norm_eps"}:
        facts[key] = short_float(facts[key])
    if family.layer_norms:
        facts.pop("num_key_value_heads", None)
    if family.large_layers:  # llama.cpp recognises the 27B model by its layer count
        scalar = quotient if facts["num_hidden_layers"] == family.large_layers else head_dim
        facts["query_pre_attn_scalar"] = scalar
    for key, setting in multiplier_keys(family).items():
        if (value := header.metadata.get(f"{architecture}.{key}")) is not None:
            facts[setting] = short_float(value)
    facts["vocab_size"] = shapes[EMBEDDING][0]
    facts["tie_word_embeddings"] = HEAD not in shapes
    return facts


def _biases(header: GgufHeader, family: Family) -> dict[str, Any]:
    """Bias settings, for families whose configuration has them."""
    names = {tensor.name for tensor in header.tensors}
    found = {}
    if not family.biases and "blk.0.attn_q.bias" in names:
        found["attention_bias"] = True
    if "blk.0.ffn_gate.bias" in names:
        found["mlp_bias"] = True
    return found


def _windows(
    header: GgufHeader, path: Path, family: Family, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """``layer_types``: which layers have a sliding window; empty if the family has none."""
    if not family.windows:
        return {}
    key = f"{family.architecture}.{PERIOD}"
    layers = range(facts["num_hidden_layers"])
    if key in header.array_lengths:
        slides = [bool(one) for one in read_metadata(path, arrays=(key,))[key]]
    else:
        period = header.metadata.get(key)
        if not isinstance(period, int) or period < 1:
            return {}
        slides = [number % period < period - 1 for number in layers]
    kinds = ("full_attention", "sliding_attention")
    return {"layer_types": [kinds[one] for one in slides]}


def _experts(header: GgufHeader, family: Family) -> dict[str, Any]:
    """Number of experts, experts used for each token, and width of an expert."""
    if not family.expert_part:
        return {}

    def get(key: str) -> Any:
        return header.metadata.get(f"{family.architecture}.{key}")

    facts = {"num_local_experts": get("expert_count"), "num_experts_per_tok": get(USED)}
    if family.expert_size != "intermediate_size":
        facts |= {family.expert_size: get("expert_feed_forward_length"), "norm_topk_prob": True}
    return facts


def _tokens(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        setting: metadata.get(f"tokenizer.ggml.{name}_token_id")
        for setting, name in _TOKENS.items()
    }
