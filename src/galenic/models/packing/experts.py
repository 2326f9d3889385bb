"""Experts: files store them one by one, transformers keeps all experts of a block in one tensor.

``model.layers.0.block_sparse_moe.experts.3.w1.weight`` (Mixtral) is a part of
``model.layers.0.mlp.experts.gate_up_proj``, shape (experts, 2 x channels, hidden), whose rows are
the gate layer followed by the up layer;
https://github.com/huggingface/transformers/blob/main/src/transformers/conversion_mapping.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from galenic.models.families import FAMILIES, Family, Role
from galenic.models.tensors import StoredTensor

__all__ = ["ExpertStack", "Saved", "saved_parts", "stack_experts"]

JOINED: Mapping[str, tuple[Role, ...]] = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}
"""Stacked tensors of a block, and the linear layers of an expert whose rows each contains."""
_JOINED = re.compile(r"^(model\.layers\.\d+\.)mlp\.experts\.(gate_up_proj|down_proj)$")
_ROUTER = re.compile(r"^(model\.layers\.\d+\.)mlp\.gate\.weight$")


@dataclass(frozen=True)
class ExpertStack:
    """A stacked tensor of all experts of a block, stored as separate tensors.

    Attributes:
        name: name of the stacked tensor in transformers.
        parts: for each expert, the stored tensors whose rows are concatenated.
    """

    name: str
    parts: tuple[tuple[StoredTensor, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stacked tensor: (experts, rows, columns)."""
        rows = sum(part.shape[0] for part in self.parts[0])
        return (len(self.parts), rows, *self.parts[0][0].shape[1:])

    @property
    def dtype(self) -> str:
        """Safetensors type name of the first part."""
        return self.parts[0][0].dtype

    def check(self) -> None:
        """Check all parts; raises as `StoredTensor.check`."""
        for expert in self.parts:
            for part in expert:
                part.check()


def stack_experts(
    model_type: str, model: Any, stored: Mapping[str, StoredTensor]
) -> dict[str, StoredTensor | ExpertStack]:
    """Rename stored tensors to their names in the model, stacking experts.

    Args:
        model_type: ``model_type`` of transformers.
        model: transformers model; may have no weights.
        stored: tensors by their names in the files. Stacks with missing parts are left as they are.
    """
    found: dict[str, StoredTensor | ExpertStack] = dict(stored)
    for name, tensor in model.state_dict().items():
        parts = saved_parts(model_type, name, tuple(tensor.shape))
        names = [part.name for part in parts]
        if names == [name] or not all(one in stored for one in names):
            continue
        taken = [stored[one] for one in names]
        for one in names:
            del found[one]
        if len(taken) == 1:
            found[name] = replace(taken[0], name=name)
            continue
        each = len(taken) // tensor.shape[0]
        experts = (tuple(taken[at : at + each]) for at in range(0, len(taken), each))
        found[name] = ExpertStack(name, tuple(experts))
    return found


Index: TypeAlias = "tuple[Any, ...]"


@dataclass(frozen=True)
class Saved:
    """A tensor in a file: its name, its shape, and its index within the model's tensor."""

    name: str
    shape: tuple[int, ...]
    index: Index


def saved_parts(model_type: str, name: str, shape: tuple[int, ...]) -> list[Saved]:
    """Return the file tensors that store a model tensor: one, or one for each expert's layer.

    Args:
        model_type: ``model_type`` of transformers.
        name: name of the tensor in the model.
        shape: shape of the tensor in the model.
    """
    family = FAMILIES[model_type]
    if name == "lm_head.weight":
        return [Saved(f"{family.names.saved_head}.weight", shape, (...,))]
    if family.expert_part and (match := _ROUTER.match(name)):
        return [Saved(f"{match[1]}{family.expert_part}.gate.weight", shape, (...,))]
    if family.expert_part and (match := _JOINED.match(name)):
        return _experts(family, match[1], JOINED[match[2]], shape)
    return [Saved(name, shape, (...,))]


def _experts(
    family: Family, prefix: str, roles: tuple[Role, ...], shape: tuple[int, ...]
) -> list[Saved]:
    count, rows, columns = shape
    each = rows // len(roles)
    return [
        Saved(
            f"{prefix}{family.expert_part}.experts.{number}.{family.expert_maps[role]}.weight",
            (each, columns),
            (number, slice(place * each, (place + 1) * each)),
        )
        for number in range(count)
        for place, role in enumerate(roles)
    ]
