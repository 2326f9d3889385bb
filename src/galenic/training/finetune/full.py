"""Full fine-tuning: train the model's own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.models.layers import Layout, read_layout
from galenic.training.finetune.base import Finetuner

__all__ = ["Full", "write_model"]


class Full(Finetuner):
    """Train all weights of the model, or those of its top blocks."""

    name = "full"
    title = "the weights themselves"
    reference_url = "https://arxiv.org/abs/1801.06146"
    saves = "model"

    def prepare(self, layout: Layout, seed: int) -> Any:  # noqa: ARG002  (no new weights)
        layout.model.requires_grad_(self.top_blocks is None)
        for block in self.trained_blocks(layout):
            block.module.requires_grad_(True)
        return layout.model

    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:  # noqa: ARG002
        import torch

        return write_model(model, folder, source, torch.float32)


def write_model(model: Any, folder: Path, source: Path, dtype: Any) -> dict[str, float]:
    """Write a loaded model as an ordinary folder, and check it by reading it back.

    Args:
        model: a transformers model.
        folder: existing folder to write to.
        source: folder to copy tokenizer and licence from.
        dtype: ``torch.dtype`` of the stored weights.

    Raises:
        UserError: the weights read back differ from those written.
    """
    import torch

    from galenic.models.save import FolderWriter

    layout = read_layout(model)
    with torch.no_grad(), FolderWriter(folder, model.config, source, dtype) as writer:
        writer.write_outer(layout)
        for block in layout.blocks:
            writer.write_block(block)
    return writer.checks
