"""Base classes of pruning methods: frozen pydantic models whose fields are the options."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from galenic.errors import UserError
from galenic.models.families import EXPERTS
from galenic.models.layers import Block, InputName, Layout, Linear

if TYPE_CHECKING:
    from pathlib import Path

    from galenic.compression.blocks.statistics import Statistic
    from galenic.models.stream import Stream

__all__ = ["Pruner", "ShrinkingPruner", "ZeroingPruner"]

UNSTRUCTURED = "unstructured"
DEFAULT_SPARSITY = 0.2
SPARSITY = (
    "Fraction of the blocks' parameters to remove (embeddings not counted), at least 0 and below "
    f"1; default: {DEFAULT_SPARSITY}, or what an N:M pattern removes."
)


class Pruner(BaseModel, ABC):
    """A way of removing parameters from the blocks of a model.

    Attributes:
        name: name in the registry.
        title: one-line description for users.
        reference_url: URL of the paper.
        shrinks: whether the checkpoint becomes smaller (otherwise weights are set to zero).
        whole_texts: whether it reads all calibration documents as text, instead of a sample of
            token sequences.
        reconstructs: whether the result's blocks can be fitted to those of the dense model, and
            pruning can be done in several steps.
        keeps_experts: whether it supports mixture-of-experts models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    shrinks: ClassVar[bool]
    whole_texts: ClassVar[bool] = False
    reconstructs: ClassVar[bool] = False
    keeps_experts: ClassVar[bool] = False

    @property
    def options(self) -> dict[str, Any]:
        """All options with the values in use, as JSON types."""
        return self.model_dump(mode="json")

    @property
    @abstractmethod
    def calibrated(self) -> bool:
        """Whether it needs calibration text, given its options."""

    def check_model(self, layout: Layout) -> None:
        """Like `check`, and also refuse mixture-of-experts models if they are not supported.

        Raises:
            UserError: the model cannot be pruned with this method and options.
        """
        if layout.family in EXPERTS and not self.keeps_experts:
            raise UserError(
                f"--method {self.name} does not look into experts, which the blocks of a "
                f"{layout.family} model consist of. Take experts, depth or vocab."
            )
        self.check(layout)

    @abstractmethod
    def check(self, layout: Layout) -> None:
        """Raise UserError if the model cannot be pruned with these options; needs shapes only."""

    @property
    def share(self) -> float:
        """Fraction of the blocks' parameters to be removed."""
        raise UserError(f"what {self.name} removes is not known beforehand.")

    def check_steps(self, steps: int) -> None:
        """Raise UserError if reconstruction with this number of steps is not possible."""

    def resulting_configs(self, layout: Layout) -> list[Any]:
        """Return the possible transformers configs of the result, determined from shapes alone.

        `galenic plan` shows the largest of them. Implemented by methods that shrink the model.

        Raises:
            UserError: they cannot be predicted, or the model cannot be pruned with these options.
        """
        raise UserError(f"what {self.name} leaves of a model cannot be predicted.")

    @abstractmethod
    def apply(
        self, stream: Stream, tokens: Any | None, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        """Write the pruned model into a folder.

        Args:
            stream: the model.
            tokens: calibration tokens, shape (num_samples, seq_len); with ``whole_texts`` the
                calibration texts instead; None unless ``calibrated``.
            folder: an existing, empty folder.
            advance: called after each block with the number of blocks done.

        Returns:
            ``checks`` of the `galenic.models.save.FolderWriter` that wrote the folder.
        """


class ShrinkingPruner(Pruner):
    """A calibrated pruning method that removes whole units, so that the checkpoint gets smaller."""

    shrinks = True

    sparsity: float | None = Field(None, ge=0, lt=1, description=SPARSITY)

    @property
    def calibrated(self) -> bool:
        return True

    @property
    def share(self) -> float:
        """Fraction of the units' parameters to be removed."""
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"sparsity": self.share}


