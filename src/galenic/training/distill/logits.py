"""Logit distillation: the student learns the teacher's next-token distributions on plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.data.calibration import (
    CalibrationConfig,
    CalibrationText,
    medical_texts,
    plain_texts,
    split_text,
)
from galenic.errors import UserError
from galenic.training.distill.base import Distiller, DistillJob, HealingText, MixedTexts

if TYPE_CHECKING:
    from galenic.models.checkpoint import Checkpoint
    from galenic.training.batch import TrainItem
    from galenic.training.distill.config import DistillConfig
    from galenic.training.finetune.texts import TrainingSources

__all__ = ["Logits"]


@dataclass(frozen=True)
class PlainSources:
    """Plain text before tokenization.

    Attributes:
        train: texts to learn from.
        heldout: texts for validation; share no document and no topic with ``train``.
        more: sources named by ``--train``; None if there are none.
    """

    train: tuple[CalibrationText, ...]
    heldout: tuple[CalibrationText, ...]
    more: TrainingSources | None


class Logits(Distiller):
    """Learn the teacher's probability distribution over the next token, at every token of text."""

    name = "logits"
    title = "the teacher's probabilities of every token"
    reference_url = "https://arxiv.org/abs/1503.02531"
    default_alpha = 1.0  # cross-entropy would pull the student away from the teacher

    def read(self, config: DistillConfig) -> PlainSources:
        from galenic.training.finetune.texts import read_sources

        train, heldout = [], []
        if config.data is not None:
            train.append(medical_texts(config.data, "calibration"))
            heldout.append(medical_texts(config.data, "heldout"))
        if config.text is not None:
            own, apart = split_text(plain_texts(Path(config.text)))
            train.append(own)
            heldout.append(apart)
        if not train:
            raise UserError(
                "healing needs text: --data DIR with medquad/medquad.jsonl.gz in it, --text FILE "
                "with text of your own, or both (half of each). To try it out: --data sample."
            )
        more = read_sources(config) if config.train else None
        return PlainSources(tuple(train), tuple(heldout), more)

    def prepare(self, job: DistillJob, sources: PlainSources) -> HealingText:
        from galenic.training.finetune.texts import prepare_texts

        config, student = job.config, job.student
        longest = int(job.teacher.shapes.model.config.max_position_embeddings)
        if config.seq_len > longest:
            raise UserError(f"--seq-len {config.seq_len}: the teacher takes at most {longest}.")
        job.watcher.stage("encoding the text")
        items, described = _items(config, self.num_samples, sources.train, student)
        heldout, apart = _items(config, config.num_heldout, sources.heldout, student)
        described["heldout"] = apart
        if sources.more is None:
            return HealingText(MixedTexts(items, heldout), described)
        more = prepare_texts(config, sources.more, student, job.run, config.seed, job.watcher)
        described["train"] = more.described
        return HealingText(MixedTexts(items, heldout, more.data), described)


def _items(
    config: DistillConfig, count: int, texts: Sequence[CalibrationText], student: Checkpoint
) -> tuple[list[TrainItem], dict[str, Any]]:
    """Cut text into sequences without padding; every token but the first is supervised."""
    from galenic.compression.blocks.tokens import describe_text, pack_tokens
    from galenic.training.batch import TrainItem

    cut = CalibrationConfig(
        data=config.data,
        text=config.text,
        num_samples=count,
        seq_len=config.seq_len,
        seed=config.seed,
    )
    tokens = pack_tokens(cut, texts, student)
    items = [TrainItem(tuple(row), 1) for row in tokens.tolist()]
    return items, describe_text(cut, texts, tokens)
