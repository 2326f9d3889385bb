"""Metadata and expected tensors of a GGUF, derived from a Hugging Face config.

Supports the families of `galenic.models.families`. Settings that llama.cpp would compute
differently from transformers raise an error instead of being dropped: a file that loads but
predicts something else is worse than none.

Metadata keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.models.families import FAMILIES, Family, check_family
from galenic.models.gguf.rope import Rope, read_rope
from galenic.models.layers import Sizes

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["ModelShape", "add_shape", "expected_tensors", "multiplier_keys", "read_shape"]


@dataclass(frozen=True)
class ExpertSizes:
    """Experts of a block: their number, how many each token uses, and the width of one."""

    count: int
    used: int
    size: int


@dataclass(frozen=True)
class ModelShape:
    """Sizes and settings of a model; fields without a description are named as in transformers.

    Attributes:
        attention_bias: attention projections that have a bias.
        mlp_bias: whether the feed-forward projections have biases.
        context_length: positions for which llama.cpp agrees with transformers.
        cut: why ``context_length`` is below the config's value; empty if it is not.
        window: size of the sliding window in tokens, or None.
        window_period: every n-th layer has full attention (0 without a window).
        multipliers: scales and soft caps of embedding, residual stream, attention and logits, by
            GGUF key without the architecture prefix.
        experts: sizes of the experts, or None.
        parallel: attention and feed-forward part of a block read the same input (GPT-NeoX).
    """

    family: Family
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_epsilon: float
    context_length: int
    cut: str
    tied: bool
    attention_bias: tuple[str, ...]
    mlp_bias: bool
    window: int | None
    window_period: int
    rope: Rope
    multipliers: Mapping[str, float]
    experts: ExpertSizes | None
    parallel: bool


def read_shape(config: Mapping[str, Any], name: str) -> ModelShape:
    """Read and check a config.

    Args:
        config: the content of config.json.
        name: name of the model, for error messages.

    Raises:
        UserError: the architecture is unknown, a value is missing or impossible, or llama.cpp would
            compute a setting differently.
    """
    model_type = str(config.get("model_type"))
    check_family(model_type, name)
    family = FAMILIES[model_type]
    given = _Config(config, name)
    hidden, heads = given.size("hidden_size"), given.size("num_attention_heads")
    kv_heads = given.size("num_key_value_heads", heads)
    head_dim = given.size("head_dim", None if family.head_dim_stated else hidden // heads)
    if heads % kv_heads or head_dim % 2:
        raise UserError(f"{name}: {heads} heads of {head_dim}, {kv_heads} key heads: impossible.")
    num_layers = given.size("num_hidden_layers")
    rope = read_rope(
        config,
        name,
        head_dim,
        family.scalings,
        layered=family.layered_rope,
        share=family.rotary_share,
    )
    _refuse_differences(config, name, family, head_dim, hidden // heads, num_layers)
    window, period = _window(config, name, num_layers, family.window_period)
    positions = given.size("max_position_embeddings")
    context_length, cut = _context(positions, None if family.windows else window, rope)
    return ModelShape(
        family=family,
        vocab_size=given.size("vocab_size"),
        hidden_size=hidden,
        intermediate_size=given.size("intermediate_size"),
        num_layers=num_layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        norm_epsilon=given.number("layer_norm_eps" if family.layer_norms else "rms_norm_eps"),
        context_length=context_length,
        cut=cut,
        tied=bool(config.get("tie_word_embeddings", family.tied)),
        attention_bias=_attention_bias(config, name, family),
        mlp_bias=bool(config.get("mlp_bias")),
        window=window,
        window_period=period,
        rope=rope,
        multipliers=_multipliers(given, family),
        experts=_experts(given, family, num_layers) if family.expert_part else None,
        parallel=bool(config.get("use_parallel_residual", family.layer_norms)),
    )


def _experts(given: _Config, family: Family, num_layers: int) -> ExpertSizes:
    config = given.config
    odd = []
    # Mixtral has no such setting; for other families it is false in transformers by default
    if not config.get("norm_topk_prob", family.architecture == "llama"):
        odd.append("norm_topk_prob false")
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        odd.append(f"blocks without experts among its {num_layers}")
    if odd:
        raise UserError(
            f"config.json of {given.name} has {', '.join(odd)}, which llama.cpp does not compute "
            f"for {family.architecture}."
        )
    count = given.size("num_local_experts", config.get("num_experts"))
    return ExpertSizes(count, given.size("num_experts_per_tok"), given.size(family.expert_size))


class _Config:
    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self.config = config
        self.name = name

    def size(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(
                f"config.json of {self.name}: {key} is {value!r}, not a positive number."
            )
        return value

    def number(self, key: str) -> float:
        value = self.config.get(key)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(
                f"config.json of {self.name}: {key} is {value!r}, not a positive number."
            )
        return float(value)


def _refuse_differences(
    config: Mapping[str, Any],
    name: str,
    family: Family,
    head_dim: int,
    quotient: int,
    num_layers: int,
) -> None:
    """Raise UserError for settings that llama.cpp would silently compute differently."""
    odd = []
    activation = config.get("hidden_activation") or config.get("hidden_act")
    if (activation or family.activations[0]) not in family.activations:
        odd.append(f"activation {activation}")
    caps = () if family.softcaps else ("attn_logit_softcapping", "final_logit_softcapping")
    for key in (*caps, "use_bidirectional_attention", "clip_qkv"):
        if config.get(key):
            odd.append(f"{key} {config[key]}")
    if family.nope_period:
        period, given = family.nope_period, config.get("no_rope_layers")
        usual = [int((index + 1) % period != 0) for index in range(num_layers)]
        if given is not None and list(given) != usual:
            odd.append(f"layers without rotary positions other than every {period}th")
        if given is None and config.get("no_rope_layer_interval", period) != period:
            odd.append(f"no_rope_layer_interval {config['no_rope_layer_interval']}")
    if family.large_layers:
        # llama.cpp recognises the 27B model, which scales differently, by its layer count
        expected = quotient if num_layers == family.large_layers else head_dim
        if config.get("query_pre_attn_scalar", expected) != expected:
            odd.append(f"query_pre_attn_scalar {config['query_pre_attn_scalar']} (not {expected})")
    if family.heads_fill and head_dim != quotient:
        odd.append(f"head_dim {head_dim} (not {quotient})")
    if family.layer_norms:
        odd += [key for key in ("tie_word_embeddings",) if config.get(key)]
        odd += ["attention_bias false"] if config.get("attention_bias") is False else []
    if odd:
        raise UserError(
            f"config.json of {name} has {', '.join(odd)}, which llama.cpp does not compute for "
            f"{family.architecture}."
        )


_MULTIPLIERS = {
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "attention.scale": "attention_multiplier",
    "logit_scale": "logits_scaling",
}
_SOFTCAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}


def multiplier_keys(family: Family) -> Mapping[str, str]:
    """GGUF key (without the architecture prefix) to config.json key of a family's multipliers."""
    return (_MULTIPLIERS if family.multipliers else {}) | (_SOFTCAPS if family.softcaps else {})


