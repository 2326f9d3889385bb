"""Weights sharded over the processes: each holds a part of every tensor (FSDP).

A block's full weights are gathered while it is computed and freed afterwards; gradients and
optimizer state exist only as shards. Uses PyTorch's ``fully_shard``; Zhao et al. (2023),
https://arxiv.org/abs/2304.11277. Saved files hold full tensors, so they do not depend on the
number of processes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["alike", "optimizer_alike", "refill", "shard", "unsharded"]

BLOCK_CLASSES = "_no_split_modules"
"""Where transformers names the classes of a model's blocks."""


def shard(model: Any, num_processes: int) -> Any:
    """Shard a model's weights in place. Must be called by all processes together.

    Args:
        model: a transformers model, with or without adapters; loaded identically in all
            processes, on the device where it is trained.
        num_processes: number of processes.

    Returns:
        A copy without weights (on the meta device), to be filled by `refill`.
    """
    parameters = list(model.parameters())
    empty = {
        id(p): torch.nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
        for p in parameters
    }
    hollow = copy.deepcopy(model, empty)
    mesh = init_device_mesh(parameters[0].device.type, (num_processes,))
    kinds = {kind for part in model.modules() for kind in getattr(part, BLOCK_CLASSES, None) or ()}
    for part in list(model.modules()):
        if part is not model and type(part).__name__ in kinds:
            fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return hollow


def refill(hollow: Any, model: Any) -> Any:
    """Fill the copy that `shard` returned with the sharded model's current weights, on the CPU.

    Must be called by all processes together.
    """
    made: dict[int, tuple[Any, Any]] = {}  # keeps the empty ones alive: ids must not be reused
    for source, part in zip(model.modules(), hollow.modules(), strict=True):
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in made:
                value = unsharded(getattr(source, name).detach()).cpu()
                made[id(parameter)] = parameter, torch.nn.Parameter(value, parameter.requires_grad)
            setattr(part, name, made[id(parameter)][1])
    return hollow


def unsharded(value: Any) -> Any:
    """Replace shards by full tensors, in nested mappings and lists; called by all processes."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, Mapping):
        return {key: unsharded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unsharded(one) for one in value)
    return value


def alike(value: Any, parameter: Any) -> Any:
    """Shard a full tensor as the parameter is sharded; unchanged if the parameter is not."""
    if not isinstance(parameter, DTensor):
        return value
    given = value.to(parameter.device)
    return distribute_tensor(given, parameter.device_mesh, parameter.placements, src_data_rank=None)


def optimizer_alike(state: dict[str, Any], parameters: Sequence[Any]) -> dict[str, Any]:
    """Shard the full tensors in an optimizer's ``state_dict`` as their parameters are sharded."""
    spread = {
        number: {
            name: alike(one, parameters[number])
            if torch.is_tensor(one) and one.shape == parameters[number].shape
            else one
            for name, one in own.items()
        }
        for number, own in state["state"].items()
    }
    return {**state, "state": spread}
