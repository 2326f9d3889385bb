"""Learned order of the statements of an entry, and the chance that they answer the question.

A linear model scores each statement by features that name no topic: the field and the asked aspect,
words shared with the question, length and position. A second one, over features of question and
entry, estimates the chance that the statements shown are useful; below a limit nothing is shown.
``tools/train_answers.py`` trains both on graded questions and writes ``ranking.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CONTEXT", "FEATURES", "Ranking", "chance", "ordered", "ranking"]

FEATURES = (
    "rule", "asked_word", "asked_field", "length", "topic", "first", "first_of_field", "number",
    "particular", "shared", "shared_in_entry", "other_half",
)  # fmt: skip
"""Features of a statement, in the order of the columns."""
CONTEXT = (
    "weak", "missed", "strange", "strange_weight", "match", "title", "in_field", "met", "words",
    "best",
)  # fmt: skip
"""Features of a question and an entry, in order; the last is the mean of the best three scores."""
LEAST, FALL = 4, 2.5
"""Number of statements shown in any case; further ones only if their score is at most so much below
the best one's."""
ALIKE = 1.0
"""Deduction for a statement that has all its words in common with a better one."""
SAME, SHORT = 0.6, 5
"""Minimum share of common words for two statements to count as duplicates, and minimum number of
distinct words for them to be compared."""
DIGITS = 9
"""Decimals of the scores that are compared, so that all machines order them alike."""
Vector = np.ndarray[Any, Any]


class Ranking(NamedTuple):
    """The two linear models.

    Attributes:
        statement: weight of each of `FEATURES`, shape (12,).
        context: weight of each of `CONTEXT`, shape (10,).
        bias: intercept of the second model.
        limit: chance below which nothing is shown.
    """

    statement: Vector
    context: Vector
    bias: float
    limit: float

    def scores(self, features: Vector) -> Vector:
        """Return the score of each statement, shape (n,), from its features, shape (n, 12)."""
        return np.asarray(np.round((features * self.statement).sum(1), DIGITS))


@cache
def ranking() -> Ranking:
    """Load the models of the package."""
    text = files("galenic.assistant.answer").joinpath("ranking.json").read_text(encoding="utf-8")
    kept = json.loads(text)
    return Ranking(
        np.array([kept["statement"][name] for name in FEATURES]),
        np.array([kept["context"][name] for name in CONTEXT]),
        kept["bias"],
        kept["limit"],
    )


def chance(model: Ranking, context: Sequence[float], scores: Vector) -> float:
    """Return the chance, from 0 to 1, that the statements of an entry with these scores are useful.

    Args:
        model: the two linear models.
        context: the features of question and entry, without the last.
        scores: the scores of the statements.
    """
    best = float(np.sort(scores)[-3:].mean()) if len(scores) else 0.0
    whole = float(np.dot([*context, best], model.context)) + model.bias
    return float(1 / (1 + np.exp(-whole)))


def ordered(
    scores: Vector, stems: Sequence[frozenset[str]], topic: frozenset[str], most: int
) -> list[int]:
    """Return the indices of the statements to show, best first.

    What is like a statement above it counts less (maximal marginal relevance, Carbonell and
    Goldstein 1998), and near-duplicates are left out.

    Args:
        scores: the score of each statement.
        stems: the stems of each statement.
        topic: stems of the topic, which do not count as common words.
        most: maximum number of statements.
    """
    own = [one - topic for one in stems]
    like = np.zeros(len(scores))
    left = list(range(len(scores)))
    shown: list[int] = []
    while left and len(shown) < most:
        at = max(left, key=lambda one: (scores[one] - ALIKE * like[one], -one))
        left.remove(at)
        if any(_same(stems[at], stems[other]) for other in shown):
            continue
        if len(shown) >= LEAST and scores[at] < scores[shown[0]] - FALL:
            break
        shown.append(at)
        for one in left:
            common = len(own[at] & own[one]) / max(1, len(own[at] | own[one]))
            like[one] = max(like[one], common)
    return shown


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    """Check whether two statements, as sets of stems, are near-duplicates."""
    both = one | other
    return len(both) >= SHORT and len(one & other) >= SAME * len(both)
