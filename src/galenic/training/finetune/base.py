"""What a fine-tuning method is: a frozen class whose fields are its options."""

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
    """A choice of the parameters that are trained, and a way to save them.

    Attributes:
        name: registry name.
        title: one line for people.
        reference_url: the paper.
        saves: what `save` writes: a whole ``"model"``, or an ``"adapter"`` to lay over the base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    saves: ClassVar[str]

    top_blocks: int | None = Field(
        None,
        ge=1,
        description="Train only so many blocks, counted from the output; the others stay as they "
        "are. None trains all.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """Every option with the value that is used, as JSON has it."""
        return self.model_dump(mode="json")

    def check(self, layout: Layout) -> None:
        """Raise UserError if this model cannot be trained so. Needs no weights, only shapes."""
        if self.top_blocks is not None and self.top_blocks > len(layout.blocks):
            raise UserError(
                f"--top-blocks {self.top_blocks}: the model has {len(layout.blocks)} blocks."
            )

    def trained_blocks(self, layout: Layout) -> Sequence[Block]:
        """The blocks that are trained, the lowest first."""
        return layout.blocks[-(self.top_blocks or len(layout.blocks)) :]

    def load(self, checkpoint: Checkpoint) -> Layout:
        """The model in memory, as it is trained."""
        from galenic.training.loading import load_dense

        return load_dense(checkpoint)

    @abstractmethod
    def prepare(self, layout: Layout, seed: int) -> Any:
        """Change a loaded model so that what is to be trained, and only that, requires gradients.

        Args:
            layout: of the model; its modules may be replaced.
            seed: of new weights.

        Returns:
            The model to call in place of ``layout.model``.
        """

    @abstractmethod
    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:
        """Write what was trained into an existing folder.

        Args:
            model: what `prepare` returned.
            folder: to write to.
            base: name of the model it was made from.
            source: folder of that model.

        Returns:
            What was checked, with the values found.
        """
