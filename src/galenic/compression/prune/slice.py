"""Make a block narrower by selecting rows and columns of its linear layers and norms.

A key/value head is removed together with the query heads that share it. Biases follow their rows.
Norms of single heads (Qwen3, Gemma3) have the length of one head and are kept unchanged. In
families that normalise all heads together (OLMo 2), heads are not removed.
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
    """The parts of a block to keep, as sorted index tensors.

    Attributes:
        channels: channels of the feed-forward part.
        groups: key/value heads, each with its query heads.
        hidden: dimensions of the residual stream.
        sizes: sizes of the block before pruning.
    """

    channels: Any
    groups: Any
    hidden: Any
    sizes: Sizes

    @property
    def keys(self) -> Any:
        """Rows of the key and value weights to keep."""
        return _spread(self.groups, self.sizes.head_size)

    @property
    def queries(self) -> Any:
        """Rows of the query weight to keep; also the columns of the attention's output layer."""
        shared = self.sizes.num_heads // self.sizes.num_kv_heads
        return _spread(self.groups, shared * self.sizes.head_size)

    def rows(self, role: Role) -> Any:
        """Rows (outputs) of a linear layer to keep."""
        if role in ("gate", "up"):
            return self.channels
        if role == "qkv":  # rows of a head are consecutive
            return _spread(self.groups, 3 * self.sizes.head_size)
        return {"q": self.queries, "k": self.keys, "v": self.keys}.get(role, self.hidden)

    def columns(self, role: Role) -> Any:
        """Columns (inputs) of a linear layer to keep."""
        return {"o": self.queries, "down": self.channels}.get(role, self.hidden)


def _spread(numbers: Any, size: int) -> Any:
    """Expand indices of groups, each of ``size`` consecutive entries, to indices of the entries."""
    import torch

    return (numbers[:, None] * size + torch.arange(size)).flatten()


def norms_of(block: Block) -> dict[str, Any]:
    """Return the norms that are as wide as the residual stream, by their name in the block."""
    linears = {id(linear.module) for linear in block.linears.values()}
    return {
        name: module
        for name, module in block.module.named_modules()
        if id(module) not in linears
        and list(module.parameters(recurse=False))
        and not name.startswith("self_attn.")
    }


def fill_(target: Block, source: Block, kept: Kept) -> None:
    """Fill a narrower block with the weights of a wider one that are kept.

    Args:
        target: block of the new sizes, on the ``meta`` device; filled in place.
        source: the wider block; its weights are not changed.
        kept: rows and columns to keep; must match the sizes of ``target``.

    Raises:
        RuntimeError: the sizes do not match.
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
    """Kept weights and biases of the linear modules; fused ones are concatenated in role order."""
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
