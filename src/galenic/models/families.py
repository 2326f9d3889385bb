"""The decoder families that can be compressed, one entry of `FAMILIES` each.

This is the only place that knows where an architecture keeps its weights and what llama.cpp
supports of it. Adding a family with the same seven linear layers in a block takes one entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from galenic.errors import UserError

__all__ = [
    "EXPERTS",
    "FAMILIES",
    "FUSED",
    "SEPARATE",
    "Family",
    "Names",
    "Role",
    "check_family",
    "finish_logits",
    "model_type_of",
    "unfinished",
]

Role: TypeAlias = Literal["q", "k", "v", "qkv", "o", "gate", "up", "down"]
"""Linear layers of a block; ``qkv`` is one weight with the three parts of each head together."""

SEPARATE: Mapping[Role, str] = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
SANDWICH = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
ATTENTION: Mapping[Role, str] = {
    role: path for role, path in SEPARATE.items() if path.startswith("self_attn.")
}
FUSED: Mapping[Role, str] = {
    "q": "self_attn.qkv_proj",
    "k": "self_attn.qkv_proj",
    "v": "self_attn.qkv_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_up_proj",
    "up": "mlp.gate_up_proj",
    "down": "mlp.down_proj",
}
INTERLEAVED: Mapping[Role, str] = {
    "qkv": "attention.query_key_value",
    "o": "attention.dense",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}


@dataclass(frozen=True)
class Names:
    """Modules outside the blocks, by their names in transformers.

    Attributes:
        decoder: the part without the head.
        embedding: input embedding, within the decoder.
        norm: final norm, within the decoder.
        saved_head: output head in files; in memory it is ``lm_head``.
        unread: suffixes of tensors in older files that no version reads.
    """

    decoder: str = "model"
    embedding: str = "embed_tokens"
    norm: str = "norm"
    saved_head: str = "lm_head"
    unread: tuple[str, ...] = ("rotary_emb.inv_freq",)


@dataclass(frozen=True)
class Family:
    """Properties of a family in transformers and in llama.cpp.

    Attributes:
        title: display name.
        architecture: llama.cpp's name of the architecture.
        modules: path of each role's module within a block. Roles that share a module are
            consecutive rows of one weight, in the order of the roles.
        head_dim_stated: the config must state ``head_dim``; its default is not hidden size / heads.
        rotary_pairs: query and key rows are reordered in a GGUF, because llama.cpp rotates adjacent
            rows and transformers rotates rows half a head apart.
        layered_rope: layers with a sliding window have their own rotary settings.
        biases: projections that always have a bias.
        norms: norms of a block that are as wide as the residual stream.
        head_norms: queries and keys are normalised per head.
        joint_norms: queries and keys are normalised over all heads together.
        large_layers: number of layers of the largest model, 0 if not applicable. llama.cpp ignores
            the config's ``query_pre_attn_scalar``: it uses hidden size / heads for a model with
            this many layers, and the head size for all others.
        multipliers: the config scales embedding, residual stream, attention and logits.
        softcaps: attention scores and logits are soft-capped.
        nope_period: every n-th layer has no rotary positions; 0 for none.
        norm_shift: added to norm weights in a GGUF; the family stores them minus one.
        activations: those that llama.cpp computes for the family, the default first. For GPT-NeoX
            it has one approximation of GELU, read from a table in float16, for all four.
        tied: whether head and embedding are tied by default.
        windows: llama.cpp applies sliding windows.
        window_period: every n-th layer has full attention, fixed in llama.cpp; 0 if not fixed.
        scalings: rotary scalings that llama.cpp computes as transformers does.
        heads_fill: llama.cpp assumes head size = hidden size / heads.
        expert_part: module of a block that holds router and experts; empty for none. Linear layers
            of experts have no role: an expert is kept or removed as a whole.
        expert_maps: linear layers of an expert by role.
        expert_size: key of config.json with the width of an expert.
        names: modules outside the blocks.
        layer_norms: norms subtract the mean and have biases, as all linear layers of a block do.
        rotary_share: default share of each head that is rotated; 0 if it is always the whole.
    """

    title: str
    architecture: str
    modules: Mapping[Role, str] = field(default_factory=lambda: SEPARATE)
    head_dim_stated: bool = False
    rotary_pairs: bool = False
    layered_rope: bool = False
    biases: tuple[str, ...] = ()
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    head_norms: bool = False
    joint_norms: bool = False
    large_layers: int = 0
    multipliers: bool = False
    softcaps: bool = False
    nope_period: int = 0
    norm_shift: float = 0.0
    activations: tuple[str, ...] = ("silu",)
    tied: bool = False
    windows: bool = False
    window_period: int = 0
    scalings: tuple[str, ...] = ("default", "linear", "yarn")
    heads_fill: bool = False
    expert_part: str = ""
    expert_maps: Mapping[Role, str] = field(default_factory=dict)
    expert_size: str = ""
    names: Names = field(default_factory=Names)
    layer_norms: bool = False
    rotary_share: float = 0.0

    @property
    def fused(self) -> bool:
        """Whether query, key and value are one matrix."""
        return "qkv" in self.modules or self.modules["q"] == self.modules["k"]

    @property
    def embedding(self) -> str:
        """Name of the embedding's weight."""
        return f"{self.names.decoder}.{self.names.embedding}.weight"

    @property
    def final_norm(self) -> str:
        """Name of the final norm."""
        return f"{self.names.decoder}.{self.names.norm}"


