"""The families of decoders that can be compressed: one row of `FAMILIES` is one of them.

Nothing else in the package knows where an architecture keeps its weights or what llama.cpp makes of
it. A family whose blocks are built of the same seven linear maps is one row more.
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
    "Role",
    "check_family",
    "finish_logits",
    "model_type_of",
    "unfinished",
]

Role: TypeAlias = Literal["q", "k", "v", "o", "gate", "up", "down"]

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


@dataclass(frozen=True)
class Family:
    """What is particular to a family, in transformers and in llama.cpp.

    Attributes:
        title: for people.
        architecture: llama.cpp's name.
        modules: the module of each role within a block. Roles that share a module are rows of one
            weight, in the order of the roles.
        head_dim_stated: its config must state the head size, whose default is no quotient.
        rotary_pairs: query and key rows are reordered, because llama.cpp turns neighbouring rows
            against each other and transformers rows half a head apart.
        layered_rope: sliding layers have rotary settings of their own.
        biases: projections that always have a bias.
        norms: of a block, as wide as the residual stream.
        head_norms: query and key heads are normalised, each by itself.
        joint_norms: queries and keys are normalised over all heads together.
        large_layers: queries are scaled by what the config says (``query_pre_attn_scalar``), which
            llama.cpp takes to be the head size, and hidden size / heads of a model of so many
            layers; 0 where the config does not say.
        multipliers: embedding, residual stream, attention and logits are scaled by the config.
        softcaps: attention scores and logits are capped.
        nope_period: every so many layers one has no rotary positions; 0 for none.
        norm_shift: added to norm weights, which this family stores less one.
        activation: the only one that llama.cpp computes for it.
        tied: whether the head is the embedding where the config does not say.
        windows: llama.cpp applies sliding windows.
        window_period: every so many layers one has none, where llama.cpp knows no other distance.
        scalings: rotary scalings that llama.cpp computes as transformers does.
        heads_fill: llama.cpp takes the head size to be hidden size / heads.
        expert_part: what a block's router and experts are stored under; empty for none. Their
            linear maps have no role: they are kept whole, or go whole.
        expert_maps: the linear maps of an expert by role.
        expert_size: the key of config.json with their width.
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
    activation: str = "silu"
    tied: bool = False
    windows: bool = False
    window_period: int = 0
    scalings: tuple[str, ...] = ("default", "linear", "yarn")
    heads_fill: bool = False
    expert_part: str = ""
    expert_maps: Mapping[Role, str] = field(default_factory=dict)
    expert_size: str = ""

    @property
    def fused(self) -> bool:
        """Query, key and value are one matrix, gate and up another."""
        return self.modules["q"] == self.modules["k"]


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
        activation="gelu_pytorch_tanh",
        tied=True,
        windows=True,
        scalings=("default", "linear"),
    ),
    "phi3": Family(
        "Phi-3", "phi3", modules=FUSED, scalings=("default", "longrope"), heads_fill=True
    ),
    "gemma2": Family(
        "Gemma 2",
        "gemma2",
        head_dim_stated=True,
        norms=SANDWICH,
        large_layers=46,
        softcaps=True,
        norm_shift=1.0,
        activation="gelu_pytorch_tanh",
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
}
"""transformers' ``model_type`` to family."""

EXPERTS = frozenset(name for name, family in FAMILIES.items() if family.expert_part)
"""Those whose feed-forward parts are experts."""

_HYBRID = "Some of its blocks are recurrent, which is not supported."
_REFUSED: Mapping[str, str] = {
    "granitemoehybrid": _HYBRID,
    "lfm2": _HYBRID,
    "qwen3_5": _HYBRID,
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
    "gpt_neox": "Its feed-forward part has no gate, and queries, keys and values are one weight in "
    "an order of its own, which is not supported.",
}
"""Why an architecture is refused whose name is near that of one that is not."""


def check_family(model_type: str, name: str = "the model") -> None:
    """Check that an architecture is known here.

    A near name is another architecture, not a slip of the pen: none is suggested.

    Raises:
        UserError: it is not; names those that are.
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
    """The first ``model_type`` that llama.cpp calls so; of an unknown architecture its own name.

    Args:
        architecture: as llama.cpp calls it.
        experts: whether its feed-forward parts are experts: the same name serves for both.
    """
    for name, family in FAMILIES.items():
        if family.architecture == architecture and bool(family.expert_part) == experts:
            return name
    return architecture


def unfinished(config: Any) -> dict[str, Any]:
    """What a configuration must say so that `finish_logits` leaves the head's output as it is.

    Returns:
        Only what it says otherwise.
    """
    plain = {"logits_scaling": 1.0, "final_logit_softcapping": None}
    return {key: value for key, value in plain.items() if getattr(config, key, value) != value}


def finish_logits(config: Any, logits: Any) -> Any:
    """What a model's configuration does to the head's output: scale it (Granite), cap it (Gemma).

    Args:
        config: of transformers.
        logits: the head's output, any shape.
    """
    logits = logits / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else (logits / cap).tanh() * cap
