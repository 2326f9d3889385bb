"""Width pruning: every block loses the same number of feed-forward channels and key/value groups.

Widths stay equal from block to block, so the result is an ordinary smaller checkpoint. After
Minitron (Muralidharan et al., 2024), https://arxiv.org/abs/2407.14679, with Taylor scores
(Molchanov et al., 2019), https://arxiv.org/abs/1906.10771, and a least-squares correction of the
maps behind what goes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from galenic.compress.cut import GGUF_MULTIPLE, choose_cuts
from galenic.compress.prune.base import DEFAULT_SPARSITY, Pruner, ZeroingPruner
from galenic.errors import UserError
from galenic.models.layers import Layout, Sizes

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["Width"]

FFN_ONLY = ("phi3", "qwen2")
"""Architectures for which llama.cpp takes the head size to be hidden size / heads."""


class Width(Pruner):
    """Remove the feed-forward channels and key/value groups that matter least."""

    name = "width"
    title = "narrower blocks: fewer channels and key/value groups"
    reference_url = "https://arxiv.org/abs/2407.14679"
    shrinks = True

    sparsity: float | None = Field(
        None, ge=0, lt=1, description=ZeroingPruner.model_fields["sparsity"].description
    )
    ffn_multiple: int = Field(
        32,
        ge=GGUF_MULTIPLE,
        description="The feed-forward channels that stay are a multiple of this, itself a multiple "
        "of 32 (blocks of quantized GGUFs); 256 where k-quants are wanted.",
    )
    kv_groups: int | None = Field(
        None,
        ge=0,
        description="Key/value heads to remove from each block, each with its query heads; by "
        "default as many as cost least by the scores.",
    )
    score: Literal["taylor", "activation", "combined", "magnitude"] = Field(
        "combined",
        description="What tells how much a channel or group matters: first-order change of the "
        "loss, energy of its output, both, or its weights alone (the plain baseline).",
    )
    compensate: bool | None = Field(
        None,
        description="Let what stays make up for what goes by least squares on the calibration "
        "text; by default unless the score is magnitude.",
    )
    damping: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Added to the diagonal of the Hessian, as a share of its mean.",
    )

    @field_validator("ffn_multiple")
    @classmethod
    def _fits_gguf(cls, multiple: int) -> int:
        if multiple % GGUF_MULTIPLE:
            raise UserError(
                f"--ffn-multiple {multiple} is no multiple of {GGUF_MULTIPLE}, the smallest block "
                "of a quantized GGUF."
            )
        return multiple

    @property
    def calibrated(self) -> bool:
        return self.score != "magnitude" or self.corrects

    @property
    def share(self) -> float:
        """The share of the blocks' parameters that will be removed at least."""
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    @property
    def corrects(self) -> bool:
        """Whether what stays is adjusted."""
        return self.score != "magnitude" if self.compensate is None else self.compensate

    @property
    def knobs(self) -> dict[str, Any]:
        return super().knobs | {"sparsity": self.share, "compensate": self.corrects}

    def check(self, layout: Layout) -> None:
        self.cuts(layout)

    def cuts(self, layout: Layout) -> list[Sizes]:
        """Every cut that comes into question, with the fewest groups first.

        Raises:
            UserError: there is none.
        """
        from galenic.compress.narrow import narrow_config

        heads = layout.sizes.num_kv_heads
        if self.kv_groups and self.kv_groups >= heads:
            raise UserError(
                f"--kv-groups {self.kv_groups}: the model has {heads} key/value heads in each "
                "block, and one must stay."
            )
        if self.kv_groups and layout.family in FFN_ONLY:
            raise UserError(
                f"--kv-groups {self.kv_groups}: llama.cpp cannot run a {layout.family} model with "
                "fewer heads of the same size. Leave it out."
            )
        groups = range(heads) if self.kv_groups is None else [self.kv_groups]
        groups = [0] if self.kv_groups is None and layout.family in FFN_ONLY else groups
        found = choose_cuts(layout.blocks[0], layout.sizes, self.share, self.ffn_multiple, groups)
        allowed, why = [], ""
        for cut in found:
            try:
                narrow_config(layout.model.config, cut)
                allowed.append(cut)
            except ValueError as error:
                why = str(error)
        if not allowed:
            raise UserError(f"--kv-groups {self.kv_groups}: {why} Choose another number.")
        return allowed

    def apply(
        self, stream: Stream, tokens: Any, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        from galenic.compress.importance import score_blocks
        from galenic.compress.narrow import estimate_damage, meta_layout, narrow, narrow_config
        from galenic.models.save import FolderWriter

        # Two runs of each block to score it, one to cut it, told as the one pass that users see
        scores = score_blocks(stream, tokens, self.score, folder, lambda done: advance(done // 3))
        blocks = len(scores)
        cut = min(self.cuts(stream.layout), key=lambda cut: estimate_damage(scores, cut))
        config = narrow_config(stream.layout.model.config, cut)
        checkpoint = stream.checkpoint
        with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
            writer.write_outer(stream.layout)
            narrow(
                stream,
                scores,
                meta_layout(config),
                writer,
                (tokens, self.damping) if self.corrects else None,
                lambda done: advance((2 * blocks + done) // 3),
            )
        return writer.checks
