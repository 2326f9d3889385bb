"""Fine-tuning as a stage of a recipe: one entry has all settings of method, texts and training.

    - {stage: finetune, method: lora, train: "benchmarks:train", max_steps: 300, top_blocks: 10}

The result is always a model: an adapter is merged before it is saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from galenic.artifact.manifest import Manifest
from galenic.data.calibration import CalibrationConfig
from galenic.errors import UserError
from galenic.models.layers import Layout
from galenic.training.config import TrainConfig
from galenic.training.finetune.config import CacheConfig, FinetuneConfig, TextsConfig
from galenic.training.finetune.full import Full, write_model
from galenic.training.finetune.lora import LoRA
from galenic.watcher import Watcher

__all__ = ["FullStage", "LoRAStage", "StageConfig", "tune"]

OUTSIDE = ("data", "model", "method", "cache_folder", "threads")
"""Settings that are not part of a recipe: those set by the command, or specific to the machine."""


class StageConfig(CalibrationConfig):
    """The model and the data folder; the calibration text is not read."""

    model: str = Field(description="As everywhere.")
    method: str = Field("lora", description="lora or full.")


class _Settings(CacheConfig, TrainConfig, TextsConfig):
    """Settings for texts and training, in addition to the options of the method."""

    calibrated: ClassVar[bool] = False
    whole_texts: ClassVar[bool] = False

    train: str = Field(min_length=1, description="What to learn from, as --train takes it.")
    data: None = Field(None, exclude=True, description="Named by --data of the command.")


class FullStage(_Settings, Full):
    """Full fine-tuning as a stage."""


class LoRAStage(_Settings, LoRA):
    """LoRA as a stage; the adapter is merged at the end."""

    saves = "model"

    def check(self, layout: Layout) -> None:
        super().check(layout)
        if self.base_bits is not None:
            raise UserError("base_bits: what follows in a recipe needs a dense base; leave it out.")
        if self.for_type is not None:
            raise UserError(
                "for_type: what a recipe writes would be rounded twice; use `galenic finetune`, "
                "`merge` and `quantize` one after the other."
            )

    def save(self, model: Any, folder: Path, *, base: str, source: Path) -> dict[str, float]:  # noqa: ARG002
        import torch

        merged = model.merge_and_unload(safe_merge=True)
        return write_model(merged, folder, source, torch.float32)


def tune(config: StageConfig, method: Any, output: Path, watcher: Watcher) -> Manifest:
    """Fine-tune a model and write it; see `galenic.training.finetune.run.finetune`."""
    from galenic.training.finetune.run import finetune

    settings = {
        name: getattr(method, name) for name in FinetuneConfig.model_fields if name not in OUTSIDE
    }
    whole = FinetuneConfig(**settings, data=config.data, model=config.model, method=config.method)
    return finetune(whole, method, output, watcher).alone
