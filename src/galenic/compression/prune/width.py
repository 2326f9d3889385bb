"""Width pruning: remove the same number of feed-forward channels and key/value groups per block.

All blocks keep equal widths, so the result is an ordinary smaller checkpoint. Based on Minitron
(Muralidharan et al., 2024), https://arxiv.org/abs/2407.14679, with Taylor scores (Molchanov et al.,
2019), https://arxiv.org/abs/1906.10771, and least-squares compensation in the layers that read the
pruned inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from galenic.compression.prune.base import ShrinkingPruner
from galenic.compression.prune.cut import GGUF_MULTIPLE, choose_cuts
from galenic.errors import UserError
from galenic.models.layers import Layout, Sizes

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["Width"]


class Width(ShrinkingPruner):
    """Remove the feed-forward channels and key/value groups that matter least."""

    name = "width"
    title = "narrower blocks: fewer channels and key/value groups"
    reference_url = "https://arxiv.org/abs/2407.14679"
    reconstructs = True

    ffn_multiple: int = Field(
        32,
        ge=GGUF_MULTIPLE,
        description="Keep a multiple of this many feed-forward channels; itself a multiple of 32 "
        "(blocks of quantized GGUFs), 256 for k-quants.",
    )
    kv_groups: int | None = Field(
        None,
        ge=0,
        description="Key/value heads to remove from each block, with their query heads; default: "
        "chosen by the scores.",
    )
    hidden_size: int | None = Field(
        None,
        ge=GGUF_MULTIPLE,
        description="New width of the residual stream (embedding, norms, head and every linear "
        "map), a multiple of 32, 256 for k-quants; default: unchanged.",
    )
    score: Literal["taylor", "activation", "combined", "magnitude"] = Field(
        "combined",
        description="Importance of a channel or group: first-order change of the loss, energy of "
        "its output, both combined, or weight magnitude (the plain baseline).",
    )
    compensate: bool | None = Field(
        None,
        description="Adjust the remaining weights for the pruned inputs, by least squares on "
        "calibration text; default: yes, unless the score is magnitude.",
    )
    damping: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Damping added to the diagonal of the Hessian, as a fraction of its mean.",
    )

    @field_validator("ffn_multiple", "hidden_size")
    @classmethod
    def _fits_gguf(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and size % GGUF_MULTIPLE:
            flag = f"--{str(info.field_name).replace('_', '-')}"
            raise UserError(
                f"{flag} {size} is not a multiple of {GGUF_MULTIPLE}, the smallest block of a "
                "quantized GGUF."
            )
        return size

    @property
    def calibrated(self) -> bool:
        return self.score != "magnitude" or self.corrects

    @property
    def corrects(self) -> bool:
        """Whether the remaining weights are adjusted to compensate for the removed ones."""
        return self.score != "magnitude" if self.compensate is None else self.compensate

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"compensate": self.corrects}

    def check(self, layout: Layout) -> None:
        self.cuts(layout)

    def check_steps(self, steps: int) -> None:
        if self.hidden_size is not None:
            raise UserError(
                "--hidden-size: blocks of another hidden size cannot be fitted to those of "
                "the dense model. Leave --reconstruct and --steps out."
            )
        if steps > 1 and self.kv_groups:
            raise UserError(
                "--kv-groups would be removed again at each of the --steps: leave it out."
            )

    def cuts(self, layout: Layout) -> list[Sizes]:
        """Return the sizes after each possible cut, those that remove the fewest groups first.

        Raises:
            UserError: no cut is possible.
        """
        self._check_hidden(layout)
        heads = layout.sizes.num_kv_heads
        if self.kv_groups and self.kv_groups >= heads:
            raise UserError(
                f"--kv-groups {self.kv_groups}: the model has {heads} key/value heads in each "
                "block, and one must stay."
            )
        if self.kv_groups and _heads_fill(layout):
            raise UserError(
                f"--kv-groups {self.kv_groups}: llama.cpp cannot run a {layout.family} model with "
                "fewer heads of the same size. Leave it out."
            )
        groups = range(heads) if self.kv_groups is None else [self.kv_groups]
        groups = [0] if self.kv_groups is None and _heads_fill(layout) else groups
        return choose_cuts(
            layout.blocks[0],
            layout.sizes,
            self.share,
            self.ffn_multiple,
            self._allowed(layout, groups),
            self.hidden_size,
        )

    def resulting_configs(self, layout: Layout) -> list[Any]:
        from galenic.compression.prune.narrow import narrow_config

        return [narrow_config(layout.model.config, cut) for cut in self.cuts(layout)]

    def _check_hidden(self, layout: Layout) -> None:
        before = layout.sizes.hidden_size
        if self.hidden_size is None:
            return
        if self.hidden_size >= before:
            raise UserError(f"--hidden-size {self.hidden_size}: the model has {before} already.")
        if _heads_fill(layout):
            raise UserError(
                f"--hidden-size {self.hidden_size}: llama.cpp takes the head size of a "
                f"{layout.family} model to be hidden size / heads, so the hidden size cannot "
                "change alone. Leave it out."
            )

    def _allowed(self, layout: Layout, groups: Sequence[int]) -> list[int]:
        """Filter the numbers of groups to remove by what transformers allows for this model."""
        from galenic.compression.prune.narrow import narrow_config

        sizes, allowed, why = layout.sizes, [], ""
        shared = sizes.num_heads // sizes.num_kv_heads
        for removed in groups:
            kept = sizes.num_kv_heads - removed
            hidden = self.hidden_size or sizes.hidden_size
            cut = replace(sizes, hidden_size=hidden, num_heads=kept * shared, num_kv_heads=kept)
            try:
                narrow_config(layout.model.config, cut)
                allowed.append(removed)
            except ValueError as error:
                why = str(error)
        if not allowed:
            asked = {"--kv-groups": self.kv_groups, "--hidden-size": self.hidden_size}
            flags = " ".join(f"{flag} {n}" for flag, n in asked.items() if n is not None)
            raise UserError(f"{flags}: {why} Choose another number.")
        return allowed

    def apply(
        self, stream: Stream, tokens: Any, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        from galenic.compression.prune.importance import score_blocks
        from galenic.compression.prune.narrow import (
            estimate_damage,
            meta_layout,
            narrow,
            narrow_config,
        )
        from galenic.models.save import FolderWriter

        # three passes (two to score, one to prune) are reported to the user as one
        scores = score_blocks(stream, tokens, self.score, folder, lambda done: advance(done // 3))
        blocks = len(scores)
        cut = min(self.cuts(stream.layout), key=lambda cut: estimate_damage(scores, cut))
        config = narrow_config(stream.layout.model.config, cut)
        checkpoint = stream.checkpoint
        with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
            narrow(
                stream,
                scores,
                meta_layout(config),
                writer,
                (tokens, self.damping) if self.corrects else None,
                lambda done: advance((2 * blocks + done) // 3),
            )
        return writer.checks


def _heads_fill(layout: Layout) -> bool:
    """Whether llama.cpp assumes for this family that the head size is hidden size / heads."""
    from galenic.models.families import FAMILIES

    return FAMILIES[layout.family].heads_fill
