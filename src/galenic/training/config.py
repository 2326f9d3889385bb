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

    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate.")
    epochs: int = Field(3, ge=1, description="Passes over the training data.")
    max_steps: int | None = Field(None, ge=1, description="Maximum number of optimizer steps.")
    batch_size: int = Field(16, ge=1, description="Texts per optimizer step.")
    batch_tokens: int = Field(
        2048,
        ge=16,
        description="Tokens per forward pass, which bounds the memory; gradients are accumulated "
        "over as many passes as a step needs.",
    )
    warmup: float = Field(
        0.05, ge=0, le=1, description="Fraction of all steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    evaluate_every: int = Field(
        50, ge=1, description="Steps between validations on the held-out split."
    )
    patience: int = Field(
        5,
        ge=1,
        description="Stop after this many validations in a row without a lower loss.",
    )
    collapse_patience: int = Field(
        3,
        ge=1,
        description="Stop after this many validations in a row (after the warm-up) in which "
        "nearly all predictions are the same answer.",
    )
    checkpoint_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    gradient_checkpointing: bool = Field(
        False,
        description="Recompute activations in the backward pass instead of keeping them: "
        "less memory, slower.",
    )
    fsdp: bool = Field(
        False,
        description="Shard the weights over the processes (FSDP); without it each process holds "
        "all (DDP).",
    )
    precision: Precision = Field(
        "auto",
        description="Precision of matrix products; weights and their sums stay in float32. auto: "
        "bfloat16 where the machine multiplies it faster (GPUs, CPUs with AMX), else "
        "float32.",
    )


class TrainConfig(TrainOptions):
    """Training options."""

    seed: int = Field(0, ge=0, description="Random seed.")
