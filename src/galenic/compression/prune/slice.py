"""Making a block narrower: the chosen rows and columns of its seven linear maps, and its norms.

A key/value head goes with all query heads that it serves, so that the rest still shares evenly.
Biases follow their rows. Norms of the heads (Qwen3, Gemma3) are one head long and stay; heads of
families that normalise all of them together (OLMo 2) are not taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galenic.models.families import Role
from galenic.models.layers import Block, Sizes

__all__ = ["Kept", "fill_", "norms_of"]


@dataclass(frozen=True)
class Kept:
    """What stays of one block, as sorted index tensors.

    Attributes:
        channels: of the feed-forward part.
        groups: key/value heads, each with its query heads.
        hidden: of the residual stream.
        sizes: of the block before the cut.
    """

    channels: Any
    groups: Any
    hidden: Any
    sizes: Sizes

    @property
    def keys(self) -> Any:
        """Rows of key and value that stay."""
        return _spread(self.groups, self.sizes.head_size)

    @property
    def queries(self) -> Any:
        """Rows of query, which are the columns of the attention's output map, that stay."""
        shared = self.sizes.num_heads // self.sizes.num_kv_heads
        return _spread(self.groups, shared * self.sizes.head_size)

    def rows(self, role: Role) -> Any:
        """Output rows of a linear map that stay."""
        if role in ("gate", "up"):
            return self.channels
        return {"q": self.queries, "k": self.keys, "v": self.keys}.get(role, self.hidden)

    def columns(self, role: Role) -> Any:
        """Input columns of a linear map that stay."""
        return {"o": self.queries, "down": self.channels}.get(role, self.hidden)


def _spread(numbers: Any, size: int) -> Any:
    """Every index of the runs of ``size`` with the given numbers."""
    import torch

    return (numbers[:, None] * size + torch.arange(size)).flatten()


def norms_of(block: Block) -> dict[str, Any]:
    """The norms of a block that are as wide as the residual stream, by their name in the block."""
    linears = {id(linear.module) for linear in block.linears.values()}
    return {
        name: module
        for name, module in block.module.named_modules()
        if id(module) not in linears
        and list(module.parameters(recurse=False))
        and not name.startswith("self_attn.")
    }


def fill_(target: Block, source: Block, kept: Kept) -> None:
    """Give a narrower block without weights the weights of a wider one that stay.

    Args:
        target: of the new sizes; on the device ``meta`` before.
        source: its weights are left as they are.
        kept: which rows and columns; as many as ``target`` has.

    Raises:
        RuntimeError: the sizes of ``target`` are others.
    """
    state = _linear_state(source, kept)
    norms = norms_of(source)
    for name, parameter in source.module.named_parameters():
        if name not in state:
            wide = name.rpartition(".")[0] in norms
            values = parameter.detach()
            state[name] = values[kept.hidden] if wide else values.clone()
    target.module.load_state_dict(state, strict=True, assign=True)
    target.module.requires_grad_(False)


def _linear_state(source: Block, kept: Kept) -> dict[str, Any]:
    """Weights and biases of the linear modules; the rows of a fused one in the order of roles."""
    import torch

    names: Mapping[int, str] = {id(m): name for name, m in source.module.named_modules()}
    parts: dict[str, list[Any]] = {}
    for role, linear in source.linears.items():
        name, rows = names[id(linear.module)], kept.rows(role)
        weight = linear.weight[rows][:, kept.columns(role)]
        parts.setdefault(f"{name}.weight", []).append(weight)
        if linear.bias is not None:
            parts.setdefault(f"{name}.bias", []).append(linear.bias[rows])
    return {name: torch.cat(found) for name, found in parts.items()}
