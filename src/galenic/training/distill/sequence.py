"""Sequence distillation: the teacher answers the training prompts, the student learns the answers.

The answers are text, so teacher and student may have different tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pydantic import Field

from galenic.errors import UserError
from galenic.training.distill.answers import AnswerBook, answer_all, continue_greedily
from galenic.training.distill.base import Distiller, DistillJob, HealingText, MixedTexts
from galenic.training.distributed import num_local

if TYPE_CHECKING:
    from galenic.models.encoders.text_encoder import TextEncoder
    from galenic.training.batch import TrainItem
    from galenic.training.distill.answers import TeacherAnswer
    from galenic.training.distill.config import DistillConfig
    from galenic.training.finetune.texts import TrainingSources
    from galenic.training.sources import TrainingSet

__all__ = ["ANSWERS", "Sequence", "choose_prompts", "learn_answers"]

ANSWERS = "answers.jsonl"
ANSWERED_AT_ONCE = 16
PROMPTS = "medquad"
"""Default source of prompts, if ``--train`` is not given."""


class Sequence(Distiller):
    """Learn the teacher's own answers to the training prompts."""

    name = "sequence"
    title = "the teacher's answers"
    reference_url = "https://arxiv.org/abs/1606.07947"
    default_alpha = 0.0

    answer_tokens: int = Field(128, ge=1, description="Maximum tokens per teacher answer.")

    def read(self, config: DistillConfig) -> TrainingSources:
        from galenic.training.finetune.texts import read_sources

        return read_sources(_with_prompts(config))

    def prepare(self, job: DistillJob, sources: TrainingSources) -> HealingText:
        from galenic.models.encoders.text_encoder import TextEncoder
        from galenic.training.finetune.texts import keep_untested

        config = _with_prompts(job.config)
        kept = keep_untested(config, sources, job.run, job.watcher)
        train = choose_prompts(kept, self.num_samples, config.seed, heldout=False)
        heldout = choose_prompts(kept, config.num_heldout, config.seed, heldout=True)
        book = self._answered(job, [*train, *heldout])
        encoder = TextEncoder(job.student.folder, job.student.files.kind)
        longest = int(job.student.shapes.model.config.max_position_embeddings)
        items, apart = (
            learn_answers(prompts, [book.get(one) for one in prompts], encoder, longest)
            for prompts in (train, heldout)
        )
        if not items or not apart:
            raise UserError(
                "the teacher has no answer to any of the prompts, or of those held out."
            )
        described = {
            "sources": [{"source": one.name, "sha256": one.sha256} for one in kept],
            "documents": len(items),
            "heldout": len(apart),
            "unfinished": sum(not book.get(prompt).finished for prompt in train),
            "seed": config.seed,
        }
        return HealingText(MixedTexts(items, apart), described)

    def _answered(self, job: DistillJob, prompts: Many[str]) -> AnswerBook:
        """Return a book with answers to all prompts, computing those that are missing."""
        path = Path(job.config.answers) if job.config.answers else job.run / ANSWERS
        book = AnswerBook(path, job.teacher.files.sha256, self.answer_tokens)
        waiting = book.missing(prompts)
        if waiting and num_local() > 1:
            raise UserError(
                f"{len(waiting):,} prompts have no answer yet, and one process must write them: "
                "begin without torchrun, and stop it when training begins."
            )
        if waiting:
            from galenic.models.encoders.text_encoder import TextEncoder

            layout = job.loaded_teacher
            encoder = TextEncoder(job.teacher.folder, job.teacher.files.kind)
            total = len(set(prompts))
            job.watcher.stage("the teacher answers", total=total, done=total - len(waiting))
            answer_all(
                book,
                prompts,
                lambda some: continue_greedily(layout.model, encoder, some, self.answer_tokens),
                ANSWERED_AT_ONCE,
                job.watcher.advance,
            )
        return book


def choose_prompts(sets: Many[TrainingSet], count: int, seed: int, *, heldout: bool) -> list[str]:
    """Choose random prompts of training sets, without duplicates within a set.

    Args:
        sets: the sources.
        count: maximum number of prompts in total; if ``heldout``, per source.
        seed: random seed.
        heldout: choose from the held-out rows instead of the training rows.
    """
    chosen: list[str] = []
    rng = Random(f"{seed}/prompts")  # noqa: S311
    for one in sets:
        texts = one.heldout_texts() if heldout else one.texts(seed=seed, epoch=0)
        prompts = list(dict.fromkeys(text.prompt for text in texts))
        rng.shuffle(prompts)
        chosen += prompts[:count] if heldout else prompts
    if not heldout:
        rng.shuffle(chosen)
    return chosen if heldout else chosen[:count]


def learn_answers(
    prompts: Many[str], answers: Many[TeacherAnswer], encoder: TextEncoder, longest: int
) -> list[TrainItem]:
    """Tokenize prompts with their answers; the answer is supervised, and the end if it is finished.

    Prompts with an empty answer, or of ``longest`` tokens or more, are left out.
    """
    from galenic.runtimes.base import encode_requests
    from galenic.training.batch import TrainItem

    pairs = [(p, f" {a.text}") for p, a in zip(prompts, answers, strict=True) if a.text]
    ends = [encoder.end if answer.finished else [] for answer in answers if answer.text]
    items = []
    for request, end in zip(encode_requests(encoder, pairs), ends, strict=True):
        tokens = (*request.tokens, *end)[:longest]
        if request.start < len(tokens):
            items.append(TrainItem(tokens, request.start))
    return items


def _with_prompts(config: DistillConfig) -> DistillConfig:
    """Return the config with the default source of prompts if none is given."""
    return config.model_copy(update={"train": config.train or PROMPTS})
