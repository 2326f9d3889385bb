"""Depth pruning: remove the whole blocks that matter least on the calibration text.

Candidates are the blocks that change the residual stream least (block influence: Men et al.,
ShortGPT, 2024), https://arxiv.org/abs/2403.03853. Among them, the block whose removal raises the
perplexity least is removed, one block at a time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from galenic.compression.prune.base import ShrinkingPruner
from galenic.compression.prune.depth_pattern import can_leave, is_even
from galenic.errors import UserError
from galenic.models.configuration import changed_configuration
from galenic.models.families import FAMILIES
from galenic.models.layers import Block, Layout

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["Depth", "shallow_config"]

log = logging.getLogger(__name__)

MEASURED_SEQUENCES = 8
ROUNDING = 1e-9


class Depth(ShrinkingPruner):
    """Remove the whole blocks that matter least."""

    name = "depth"
    title = "fewer blocks"
    reference_url = "https://arxiv.org/abs/2403.03853"
    reconstructs = True
    keeps_experts = True

    protect_first: int = Field(
        1, ge=0, description="Number of blocks at the beginning that are never removed."
    )
    protect_last: int = Field(
        1, ge=0, description="Number of blocks at the end that are never removed."
    )
    candidates: int = Field(
        5, ge=1, description="Number of least influential blocks tried at each step."
    )
    metric: Literal["perplexity", "influence"] = Field(
        "perplexity",
        description="Criterion for candidates: perplexity on calibration text, or block influence "
        "alone (quick).",
    )
    windows: Literal["even", "any"] = Field(
        "even",
        description="For models with sliding-window layers. even: keep them at equal distances, "
        "as llama.cpp requires, which may remove more blocks; any: choose "
        "freely, for transformers only.",
    )

    def check(self, layout: Layout) -> None:
        self.count(layout)

    def resulting_configs(self, layout: Layout) -> list[Any]:
        kept = range(len(layout.blocks) - self.count(layout))
        return [shallow_config(layout.model.config, kept)]

    def count(self, layout: Layout) -> int:
        """Return the number of blocks to remove: the smallest possible that reaches ``share``.

        Raises:
            UserError: too many blocks are protected, or no choice of blocks keeps the layers with
                a sliding window evenly spaced.
        """
        blocks = len(layout.blocks)
        wanted = math.ceil(blocks * self.share - ROUNDING)
        most = blocks - max(1, len(self.protected(blocks)))
        if wanted > most:
            raise UserError(
                f"--sparsity {self.share:g} removes {wanted} of {blocks} blocks, and at most "
                f"{most} may be removed (--protect-first {self.protect_first}, --protect-last "
                f"{self.protect_last})."
            )
        windows, protected = self._windows(layout), self.protected(blocks)
        if windows is None or not wanted:
            return wanted
        for count in range(wanted, most + 1):
            if can_leave(windows, blocks - count, (), protected, self._fixed(layout)):
                if count > wanted:
                    log.warning(
                        "%d blocks are removed instead of %d: otherwise the layers with a sliding "
                        "window would not stand at equal distances, which llama.cpp needs "
                        "(--windows any removes %d, for transformers only)",
                        count, wanted, wanted,
                    )  # fmt: skip
                return count
        raise UserError(
            f"--sparsity {self.share:g}: whichever blocks are removed, the layers with a sliding "
            "window would not stand at equal distances, which llama.cpp needs. Protect fewer "
            "blocks, or take --windows any, whose result only transformers can run."
        )

    def protected(self, blocks: int) -> set[int]:
        """Indices of the blocks that are never removed."""
        last = range(max(0, blocks - self.protect_last), blocks)
        return {*range(min(self.protect_first, blocks)), *last}

    def _windows(self, layout: Layout) -> list[bool] | None:
        """For each layer, whether it has a sliding window (or rotary positions); None if any
        blocks may be removed."""
        config, family = layout.model.config, FAMILIES[layout.family]
        if self.windows == "any":
            return None
        if family.nope_period:
            found = [bool(has) for has in config.no_rope_layers]
        elif family.windows and getattr(config, "layer_types", None):
            found = [kind == "sliding_attention" for kind in config.layer_types]
        else:
            return None
        # if llama.cpp cannot run the original model, the result need not run either
        return found if is_even(found, self._fixed(layout)) else None

    def _fixed(self, layout: Layout) -> int:
        """The only period of such layers that llama.cpp supports; 0 for any."""
        family = FAMILIES[layout.family]
        return family.nope_period or family.window_period

    def apply(
        self, stream: Stream, tokens: Any, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        from galenic.models.save import FolderWriter

        layout = stream.layout
        gone = self._choose(stream, tokens, lambda done: advance(int(done * len(layout.blocks))))
        kept = [block.index for block in layout.blocks if block.index not in gone]
        config = shallow_config(layout.model.config, kept)
        checkpoint = stream.checkpoint
        with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
            writer.write_outer(layout)
            for place, index in enumerate(kept):
                with stream.block(index) as block:
                    writer.write_block(Block(place, block.module, block.linears))
        advance(len(layout.blocks))
        return writer.checks

    def _choose(self, stream: Stream, tokens: Any, advance: Callable[[float], None]) -> list[int]:
        """Return the indices of the blocks to remove, in the order in which they were chosen."""
        from galenic.compression.prune.influence import block_influence, perplexities

        count, blocks = self.count(stream.layout), len(stream.layout.blocks)
        measures = self.metric == "perplexity" and self.candidates > 1
        rounds = 1 + (count if measures else 0)
        influence = block_influence(stream, tokens, lambda done: advance(done / blocks / rounds))
        order = sorted(range(blocks), key=lambda index: influence[index])
        gone: list[int] = []
        while len(gone) < count:
            near = self._candidates(stream.layout, order, gone, count)
            if measures and len(near) > 1:
                sample = tokens[:MEASURED_SEQUENCES]
                costs = perplexities(stream, sample, gone, near)
                gone.append(near[costs.index(min(costs))])
            else:
                gone.append(near[0])
            advance(min(1.0, (1 + len(gone)) / rounds))
        return gone

    def _candidates(
        self, layout: Layout, order: Sequence[int], gone: Sequence[int], count: int
    ) -> list[int]:
        """Return the removable blocks of least influence, as candidates for the next removal."""
        protected, windows = self.protected(len(order)), self._windows(layout)
        found = []
        for index in order:
            if index in protected or index in gone:
                continue
            if windows is None or can_leave(
                windows, len(order) - count, {*gone, index}, protected, self._fixed(layout)
            ):
                found.append(index)
            if len(found) == self.candidates:
                break
        return found


def shallow_config(config: Any, kept: Sequence[int]) -> Any:
    """Return the config of a model with only the blocks of these indices."""
    changes: dict[str, Any] = {"num_hidden_layers": len(kept)}
    for name in ("layer_types", "mlp_layer_types", "no_rope_layers"):
        if (kinds := getattr(config, name, None)) is not None:
            changes[name] = [kinds[index] for index in kept]
    if (first := getattr(config, "max_window_layers", None)) is not None:
        # Qwen: index of the first layer with a window; transformers uses layer_types instead
        changes["max_window_layers"] = min(first, len(kept))
    return changed_configuration(config, changes)
