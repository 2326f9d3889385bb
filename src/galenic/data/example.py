"""The multiple-choice question type shared by all benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Example"]


@dataclass(frozen=True)
class Example:
    """A question with labelled options and one right answer.

    Attributes:
        id: unique within its benchmark and split.
        question: the question itself, without options.
        context: text to read first (an abstract, a vignette), or None.
        options: label to text in the order shown, for example ``{"A": "Aspirin", ...}``.
        answer: label of the correct option.
        meta: all other fields of the source (subject, topic, year ...); never part of a prompt.
    """

    id: str
    question: str
    context: str | None
    options: Mapping[str, str]
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)
