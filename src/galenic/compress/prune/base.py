"""What a pruning method is: a frozen class whose fields are its knobs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from galenic.errors import UserError
from galenic.models.layers import InputName, Layout, Linear

if TYPE_CHECKING:
    from galenic.compress.statistics import Statistic

__all__ = ["Pruner", "ZeroingPruner"]

UNSTRUCTURED = "unstructured"
DEFAULT_SPARSITY = 0.2


class Pruner(BaseModel, ABC):
    """A way of removing parameters from the blocks of a model.

    Attributes:
        name: registry name.
        title: one line for people.
        reference_url: the paper.
        calibrated: whether it needs calibration text.
        shrinks: whether the checkpoint becomes smaller (otherwise zeros are left in place).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    calibrated: ClassVar[bool]
    shrinks: ClassVar[bool]

    @property
    def knobs(self) -> dict[str, Any]:
        """Every knob with the value that is used, as JSON has it."""
        return self.model_dump(mode="json")

    @abstractmethod
    def check(self, layout: Layout) -> None:
        """Raise UserError if this model cannot be pruned so. Needs no weights, only shapes."""

    @abstractmethod
    def apply_(self, layout: Layout, tokens: Any | None, advance: Callable[[int], None]) -> None:
        """Prune the model in place.

        Args:
            layout: the model.
            tokens: calibration text, shape (num_samples, seq_len); None unless ``calibrated``.
            advance: told after each block how many are done.
        """


class ZeroingPruner(Pruner):
    """Sets weights of the blocks' linear maps to zero, one block after the other."""

    shrinks = False

    sparsity: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of each linear layer's weights to remove, at least 0 and below 1; "
        f"default {DEFAULT_SPARSITY}, or what an N:M pattern says.",
    )
    pattern: str = Field(
        UNSTRUCTURED,
        description="unstructured, or N:M (2:4, 4:8 ...): of each M neighbouring inputs N are "
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
    def knobs(self) -> dict[str, Any]:
        return super().knobs | {"sparsity": self.share}

    @property
    def group(self) -> tuple[int, int] | None:
        """N and M of an N:M pattern."""
        if self.pattern == UNSTRUCTURED:
            return None
        keep, _, of = self.pattern.partition(":")
        return int(keep), int(of)

    @property
    def share(self) -> float:
        """The share of weights that will be removed."""
        if self.group:
            return 1 - self.group[0] / self.group[1]
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    def check(self, layout: Layout) -> None:
        for linear in layout.blocks[0].linears.values() if self.group else ():
            if self.group and linear.num_inputs % self.group[1]:
                raise UserError(
                    f"--pattern {self.pattern}: {linear.name} has {linear.num_inputs} inputs, "
                    f"which groups of {self.group[1]} do not divide."
                )

    def apply_(self, layout: Layout, tokens: Any | None, advance: Callable[[int], None]) -> None:
        if not self.calibrated:
            for block in layout.blocks:
                self.zero_block_(list(block.linears.values()), {})
                advance(block.index + 1)
            return
        if tokens is None:
            raise ValueError(f"{self.name} needs calibration text")
        from galenic.compress.calibrate import walk

        walk(
            layout,
            tokens,
            self.statistic,
            lambda block, inputs: self.zero_block_(list(block.linears.values()), inputs),
            advance,
        )

    def statistic(self, num_inputs: int) -> Statistic:
        """An empty statistic of what a linear map with so many inputs reads."""
        raise NotImplementedError(f"{self.name} reads no activations")

    @abstractmethod
    def zero_block_(self, linears: Sequence[Linear], inputs: Mapping[InputName, Statistic]) -> None:
        """Remove weights of one block's linear maps, knowing what they read.

        Args:
            linears: the seven of the block.
            inputs: what ``statistic`` gathered; empty unless ``calibrated``.
        """