FAMILIES: Mapping[str, Family] = {
    "llama": Family(
        "Llama",
        "llama",
        rotary_pairs=True,
        scalings=("default", "linear", "yarn", "llama3", "divisors"),
    ),
    "mistral": Family("Mistral", "llama", rotary_pairs=True),
    "qwen2": Family("Qwen2", "qwen2", biases=("q_proj", "k_proj", "v_proj"), heads_fill=True),
    "qwen3": Family("Qwen3", "qwen3", head_dim_stated=True, head_norms=True),
    "gemma3_text": Family(
        "Gemma 3 (text)",
        "gemma3",
        head_dim_stated=True,
        layered_rope=True,
        head_norms=True,
        norms=SANDWICH,
        large_layers=62,
        norm_shift=1.0,
        activations=("gelu_pytorch_tanh",),
        tied=True,
        windows=True,
        scalings=("default", "linear"),
    ),
    "phi3": Family(
        "Phi-3",
        "phi3",
        modules=FUSED,
        scalings=("default", "longrope"),
        heads_fill=True,
        rotary_share=1.0,
    ),
    "gemma2": Family(
        "Gemma 2",
        "gemma2",
        head_dim_stated=True,
        norms=SANDWICH,
        large_layers=46,
        softcaps=True,
        norm_shift=1.0,
        activations=("gelu_pytorch_tanh",),
        tied=True,
        windows=True,
        window_period=2,
        scalings=("default", "linear"),
    ),
    "smollm3": Family("SmolLM3", "smollm3", rotary_pairs=True, nope_period=4, tied=True),
    "olmo2": Family(
        "OLMo 2",
        "olmo2",
        norms=("post_attention_layernorm", "post_feedforward_layernorm"),
        joint_norms=True,
        heads_fill=True,
    ),
    "granite": Family(
        "Granite",
        "granite",
        rotary_pairs=True,
        multipliers=True,
    ),
    "mixtral": Family(
        "Mixtral",
        "llama",
        modules=ATTENTION,
        rotary_pairs=True,
        expert_part="block_sparse_moe",
        expert_maps={"gate": "w1", "up": "w3", "down": "w2"},
        expert_size="intermediate_size",
    ),
    "qwen3_moe": Family(
        "Qwen3-MoE",
        "qwen3moe",
        modules=ATTENTION,
        head_norms=True,
        expert_part="mlp",
        expert_maps={"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
        expert_size="moe_intermediate_size",
    ),
    "gpt_neox": Family(
        "GPT-NeoX",
        "gptneox",
        modules=INTERLEAVED,
        activations=("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
        heads_fill=True,
        names=Names(
            "gpt_neox",
            "embed_in",
            "final_layer_norm",
            "embed_out",
            ("rotary_emb.inv_freq", "attention.bias", "attention.masked_bias"),
        ),
        layer_norms=True,
        rotary_share=0.25,
    ),
}
"""Family by the ``model_type`` of transformers."""

EXPERTS = frozenset(name for name, family in FAMILIES.items() if family.expert_part)
"""Model types with mixture-of-experts blocks."""

_HYBRID = "Some of its blocks are recurrent, which is not supported."
_REFUSED: Mapping[str, str] = {
    "granitemoehybrid": "Of Granite 4, the models with attention and rotary positions in "
    "all blocks and without experts are supported.",
    "lfm2": _HYBRID,
    "qwen3_5": _HYBRID,
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
}
"""Reason for refusing architectures whose names resemble supported ones."""


def check_family(model_type: str, name: str = "the model") -> None:
    """Check that an architecture is supported.

    No similar name is suggested: it would be another architecture, not a corrected typo.

    Raises:
        UserError: it is not supported; the message lists those that are.
    """
    if model_type in FAMILIES:
        return
    why = f" {_REFUSED[model_type]}" if model_type in _REFUSED else ""
    *most, last = (family.title for family in FAMILIES.values())
    raise UserError(
        f"unknown architecture of {name}: {model_type!r}.{why} Supported are {', '.join(most)} and "
        f"{last}; as model_type in config.json: {', '.join(sorted(FAMILIES))}."
    )


def model_type_of(architecture: str, *, experts: bool = False) -> str:
    """Return the first ``model_type`` with this llama.cpp architecture.

    Args:
        architecture: llama.cpp's name; returned unchanged if it is unknown.
        experts: whether the model has experts; llama.cpp uses one name for both kinds of Llama.
    """
    for name, family in FAMILIES.items():
        if family.architecture == architecture and bool(family.expert_part) == experts:
            return name
    return architecture


def unfinished(config: Any) -> dict[str, Any]:
    """Return the configuration changes that make `finish_logits` the identity.

    Returns:
        Setting to neutral value, only for settings that differ from it.
    """
    plain = {"logits_scaling": 1.0, "final_logit_softcapping": None}
    return {key: value for key, value in plain.items() if getattr(config, key, value) != value}


def finish_logits(config: Any, logits: Any) -> Any:
    """Scale (Granite) or soft-cap (Gemma) the head's output as the configuration says.

    Args:
        config: transformers configuration.
        logits: output of the head, any shape.
    """
    logits = logits / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else (logits / cap).tanh() * cap
