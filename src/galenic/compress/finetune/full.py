"""Training the weights themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from galenic.compress.finetune.base import Finetuner
from galenic.models.layers import Layout, read_layout
from galenic.models.save import FolderWriter

__all__ = ["Full"]


class Full(Finetuner):
    """All weights of the model, or those of its top blocks."""

    name = "full"
    title = "the weights themselves"
    reference_url = "https://arxiv.org/abs/1801.06146"
    saves = "model"

    def prepare(self, layout: Layout, seed: int) -> Any:  # noqa: ARG002  (nothing new is drawn)
        layout.model.requires_grad_(self.top_blocks is None)
        for block in self.trained_blocks(layout):
            block.module.requires_grad_(True)
        return layout.model

    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:  # noqa: ARG002
        layout = read_layout(model)
        with torch.no_grad(), FolderWriter(folder, model.config, source, torch.float32) as writer:
            writer.write_outer(layout)
            for block in layout.blocks:
                writer.write_block(block)
        return writer.checks
