"""Convert the rotary settings of a GGUF to those of a Hugging Face config.

A GGUF of Llama 3 holds a divisor for each frequency instead of the settings they came from. The
settings are recovered by trying the usual values; other divisors become the factors of a
``longrope`` that is the same for short and long texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.gguf.header import GgufHeader
from galenic.models.gguf.rope import DEFAULT_THETA, FREQUENCIES, Rope, llama3_divisors

__all__ = ["ROPE_TENSORS", "rope_settings", "short_float"]

LONG, SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
ROPE_TENSORS = (FREQUENCIES, LONG, SHORT)
"""GGUF tensors that hold rotary divisors and are not weights."""
ORIGINALS = (8192, *(1 << power for power in range(5, 21)))
"""Values of ``original_max_position_embeddings`` to try, Llama 3's first."""


def short_float(value: float) -> float:
    """Round to the shortest decimal with the same float32 value: 1e-05, not 9.99999974e-06."""
    return float(str(np.float32(value)))


@dataclass(frozen=True)
class _Given:
    path: Path
    metadata: Mapping[str, Any]
    architecture: str
    tensors: Mapping[str, NDArray[np.float32]]

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"{self.architecture}.rope.{key}", default)

    def number(self, key: str, default: float) -> float:
        return short_float(self.get(key, default))

    def refused(self, why: str) -> UserError:
        return UserError(
            f"{self.path} scales its rotary positions by {why}, which a config.json cannot "
            "express. Use the llama runtime for this file, or the model's Hugging Face folder."
        )


def rope_settings(
    header: GgufHeader, path: Path, head_dim: int, context_length: int, *, layered: bool
) -> dict[str, Any]:
    """Return ``rope_parameters`` for config.json.

    Args:
        header: header of the file.
        path: path of the file, from which the divisors are read.
        head_dim: dimension of a head.
        context_length: context length of the model in tokens.
        layered: layers with a sliding window have separate settings.

    Raises:
        UserError: the file uses a scaling, or a combination of scalings, that transformers lacks.
    """
    tensors = {
        info.name: np.fromfile(info.file or path, "<f4", math.prod(info.shape), offset=info.offset)
        for info in header.tensors
        if info.name in ROPE_TENSORS and info.type == "F32"
    }
    architecture = str(header.metadata["general.architecture"])
    given = _Given(path, header.metadata, architecture, tensors)
    dims = int(given.get("dimension_count", head_dim))
    settings: dict[str, Any] = {"rope_theta": given.number("freq_base", DEFAULT_THETA)}
    if dims != head_dim:
        settings["partial_rotary_factor"] = dims / head_dim
    settings |= _scaling(given, settings["rope_theta"], dims, context_length)
    if not layered:
        return settings
    window = {"rope_type": "default", "rope_theta": given.number("freq_base_swa", DEFAULT_THETA)}
    return {"full_attention": settings, "sliding_attention": window}


def _scaling(given: _Given, theta: float, dims: int, context_length: int) -> dict[str, Any]:
    factor = given.number("scaling.factor", given.get("scale_linear", 0.0)) or 1.0
    kind = given.get("scaling.type", "linear")
    original = int(given.get("scaling.original_context_length", context_length))
    divisors = given.tensors.get(FREQUENCIES)
    if LONG in given.tensors or SHORT in given.tensors:
        if factor != 1.0 or divisors is not None:
            raise given.refused("factors for short and long texts and something else at once")
        return _longrope(given, original)
    if kind == "yarn":
        if divisors is not None:
            raise given.refused("yarn and single divisors at once")
        return _yarn(given, factor, original)
    if kind not in ("none", "linear", "longrope"):
        raise given.refused(repr(kind))
    factor = factor if kind == "linear" else 1.0
    if divisors is None:
        if factor == 1.0:
            return {"rope_type": "default"}
        return {"rope_type": "linear", "factor": factor}
    return _divided(divisors * np.float32(factor), theta, dims, context_length)


def _longrope(given: _Given, original: int) -> dict[str, Any]:
    long, short = given.tensors.get(LONG), given.tensors.get(SHORT)
    if long is None or short is None:
        raise given.refused("factors for only one of short and long texts")
    return {
        "rope_type": "longrope",
        "short_factor": [short_float(value) for value in short],
        "long_factor": [short_float(value) for value in long],
        "attention_factor": given.number("scaling.attn_factor", 1.0),
        "original_max_position_embeddings": original,
    }


def _yarn(given: _Given, factor: float, original: int) -> dict[str, Any]:
    usual = {"yarn_ext_factor": 1.0, "yarn_attn_factor": 1.0, "yarn_log_multiplier": 0.0}
    for key, value in usual.items():
        if given.number(f"scaling.{key}", value) != value:
            raise given.refused(f"yarn with {key}")
    found = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    for key, value in (("beta_fast", 32.0), ("beta_slow", 1.0)):
        if (said := given.number(f"scaling.yarn_{key}", value)) != value:
            found[key] = said
    if (extra := given.number("scaling.attn_factor", 1.0)) != 1.0:
        found["attention_factor"] = extra * (1 + 0.1 * math.log(factor))
    return found


def _divided(
    divisors: NDArray[np.float32], theta: float, dims: int, context_length: int
) -> dict[str, Any]:
    """Return the Llama 3 settings that give these divisors, or a longrope with the divisors."""
    if (divisors == 1).all():
        return {"rope_type": "default"}
    rope = Rope("llama3", dims, theta)
    for original in ORIGINALS:
        found = {
            "factor": short_float(divisors.max()),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": original,
        }
        tried = llama3_divisors(found, rope)
        if tried.shape == divisors.shape and np.allclose(tried, divisors, rtol=1e-5, atol=0):
            return {"rope_type": "llama3", **found}
    factors = [short_float(value) for value in divisors]
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.0,
        "original_max_position_embeddings": context_length,
    }
