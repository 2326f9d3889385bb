"""Base class of distillation methods: a frozen pydantic model whose fields are the options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from galenic.errors import UserError
from galenic.training.config import TrainOptions

if TYPE_CHECKING:
    from galenic.models.checkpoint import Checkpoint
    from galenic.models.layers import Layout
    from galenic.training.batch import TrainItem
    from galenic.training.distill.config import DistillConfig
    from galenic.training.finetune.full import Full
    from galenic.training.finetune.lora import LoRA
    from galenic.training.loop import TrainData
    from galenic.watcher import Watcher

__all__ = ["DistillJob", "Distiller", "HealingText"]


@dataclass(frozen=True)
class DistillJob:
    """A distillation job: student, teacher and working folder.

    Attributes:
        config: settings of the job.
        student: the model to train.
        teacher: the model that it learns from.
        run: folder for the state of the unfinished run.
        watcher: reports progress.
    """

    config: DistillConfig
    student: Checkpoint
    teacher: Checkpoint
    run: Path
    watcher: Watcher

    @cached_property
    def loaded_teacher(self) -> Layout:
        """The teacher in float32, with its original attention until a `Learner` changes it."""
        from galenic.training.loading import load_dense

        self.watcher.stage(f"loading {self.teacher.files.name}")
        return load_dense(self.teacher)


@dataclass(frozen=True)
class HealingText:
    """Training text of a student.

    Attributes:
        data: the texts as tokens.
        described: sources with hashes and sizes, for the manifest.
    """

    data: TrainData
    described: dict[str, Any]


class Distiller(TrainOptions, ABC):
    """A distillation method with its training options.

    Attributes:
        name: name in the registry.
        title: one-line description for users.
        reference_url: URL of the paper.
        calibrated: whether it needs calibration text.
        default_alpha: value of ``alpha`` if none is given.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    calibrated: ClassVar[bool] = True
    default_alpha: ClassVar[float]

    num_samples: int = Field(1000, ge=1, description="Texts per epoch.")
    epochs: int = Field(1, ge=1, description="Passes over the texts.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate.")
    batch_size: int = Field(8, ge=1, description="Texts per optimizer step.")
    batch_tokens: int = Field(
        1024,
        ge=16,
        description="Tokens per forward pass, which bounds the memory; gradients are accumulated "
        "over as many passes as a step needs.",
    )
    alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Weight of the teacher's probabilities in the loss; the rest is cross-entropy "
        "with the text. Default: 1, or 0 with sequence.",
    )
    temperature: float = Field(
        1.0, gt=0, le=100, description="Temperature that softens both models' probabilities."
    )
    rank: int | None = Field(
        None,
        ge=1,
        description="Train LoRA matrices of this rank (alpha: twice the rank) and add them to the "
        "weights at the end; default: train all weights.",
    )
    for_type: str | None = Field(
        None,
        description="With --rank: quantization-aware training for this block type (Q4_0, Q4_K, "
        "IQ4_NL ...), rounded by ggml at each step. `galenic quantize --type TYPE "
        "--no-importance` of the result then stores exactly what was trained.",
    )
    cache_gb: float = Field(
        1.0,
        ge=0,
        description="Maximum disk space in GB for cached teacher activations; texts seen again "
        "then need only the teacher's head.",
    )

    @field_validator("for_type")
    @classmethod
    def _known_type(cls, kind: str | None) -> str | None:
        from galenic.training.finetune.stored import check_type

        return None if kind is None else check_type(kind)

    @model_validator(mode="after")
    def _trains_adapters(self) -> Distiller:
        if self.for_type and self.rank is None:
            raise UserError("--for-type is for adapters: give their --rank as well.")
        return self

    @property
    def share(self) -> float:
        """The value of ``alpha`` in use."""
        return self.default_alpha if self.alpha is None else self.alpha

    @property
    def options(self) -> dict[str, Any]:
        """All options with the values in use, as JSON types."""
        return self.model_dump(mode="json") | {"alpha": self.share}

    @property
    def tuner(self) -> Full | LoRA:
        """Fine-tuning method for the student: LoRA if ``rank`` is set, else all weights."""
        from galenic.training.finetune.full import Full
        from galenic.training.finetune.lora import LoRA

        if self.rank is None:
            return Full.model_validate({})
        settings = {"rank": self.rank, "alpha": 2.0 * self.rank, "for_type": self.for_type}
        return LoRA.model_validate(settings)

    @abstractmethod
    def read(self, config: DistillConfig) -> Any:
        """Read the texts named in the config, before any slow work.

        Raises:
            UserError: no text is named, or a file is missing or damaged.
        """

    @abstractmethod
    def prepare(self, job: DistillJob, sources: Any) -> HealingText:
        """Tokenize the result of `read` for the student.

        Raises:
            UserError: there is too little text, or it is too long for one of the models.
        """


class MixedTexts:
    """Packed text mixed with texts of other sources; a `galenic.training.loop.TrainData`.

    Args:
        items: packed sequences to learn in every epoch.
        heldout: packed sequences for validation.
        more: other training data, which may differ between epochs; None for none.
    """

    def __init__(
        self, items: list[TrainItem], heldout: list[TrainItem], more: TrainData | None = None
    ) -> None:
        self.items, self.more = items, more
        self.heldout: Sequence[TrainItem] = [*heldout, *(more.heldout if more else ())]

    def epoch(self, number: int) -> list[TrainItem]:
        """Return the texts of an epoch."""
        return [*self.items, *(self.more.epoch(number) if self.more else ())]
