"""Convert the rotary settings of a Hugging Face config to metadata and tensors of a GGUF.

transformers: https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py;
llama.cpp computes the same from a frequency base, a scale, and a divisor for each frequency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["DEFAULT_THETA", "FREQUENCIES", "Rope", "llama3_divisors", "read_rope"]

FREQUENCIES = "rope_freqs.weight"
"""GGUF tensor with the divisors of the rotary frequencies."""

DEFAULT_THETA = 10000.0
GEMMA_THETA = 1e6
"""Default frequency base of Gemma's full-attention layers."""


@dataclass(frozen=True)
class Rope:
    """Rotary position settings.

    Attributes:
        kind: scaling: default, linear, yarn, llama3 or longrope; divisors for a longrope whose
            factors are equal for short and long texts.
        dims: rotated dimensions of a head.
        theta: frequency base.
        window_theta: frequency base of layers with a sliding window, or None if the same.
        factor: scaling factor of linear and yarn.
        original: context length before scaling (yarn, longrope).
        attention_factor: factor that longrope multiplies queries and keys by.
        tensors: by GGUF name, the divisor of each of the ``dims / 2`` frequencies.
    """

    kind: str
    dims: int
    theta: float
    window_theta: float | None = None
    factor: float = 1.0
    original: int = 0
    attention_factor: float = 1.0
    tensors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def describe(self, writer: GGUFWriter) -> None:
        """Write the metadata of these settings."""
        from gguf import RopeScalingType

        writer.add_rope_dimension_count(self.dims)
        writer.add_rope_freq_base(self.theta)
        if self.window_theta is not None:
            writer.add_rope_freq_base_swa(self.window_theta)
        if self.kind in ("linear", "yarn"):
            kinds = {"linear": RopeScalingType.LINEAR, "yarn": RopeScalingType.YARN}
            writer.add_rope_scaling_type(kinds[self.kind])
            writer.add_rope_scaling_factor(self.factor)
        if self.kind in ("yarn", "longrope"):
            writer.add_rope_scaling_orig_ctx_len(self.original)
        if self.kind == "longrope":
            writer.add_rope_scaling_attn_factors(self.attention_factor)


def read_rope(
    config: Mapping[str, Any],
    name: str,
    head_dim: int,
    allowed: tuple[str, ...],
    *,
    layered: bool = False,
    share: float = 0.0,
) -> Rope:
    """Read the rotary settings, in the form of transformers 5 or the older one.

    Args:
        config: the content of config.json.
        name: name of the model, for error messages.
        head_dim: dimension of a head.
        allowed: scalings that llama.cpp supports for this architecture.
        layered: layers with and without a sliding window have separate settings.
        share: default share of each head that is rotated; 0 if llama.cpp rotates whole heads only.

    Raises:
        UserError: the scaling is not supported, or has settings that a GGUF cannot express.
    """
    window_theta = None
    if layered:
        given, window = _layered(config)
        if window.get("rope_type", window.get("type", "default")) != "default":
            raise UserError(f"config.json of {name} scales the positions of sliding layers.")
        window_theta = _theta(window, name)
    else:
        given = _settings(config)
    kind = str(given.get("rope_type", given.get("type", "default")))
    kind = "longrope" if kind == "su" else kind  # its former name
    if kind == "longrope" and _is_carried(given):
        kind = "divisors"
    if kind not in allowed:
        raise UserError(
            f"config.json of {name} scales rotary positions by {kind!r}, which cannot be written "
            f"for this architecture. Known: {', '.join(allowed)}."
        )
    rotated = given.get("partial_rotary_factor") or share or 1.0
    if rotated != 1.0 and not share:
        raise UserError(
            f"config.json of {name} rotates only a part of each head ({rotated}), which is not "
            "supported."
        )
    dims = int(head_dim * rotated)
    rope = Rope(kind, dims, _theta(given, name), window_theta)
    try:
        return _scaled(rope, given, config, name)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(
            f"config.json of {name}: its {kind} rotary settings lack or misstate {error}."
        ) from error


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Normalise old, new and mixed rotary settings to one dict, as transformers 5 does.

    ``rope_scaling`` takes precedence over ``rope_parameters``, and keys in either over the same key
    at the top level of the config, except ``original_max_position_embeddings``, where the top
    level wins.
    https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py,
    ``convert_rope_params_to_dict`` and ``standardize_rope_params``.
    """
    given = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    if config.get("model_type") == "gpt_neox":  # does not read the usual keys at the top level
        given.setdefault("rope_theta", config.get("rotary_emb_base", DEFAULT_THETA))
        given.setdefault("partial_rotary_factor", config.get("rotary_pct"))
    given.setdefault("rope_theta", config.get("rope_theta", DEFAULT_THETA))
    if config.get("partial_rotary_factor") is not None:
        given.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    if "original_max_position_embeddings" in config:
        given["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    elif "max_position_embeddings" in config:
        given.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return given


def _layered(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of Gemma's full and sliding layers, read as its transformers config class does."""
    given = config.get("rope_parameters") or {}
    full = dict(given.get("full_attention") or {}) | (config.get("rope_scaling") or {})
    full.setdefault("rope_theta", config.get("rope_theta", GEMMA_THETA))
    window = dict(given.get("sliding_attention") or {})
    window.setdefault("rope_theta", config.get("rope_local_base_freq", DEFAULT_THETA))
    return full, window


