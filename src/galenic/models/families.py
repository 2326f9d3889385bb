"""The families of decoders that can be compressed: one row of `FAMILIES` is one of them.

Nothing else in the package knows where an architecture keeps its weights or what llama.cpp makes of
it. A family whose blocks are built of the same seven linear maps is one row more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from galenic.errors import UserError

__all__ = ["FAMILIES", "FUSED", "SEPARATE", "Family", "Role", "check_family", "model_type_of"]

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
        head_norms: query and key heads are normalised.
        sandwich: attention and feed-forward outputs are normalised too.
        norm_shift: added to norm weights, which this family stores less one.
        activation: the only one that llama.cpp computes for it.
        tied: whether the head is the embedding where the config does not say.
        windows: llama.cpp applies sliding windows.
        scalings: rotary scalings that llama.cpp computes as transformers does.
        heads_fill: llama.cpp takes the head size to be hidden size / heads.
    """

    title: str
    architecture: str
    modules: Mapping[Role, str] = field(default_factory=lambda: SEPARATE)
    head_dim_stated: bool = False
    rotary_pairs: bool = False
    layered_rope: bool = False
    biases: tuple[str, ...] = ()
    head_norms: bool = False
    sandwich: bool = False
    norm_shift: float = 0.0
    activation: str = "silu"
    tied: bool = False
    windows: bool = False
    scalings: tuple[str, ...] = ("default", "linear", "yarn")
    heads_fill: bool = False

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
        sandwich=True,
        norm_shift=1.0,
        activation="gelu_pytorch_tanh",
        tied=True,
        windows=True,
        scalings=("default", "linear"),
    ),
    "phi3": Family(
        "Phi-3", "phi3", modules=FUSED, scalings=("default", "longrope"), heads_fill=True
    ),
}
"""transformers' ``model_type`` to family."""

_REFUSED: Mapping[str, str] = {
    "smollm3": "Some of its blocks have no rotary positions, which is not supported.",
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


def model_type_of(architecture: str) -> str:
    """The first ``model_type`` that llama.cpp calls so; of an unknown architecture its own name."""
    found = (name for name, family in FAMILIES.items() if family.architecture == architecture)
    return next(found, architecture)