def _multipliers(given: _Config, family: Family) -> dict[str, float]:
    return {key: given.number(setting) for key, setting in multiplier_keys(family).items()}


def _attention_bias(config: Mapping[str, Any], name: str, family: Family) -> tuple[str, ...]:
    if family.layer_norms or not config.get("attention_bias"):
        return family.biases
    if family.architecture != "llama":
        raise UserError(
            f"config.json of {name} has attention_bias, which llama.cpp does not know for "
            f"{family.architecture}."
        )
    return "q_proj", "k_proj", "v_proj", "o_proj"


def _window(
    config: Mapping[str, Any], name: str, num_layers: int, fixed: int
) -> tuple[int | None, int]:
    """Size of the sliding window, and the period of the layers with full attention."""
    window = config.get("sliding_window")
    layers = config.get("layer_types")
    if not window or config.get("use_sliding_window") is False:
        return None, 0
    if not isinstance(window, int) or window < 1:
        raise UserError(f"config.json of {name}: sliding_window is {window!r}.")
    if layers is None:
        # older configs without layer_types: by default every sixth layer has full attention (Gemma)
        pattern = config.get("sliding_window_pattern", config.get("_sliding_window_pattern"))
        return window, pattern if isinstance(pattern, int) else fixed or 6
    slides = [layer == "sliding_attention" for layer in layers]
    if len(slides) != num_layers:
        raise UserError(
            f"config.json of {name} has {len(slides)} layer_types for {num_layers} layers."
        )
    if not any(slides):
        return None, 0
    if fixed and slides != [index % fixed < fixed - 1 for index in range(num_layers)]:
        raise UserError(
            f"config.json of {name}: llama.cpp runs this family with full attention in one layer "
            f"of {fixed} and a sliding window in the others; layer_types says otherwise."
        )
    if fixed:
        return window, fixed
    period = slides.index(False) + 1 if False in slides else num_layers + 1
    if slides != [index % period < period - 1 for index in range(num_layers)]:
        raise UserError(
            f"config.json of {name}: its layers without sliding window do not stand at equal "
            "distances, which llama.cpp needs."
        )
    return window, period