def _theta(given: Mapping[str, Any], name: str) -> float:
    theta = given["rope_theta"]
    if isinstance(theta, bool) or not isinstance(theta, int | float) or not 0 < theta < math.inf:
        raise UserError(f"config.json of {name}: rope_theta is {theta!r}, not a positive number.")
    return float(theta)


def _scaled(rope: Rope, given: Mapping[str, Any], config: Mapping[str, Any], name: str) -> Rope:
    if rope.kind == "linear":
        return replace(rope, factor=float(given["factor"]))
    if rope.kind == "yarn":
        # llama.cpp computes with these; a file with others would predict differently
        usual = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "attention_factor": None}
        usual |= {"mscale": None, "mscale_all_dim": None}
        odd = [key for key, value in usual.items() if given.get(key, value) not in (None, value)]
        if odd:
            raise UserError(f"config.json of {name} sets {', '.join(odd)} of yarn, not known here.")
        original = int(given["original_max_position_embeddings"])
        return replace(rope, factor=float(given["factor"]), original=original)
    if rope.kind == "llama3":
        return replace(rope, tensors={FREQUENCIES: llama3_divisors(given, rope)})
    if rope.kind == "longrope":
        return _longrope(rope, given, config, name)
    if rope.kind == "divisors":
        return replace(rope, tensors={FREQUENCIES: _factors(given, rope, name)})
    return rope


def _is_carried(given: Mapping[str, Any]) -> bool:
    """Whether a longrope has equal factors for all texts, so that ``rope_freqs`` can hold them."""
    short, long = given.get("short_factor"), given.get("long_factor")
    return short is not None and short == long and given.get("attention_factor") == 1.0


def llama3_divisors(given: Mapping[str, Any], rope: Rope) -> NDArray[np.float32]:
    """Llama 3 divisor of each frequency: 1 for short wavelengths, ``factor`` for long ones.

    Wavelengths in between are interpolated. Shape (dims / 2,).

    Raises:
        KeyError: a setting is missing.
    """
    factor, original = float(given["factor"]), float(given["original_max_position_embeddings"])
    low, high = float(given["low_freq_factor"]), float(given["high_freq_factor"])
    # wavelengths in tokens; those longer than the original context were never seen whole
    waves = 2 * math.pi * rope.theta ** (np.arange(0, rope.dims, 2, dtype=np.float64) / rope.dims)
    share = np.clip((original / waves - low) / (high - low), 0, 1)  # 1: kept, 0: divided
    return (1 / ((1 - share) / factor + share)).astype(np.float32)


def _longrope(rope: Rope, given: Mapping[str, Any], config: Mapping[str, Any], name: str) -> Rope:
    positions = int(config["max_position_embeddings"])
    original = int(given["original_max_position_embeddings"])
    stretch = positions / original
    factor = given.get("attention_factor")
    if factor is None:
        factor = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    divisors = _factors(given, rope, name)
    # transformers uses the long factors for texts longer than `original`; llama.cpp uses them for
    # all texts once its cache is longer, which would change predictions for short texts. So both
    # tensors hold the short factors, and the context is limited to `original`.
    tensors = {f"rope_factors_{length}.weight": divisors for length in ("long", "short")}
    return replace(rope, original=original, attention_factor=float(factor), tensors=tensors)


def _factors(given: Mapping[str, Any], rope: Rope, name: str) -> NDArray[np.float32]:
    divisors = np.asarray(given["short_factor"], np.float32)
    if divisors.shape != (rope.dims // 2,):
        raise UserError(
            f"config.json of {name} has {divisors.size} rotary factors; "
            f"{rope.dims // 2} were expected."
        )
    return divisors
