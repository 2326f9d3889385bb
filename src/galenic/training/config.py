"""Training options, in a module of their own so that importing them does not load PyTorch."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Precision", "TrainConfig", "TrainOptions"]

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]


class TrainOptions(BaseModel):
    """Training options other than the seed."""

    PANEL: ClassVar[str] = "Training"

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(2e-4, gt=0, le=1, description="Highest learning rate.")
    epochs: int = Field(3, ge=1, description="Passes over the training data.")
    max_steps: int | None = Field(None, ge=1, description="Stop after so many optimizer steps.")
    batch_size: int = Field(16, ge=1, description="Texts in each optimizer step.")
    batch_tokens: int = Field(
        2048,
        ge=16,
        description="Tokens computed at once; a step's gradients are accumulated over as many "
        "such batches as it needs. Bounds the memory.",
    )
    warmup: float = Field(
        0.05, ge=0, le=1, description="Share of all steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    evaluate_every: int = Field(
        50, ge=1, description="Steps between validations on the held-out split."
    )
    patience: int = Field(
        5,
        ge=1,
        description="Stop after so many of these validations in a row without a lower loss.",
    )
    collapse_patience: int = Field(
        3,
        ge=1,
        description="Stop after so many of these validations in a row after the warm-up at which "
        "nearly all predictions are the same answer.",
    )
    checkpoint_every: int = Field(50, ge=1, description="Steps between saved states.")
    gradient_checkpointing: bool = Field(
        False, description="Compute blocks a second time in place of keeping their activations."
    )
    fsdp: bool = Field(
        False,
        description="Spread the weights over the processes (FSDP); else each holds them all (DDP).",
    )
    precision: Precision = Field(
        "auto",
        description="Of products; weights and their sums stay in float32. auto: bfloat16 where the "
        "machine multiplies it faster (GPUs, CPUs with AMX), else float32.",
    )


class TrainConfig(TrainOptions):
    """Training options."""

    seed: int = Field(0, ge=0, description="Of the order of texts and of new weights.")