def _context(positions: int, window: int | None, rope: Rope) -> tuple[int, str]:
    """Limit the context to where llama.cpp agrees with transformers; return it and the reason."""
    kept, reason = positions, ""
    limits = {"sliding window, which it ignores for this architecture": window}
    if rope.kind == "longrope":
        limits["short rotary factors, beside which it takes the long ones at wrong times"] = (
            rope.original
        )
    for why, limit in limits.items():
        if limit is not None and limit < kept:
            kept = limit
            reason = (
                f"the context is cut from {positions} to {kept} positions, because llama.cpp would "
                f"predict something else beyond ({why})"
            )
    return kept, reason


def expected_tensors(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a model, by the names under which transformers saves them."""
    hidden = shape.hidden_size
    family = shape.family
    expected: dict[str, tuple[int, ...]] = {
        family.embedding: (shape.vocab_size, hidden),
        **dict.fromkeys(_norm(family, family.final_norm), (hidden,)),
    }
    if not shape.tied:
        expected[f"{family.names.saved_head}.weight"] = (shape.vocab_size, hidden)
    for layer in range(shape.num_layers):
        prefix = f"{family.names.decoder}.layers.{layer}."
        expected |= {prefix + name: size for name, size in _layer_tensors(shape).items()}
    return expected


def _norm(family: Family, name: str) -> list[str]:
    return [f"{name}.weight", *([f"{name}.bias"] if family.layer_norms else [])]


def _layer_tensors(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    family, hidden = shape.family, shape.hidden_size
    query, key = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    rows: dict[str, tuple[int, ...]] = {
        name: (hidden,) for norm in family.norms for name in _norm(family, norm)
    }
    if shape.experts is not None:
        rows |= _expert_tensors(shape, shape.experts)
    sizes = Sizes(
        hidden, shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.intermediate_size
    )
    outputs: Counter[str] = Counter()
    for role, path in family.modules.items():
        size, inputs = sizes.shape(role)
        outputs[path] += size
        rows[f"{path}.weight"] = (outputs[path], inputs)
        part, _, name = path.rpartition(".")
        if family.layer_norms or name in shape.attention_bias or (part == "mlp" and shape.mlp_bias):
            rows[f"{path}.bias"] = (outputs[path],)
    if family.head_norms:
        rows["self_attn.q_norm.weight"] = rows["self_attn.k_norm.weight"] = (shape.head_dim,)
    if family.joint_norms:
        rows["self_attn.q_norm.weight"] = (query,)
        rows["self_attn.k_norm.weight"] = (key,)
    return rows


def _expert_tensors(shape: ModelShape, experts: ExpertSizes) -> dict[str, tuple[int, ...]]:
    family, hidden = shape.family, shape.hidden_size
    rows: dict[str, tuple[int, ...]] = {
        f"{family.expert_part}.gate.weight": (experts.count, hidden)
    }
    for number in range(experts.count):
        for role, name in family.expert_maps.items():
            size = (hidden, experts.size) if role == "down" else (experts.size, hidden)
            rows[f"{family.expert_part}.experts.{number}.{name}.weight"] = size
    return rows


def add_shape(writer: GGUFWriter, shape: ModelShape) -> None:
    """Write the architecture's metadata."""
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    if shape.family.layer_norms:
        writer.add_layer_norm_eps(shape.norm_epsilon)
        writer.add_parallel_residual(shape.parallel)
    else:
        writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocab_size)
    if shape.experts is not None:
        writer.add_expert_count(shape.experts.count)
        writer.add_expert_used_count(shape.experts.used)
        writer.add_expert_feed_forward_length(shape.experts.size)
    shape.rope.describe(writer)
    for name, value in shape.multipliers.items():
        writer.add_float32(f"{shape.family.architecture}.{name}", value)
    if shape.family.windows and shape.window is not None:
        writer.add_sliding_window(shape.window)
        if not shape.family.window_period:
            writer.add_sliding_window_pattern(shape.window_period)
