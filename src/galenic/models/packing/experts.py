"""Experts: files hold them one by one, transformers computes with all of a block in one tensor.

``model.layers.0.block_sparse_moe.experts.3.w1.weight`` (Mixtral) is a part of
``model.layers.0.mlp.experts.gate_up_proj``, shape (experts, 2 x channels, hidden), whose rows are
those of the gate and then those of the other map;
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
"""The tensors of a block, and the maps of each expert whose rows they hold."""
_JOINED = re.compile(r"^(model\.layers\.\d+\.)mlp\.experts\.(gate_up_proj|down_proj)$")
_ROUTER = re.compile(r"^(model\.layers\.\d+\.)mlp\.gate\.weight$")


@dataclass(frozen=True)
class ExpertStack:
    """The same maps of all experts of a block, which a file holds apart.

    Attributes:
        name: of the one tensor in transformers.
        parts: of each expert, the stored tensors whose rows follow each other.
    """

    name: str
    parts: tuple[tuple[StoredTensor, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Experts, rows, columns."""
        rows = sum(part.shape[0] for part in self.parts[0])
        return (len(self.parts), rows, *self.parts[0][0].shape[1:])

    @property
    def dtype(self) -> str:
        """Of the first part, as the format calls it."""
        return self.parts[0][0].dtype

    def check(self) -> None:
        """As `StoredTensor.check`."""
        for expert in self.parts:
            for part in expert:
                part.check()


def stack_experts(
    model_type: str, model: Any, stored: Mapping[str, StoredTensor]
) -> dict[str, StoredTensor | ExpertStack]:
    """Stored tensors by the names that they have in the model.

    Args:
        model_type: of transformers.
        model: of transformers; weights are not needed.
        stored: by their names in the files. Experts of which a part is missing stay as they are.
    """
    found: dict[str, StoredTensor | ExpertStack] = dict(stored)
    if not FAMILIES[model_type].expert_part:
        return found
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
    """A tensor of a file: its name, its shape, and where in the model's tensor it lies."""

    name: str
    shape: tuple[int, ...]
    index: Index


def saved_parts(model_type: str, name: str, shape: tuple[int, ...]) -> list[Saved]:
    """How a tensor of a model is stored: as it is, or experts one by one.

    Args:
        model_type: of transformers.
        name: as the model has it.
        shape: of the tensor.
    """
    family = FAMILIES[model_type]
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
