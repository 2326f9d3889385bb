"""Attention over a `Pack` in PyTorch: every row attends to its own path, without padding.

It is a transformers attention function (``AttentionInterface``), so every architecture that uses
this interface runs packed without model-specific code. A tree is split into blocks: chains of rows
with causal attention to themselves and their ancestors, and small groups of branches with a mask.

Reference: https://huggingface.co/docs/transformers/attention_interface
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.runtimes.tree import Pack

__all__ = ["ATTENTION", "TreePlan", "active_plan", "plan_blocks", "tree_attention"]

ATTENTION = "galenic_tree"
"""The name under which the attention function is registered."""

SMALL_BUSH = 48
"""Sibling subtrees of up to this many rows share one masked call, which is cheaper than several
calls despite the masked entries."""

Range = tuple[int, int]


@dataclass(frozen=True)
class PackBlock:
    """Rows [start, end) that attend to all rows in ``above`` and to ancestors in the block."""

    start: int
    end: int
    above: tuple[Range, ...]
    is_chain: bool


def plan_blocks(pack: Pack) -> list[PackBlock]:
    """Split the forest into blocks that together contain every row once."""
    parents = pack.parents
    sizes = np.ones(len(parents), dtype=np.int64)
    for row in range(len(parents) - 1, -1, -1):
        if parents[row] >= 0:
            sizes[parents[row]] += sizes[row]
    blocks: list[PackBlock] = []
    waiting: list[tuple[int, int, tuple[Range, ...]]] = [
        (start, end, ()) for start, end in reversed(pack.trees)
    ]
    while waiting:
        start, end, above = waiting.pop()
        trunk = start + 1
        while trunk < end and parents[trunk] == trunk - 1 and sizes[trunk] == end - trunk:
            trunk += 1
        if trunk == end or end - start > SMALL_BUSH:
            blocks.append(PackBlock(start, trunk, above, is_chain=True))
            waiting.extend(reversed(_siblings(trunk, end, (*above, (start, trunk)), sizes, blocks)))
        else:
            blocks.append(PackBlock(start, end, above, is_chain=False))
    return blocks


def _siblings(
    start: int,
    end: int,
    above: tuple[Range, ...],
    sizes: NDArray[np.int64],
    blocks: list[PackBlock],
) -> list[tuple[int, int, tuple[Range, ...]]]:
    """Group small sibling subtrees into masked blocks; return the large ones to split further."""
    large: list[tuple[int, int, tuple[Range, ...]]] = []
    row, first = start, start
    while row < end:
        after = row + int(sizes[row])
        if after - row > SMALL_BUSH:
            if first < row:
                blocks.append(PackBlock(first, row, above, is_chain=False))
            large.append((row, after, above))
            first = after
        elif after - first > 2 * SMALL_BUSH:
            blocks.append(PackBlock(first, after, above, is_chain=False))
            first = after
        row = after
    if first < end:
        blocks.append(PackBlock(first, end, above, is_chain=False))
    return large


@dataclass
class TreePlan:
    """State of the attention function for the pack being computed.

    Attributes:
        pack: the pack.
        prefix: keys and values of the pack's prefix by layer, each (1, heads, length, dim).
        keep: if a dict, keys and values of every layer are stored in it (to compute a prefix).
        windows: sliding windows that layers requested, collected while computing.
    """

    pack: Pack
    prefix: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    keep: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = None
    windows: set[int | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.blocks = sorted(plan_blocks(self.pack), key=lambda block: block.start)
        self.ranges = [(block.start, block.end) for block in self.blocks]
        self._masks: dict[tuple[PackBlock, int | None], torch.Tensor] = {}

    def mask(self, block: PackBlock, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """Additive mask (1, 1, rows, keys) of a block, or None if plain causal attention suffices.

        Args:
            block: the rows; its keys are the prefix, the rows above and its own rows.
            window: keys this many or more positions back are masked; None for no limit.
            dtype: dtype of the queries.
        """
        past = len(self.pack.prefix)
        positions = self.pack.positions
        if window is not None and int(positions[block.end - 1]) < window and block.is_chain:
            window = None
        if block.is_chain and window is None and not past and not block.above:
            return None
        if (block, window) not in self._masks:
            seen = self._visible(block)
            if window is not None:
                above = [np.arange(start, end) for start, end in block.above]
                own = np.arange(block.start, block.end)
                at = np.concatenate([np.arange(past), positions[np.concatenate([*above, own])]])
                seen &= positions[own][:, None] - at[None, :] < window
            hidden = torch.zeros(seen.shape, dtype=dtype)
            hidden.masked_fill_(torch.from_numpy(~seen), -math.inf)
            self._masks[block, window] = hidden[None, None]
        return self._masks[block, window]

    def _visible(self, block: PackBlock) -> NDArray[np.bool_]:
        before = len(self.pack.prefix) + sum(end - start for start, end in block.above)
        size = block.end - block.start
        own = np.zeros((size, size), dtype=bool)
        for row in range(size):
            parent = int(self.pack.parents[block.start + row]) - block.start
            if parent >= 0:
                own[row] = own[parent]
            own[row, row] = True
        return np.concatenate([np.ones((size, before), dtype=bool), own], axis=1)


_active: list[TreePlan] = []


class active_plan:  # noqa: N801  (reads as a statement: ``with active_plan(plan):``)
    """Context manager that sets the plan for attention calls."""

    def __init__(self, plan: TreePlan) -> None:
        self.plan = plan

    def __enter__(self) -> TreePlan:
        _active.append(self.plan)
        return self.plan

    def __exit__(self, *exc: object) -> None:
        _active.pop()


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001  (the plan determines the mask)
    dropout: float = 0.0,  # noqa: ARG001  (packs are trained without dropout)
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend along the paths of the active plan.

    Shapes: query (1, heads, rows, dim), key and value (1, kv_heads, rows, dim); returns
    (1, rows, heads, dim) as transformers expects.

    Raises:
        NotImplementedError: the model needs an unsupported feature (attention sinks, position
            biases); the caller can then compute it without packing.
    """
    unknown = [name for name in ("s_aux", "position_bias") if others.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"tree attention does not know {', '.join(unknown)}")
    plan = _active[-1]
    plan.windows.add(sliding_window)
    layer = int(module.layer_idx)
    if plan.keep is not None:
        plan.keep[layer] = (key, value)
    past = plan.prefix.get(layer)
    sizes = [block.end - block.start for block in plan.blocks]
    # split once: in the backward pass, each slice would allocate a gradient of full size
    queries = query.split(sizes, 2)
    keys = dict(zip(plan.ranges, key.split(sizes, 2), strict=True))
    values = dict(zip(plan.ranges, value.split(sizes, 2), strict=True))
    results = []
    for block, rows in zip(plan.blocks, queries, strict=True):
        ranges = [*block.above, (block.start, block.end)]
        seen = [keys[one] for one in ranges]
        content = [values[one] for one in ranges]
        if past is not None:
            seen, content = [past[0], *seen], [past[1], *content]
        result = _attend(
            rows,
            torch.cat(seen, 2) if len(seen) > 1 else seen[0],
            torch.cat(content, 2) if len(content) > 1 else content[0],
            plan.mask(block, sliding_window, query.dtype),
            scaling,
            softcap,
        )
        results.append(result.transpose(1, 2))
    return torch.cat(results, 1), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    if softcap is None:
        return torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=groups > 1,
        )
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * scale / softcap)
    if mask is None:
        size = query.shape[2]
        mask = torch.full((size, size), -math.inf, dtype=query.dtype).triu(1)
    return torch.softmax(scores + mask, dim=-1) @ value
