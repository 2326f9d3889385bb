"""Options of `galenic encoder`."""

from __future__ import annotations

from pydantic import Field

from galenic.training.config import TrainConfig
from galenic.training.finetune.config import SourcesConfig

__all__ = ["EncoderConfig"]


class EncoderConfig(TrainConfig, SourcesConfig):
    """The encoder, the questions, and training options."""

    model: str = Field(
        description="The encoder: a Hugging Face folder or a Hub id (BERT, RoBERTa, DeBERTa-v2, "
        "MPNet, ModernBERT ...), with or without a multiple-choice head."
    )
    train: str = Field(
        "benchmarks:train",
        description="Training questions, comma-separated: benchmarks:train, medqa, medmcqa=0.5 "
        "(half as often), FILE.jsonl.",
    )
    data: str | None = Field(
        None,
        description="Folder with the data files; without it they come from the Hugging Face Hub.",
    )
    max_length: int | None = Field(
        None,
        ge=16,
        description="Maximum tokens of a question with one option; longer questions are cut at "
        "the beginning, in evaluation too. Default: the encoder's limit.",
    )
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak learning rate.")
    threads: int | None = Field(None, ge=1, description="Compute threads; default: the idle cores.")
