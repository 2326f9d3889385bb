"""What the header of a GGUF says of a model, as a configuration of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.families import FAMILIES, check_family, model_type_of
from galenic.models.gguf.header import GgufHeader
from galenic.models.gguf.names import EMBEDDING

__all__ = ["header_config"]

_SETTINGS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "sliding_window": "attention.sliding_window",
}
"""A configuration's key to that of a GGUF, without the architecture before it."""


def header_config(header: GgufHeader, name: str) -> Any:
    """The sizes in a GGUF's header; transformers reads them too, but takes a quarter minute.

    Raises:
        UserError: the architecture is unknown, or its sizes describe no model.
    """
    import transformers

    architecture = header.metadata["general.architecture"]
    model_type = model_type_of(architecture)
    check_family(model_type)
    facts: dict[str, Any] = {
        setting: header.metadata[f"{architecture}.{key}"]
        for setting, key in _SETTINGS.items()
        if f"{architecture}.{key}" in header.metadata
    }
    shapes = {tensor.name: tuple(reversed(tensor.shape)) for tensor in header.tensors}
    sizes = facts | _windows(header.metadata, architecture, facts)
    with refusals(lambda why: UserError(f"the header of {name} describes no model: {why}")):
        return transformers.AutoConfig.for_model(
            model_type,
            **sizes,
            vocab_size=shapes[EMBEDDING][0],
            tie_word_embeddings="output.weight" not in shapes,
            pad_token_id=None,
        )


def _windows(
    metadata: Mapping[str, Any], architecture: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Which layers have a sliding window, where only some do."""
    period = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if not FAMILIES[model_type_of(architecture)].windows or not isinstance(period, int):
        return {}
    kinds = ("full_attention", "sliding_attention")
    layers = range(facts["num_hidden_layers"])
    return {"layer_types": [kinds[number % period < period - 1] for number in layers]}
