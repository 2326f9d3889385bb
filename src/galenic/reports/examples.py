"""Example questions of a row: its most confident right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.evaluation.records import Record
from galenic.reports.rows import Row, group_of
from galenic.reports.runs import LoadedRun
from galenic.reports.text import shorten

__all__ = ["Shown", "ShownOption", "pick_examples"]

QUESTION_WIDTH = 900
TEXT_WIDTH = 400


@dataclass(frozen=True)
class ShownOption:
    """One option of an example; ``probability`` is None for generated answers."""

    label: str
    text: str
    probability: float | None
    gold: bool
    chosen: bool


@dataclass(frozen=True)
class Shown:
    """An example: question, options and, for generated answers, the model's text."""

    id: str
    question: str
    options: tuple[ShownOption, ...]
    correct: bool
    prediction: str | None
    generated: str | None


def pick_examples(run: LoadedRun, row: Row, count: int = 3) -> list[Shown]:
    """Return the ``count`` most confident right answers, then as many wrong ones.

    Without probabilities, the first ones in the record file are used.
    """
    records = group_of(run, row)
    chosen: list[Record] = []
    for correct in (True, False):
        chosen += _most_confident([r for r in records if r.correct == correct])[:count]
    return [_show(run, record) for record in chosen]


def _most_confident(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: -max(record.probabilities.values(), default=0.0))


def _show(run: LoadedRun, record: Record) -> Shown:
    item = run.items[record.benchmark, record.id]
    options = tuple(
        ShownOption(
            label=label,
            text="" if text == label else shorten(text, TEXT_WIDTH),
            probability=record.probabilities.get(label),
            gold=label == record.gold,
            chosen=label == record.prediction,
        )
        for label, text in item.options.items()
    )
    return Shown(
        id=record.id,
        question=shorten(item.question, QUESTION_WIDTH),
        options=options,
        correct=record.correct,
        prediction=record.prediction,
        generated=None if record.text is None else shorten(record.text, TEXT_WIDTH),
    )
