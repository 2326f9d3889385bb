"""Base class of fine-tuning methods: a frozen pydantic model whose fields are the options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from galenic.errors import UserError
from galenic.models.layers import Block, Layout

if TYPE_CHECKING:
    from galenic.models.checkpoint import Checkpoint

__all__ = ["Finetuner"]


class Finetuner(BaseModel, ABC):
    """A fine-tuning method: which parameters are trained, and how they are saved.

    Attributes:
        name: name in the registry.
        title: one-line description for users.
        reference_url: URL of the paper.
        saves: what `save` writes: ``"model"``, or ``"adapter"`` for an adapter without the base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    saves: ClassVar[str]

    top_blocks: int | None = Field(
        None,
        ge=1,
        description="Train only this many blocks, counted from the output, with the others "
        "frozen; default: all.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """All options with the values in use, as JSON types."""
        return self.model_dump(mode="json")

    def check(self, layout: Layout) -> None:
        """Raise UserError if the model cannot be trained with these options; needs shapes only."""
        if self.top_blocks is not None and self.top_blocks > len(layout.blocks):
            raise UserError(
                f"--top-blocks {self.top_blocks}: the model has {len(layout.blocks)} blocks."
            )

    def trained_blocks(self, layout: Layout) -> Sequence[Block]:
        """Return the blocks to train, from lowest to highest."""
        return layout.blocks[-(self.top_blocks or len(layout.blocks)) :]

    def load(self, checkpoint: Checkpoint) -> Layout:
        """Load the model in the form in which it is trained."""
        from galenic.training.loading import load_dense

        return load_dense(checkpoint)

    @abstractmethod
    def prepare(self, layout: Layout, seed: int) -> Any:
        """Prepare a loaded model so that exactly the parameters to train require gradients.

        Args:
            layout: layout of the model; its modules may be replaced.
            seed: random seed for new weights.

        Returns:
            The model to use instead of ``layout.model``.
        """

    @abstractmethod
    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:
        """Write the trained model or adapter into an existing folder.

        Args:
            model: the model returned by `prepare`.
            folder: folder to write to.
            base: name of the base model.
            source: folder of the base model.

        Returns:
            Results of checks, by name.
        """