class ZeroingPruner(Pruner):
    """A pruning method that sets weights of the blocks' linear layers to zero, block by block."""

    shrinks = False

    sparsity: float | None = Field(
        None,
        ge=0,
        lt=1,
        description=SPARSITY,
    )
    pattern: str = Field(
        UNSTRUCTURED,
        description="unstructured, or N:M (2:4, 4:8 ...): N of every M neighbouring inputs are "
        "kept.",
    )

    @field_validator("pattern")
    @classmethod
    def _known_pattern(cls, pattern: str) -> str:
        found = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", pattern)
        if pattern != UNSTRUCTURED and (found is None or int(found[1]) >= int(found[2])):
            raise UserError(
                f"--pattern {pattern!r}: allowed are {UNSTRUCTURED!r} and N:M with N below M, for "
                "example 2:4."
            )
        return pattern

    @model_validator(mode="after")
    def _one_sparsity(self) -> ZeroingPruner:
        if self.group and self.sparsity is not None and self.sparsity != self.share:
            raise UserError(
                f"--sparsity {self.sparsity:g} and --pattern {self.pattern} contradict each "
                f"other: the pattern removes {self.share:g}. Leave --sparsity out."
            )
        return self

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"sparsity": self.share}

    @property
    def group(self) -> tuple[int, int] | None:
        """N and M of an N:M pattern; None if unstructured."""
        if self.pattern == UNSTRUCTURED:
            return None
        keep, _, of = self.pattern.partition(":")
        return int(keep), int(of)

    @property
    def share(self) -> float:
        """Fraction of the blocks' parameters (N:M: of linear weights) to be removed."""
        if self.group:
            return 1 - self.group[0] / self.group[1]
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    def check(self, layout: Layout) -> None:
        for linear in layout.blocks[0].linears.values() if self.group else ():
            if self.group and linear.num_inputs % self.group[1]:
                raise UserError(
                    f"--pattern {self.pattern}: {linear.name} has {linear.num_inputs} inputs, "
                    f"not a multiple of {self.group[1]}."
                )
        if (needed := self.linear_share(layout.blocks[0])) >= 1:
            raise UserError(
                f"--sparsity {self.share:g}: norms and biases stay, and without them the blocks "
                f"cannot lose more than {self.share / needed:.4f} of their parameters."
            )

    def linear_share(self, block: Block) -> float:
        """Fraction of the block's linear weights to remove, so that ``share`` of the block is gone.

        It is slightly above ``share``, since norms and biases are never removed. For an N:M pattern
        it equals ``share``.
        """
        if self.group:
            return self.share
        linear = sum(one.weight.numel() for one in block.linears.values())
        whole = sum(parameter.numel() for parameter in block.module.parameters())
        return float(self.share * whole / linear)

    def apply(
        self, stream: Stream, tokens: Any | None, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        from galenic.models.save import FolderWriter

        checkpoint = stream.checkpoint
        config = stream.layout.model.config
        with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
            writer.write_outer(stream.layout)

            def rewrite_(block: Block, inputs: Mapping[InputName, Statistic]) -> None:
                self.zero_block_([*block.linears.values()], inputs, self.linear_share(block))
                writer.write_block(block)

            self._visit(stream, tokens, rewrite_, advance)
        return writer.checks

    def _visit(
        self,
        stream: Stream,
        tokens: Any | None,
        rewrite_: Callable[[Block, Mapping[InputName, Statistic]], None],
        advance: Callable[[int], None],
    ) -> None:
        if not self.calibrated:
            for index in range(len(stream.layout.blocks)):
                with stream.block(index) as block:
                    rewrite_(block, {})
                advance(index + 1)
            return
        if tokens is None:
            raise ValueError(f"{self.name} needs calibration text")
        from galenic.compression.blocks.walk import walk

        walk(stream, tokens, self.statistic, rewrite_, advance)

    def statistic(self, num_inputs: int) -> Statistic:
        """Create an empty statistic for a linear layer with this number of inputs."""
        raise NotImplementedError(f"{self.name} reads no activations")

    @abstractmethod
    def zero_block_(
        self, linears: Sequence[Linear], inputs: Mapping[InputName, Statistic], share: float
    ) -> None:
        """Set weights of one block's linear layers to zero, in place.

        Args:
            linears: all linear layers of the block.
            inputs: statistics of their inputs; empty unless ``calibrated``.
            share: fraction of their weights to remove; ignored for an N:M pattern.
        """
