"""The learned order of statements: by hand, and what it leaves out."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import numpy as np
import pytest

from galenic.assistant.answer.choose import MOST, choose
from galenic.assistant.answer.consider import consider
from galenic.assistant.answer.ranking import (
    CONTEXT,
    FEATURES,
    LEAST,
    Ranking,
    chance,
    ordered,
    ranking,
)
from galenic.assistant.answer.reading import read_question
from galenic.assistant.handbook.topics import topics

ONE = Ranking(np.arange(12.0), np.array([0.0] * 9 + [2.0]), -1.0, 0.5)


def stems(*texts: str) -> list[frozenset[str]]:
    return [frozenset(text.split()) for text in texts]


def test_the_weights_are_named_as_the_features_are() -> None:
    text = files("galenic.assistant.answer").joinpath("ranking.json").read_text(encoding="utf-8")
    kept = json.loads(text)
    assert tuple(kept["statement"]) == FEATURES
    assert tuple(kept["context"]) == CONTEXT
    assert ranking().limit == kept["limit"] > 0


def test_scores_and_chance_by_hand() -> None:
    features = np.eye(12)[[1, 3, 2, 0]]
    assert ONE.scores(features).tolist() == [1.0, 3.0, 2.0, 0.0]
    best = (3 + 2 + 1) / 3  # of four, the best three
    expected = 1 / (1 + math.exp(-(2 * best - 1)))
    assert chance(ONE, (0.0,) * 9, ONE.scores(features)) == pytest.approx(expected)
    assert chance(ONE, (0.0,) * 9, np.array([])) == pytest.approx(1 / (1 + math.e))


def test_the_best_come_first_and_what_is_like_them_counts_less() -> None:
    told = stems("a b c d", "a b c e f", "x y z")
    assert ordered(np.array([1.0, 0.9, 0.7]), told, frozenset(), 3) == [0, 2, 1]
    assert ordered(np.array([1.0, 0.9, 0.7]), told, frozenset("abc"), 3) == [0, 1, 2]
    assert ordered(np.array([0.5, 0.5]), stems("a", "b"), frozenset(), 2) == [0, 1]


def test_near_duplicates_and_what_is_far_below_are_left_out() -> None:
    alike = stems("a b c d e", "a b c d e f", "x y")
    assert ordered(np.array([1.0, 0.9, 0.1]), alike, frozenset(), 3) == [0, 2]
    many = stems(*(f"w{at}" for at in range(9)))
    falling = np.array([5.0, *[1.0] * 8])
    assert ordered(falling, many, frozenset(), 8) == list(range(LEAST))
    assert len(ordered(np.ones(9), many, frozenset(), 8)) == 8


def test_below_the_limit_there_is_no_answer() -> None:
    reading = read_question(topics(), "what helps a sore throat")
    told = choose(reading)
    assert 0 < len(told) <= MOST
    assert choose(reading, ranking()._replace(limit=1.0)) == []
    assert choose(reading, ranking()._replace(limit=0.0)) == told


def test_the_features_of_an_entry_by_hand() -> None:
    reading = read_question(topics(), "does honey help a cough")
    one = consider(reading.matches[0], reading)
    column = one.features[:, FEATURES.index("particular")]
    honey = [float("honey" in place.statement.text.lower()) for place in one.places]
    assert sum(honey)
    assert column.tolist() == honey
    assert one.features[:, FEATURES.index("first")].tolist() == [1.0] + [0.0] * (len(honey) - 1)
    assert one.context[CONTEXT.index("strange")] == 0
    foreign = read_question(topics(), "does marzipan help a cough")
    strange = consider(foreign.matches[0], foreign).context[CONTEXT.index("strange")]
    assert strange == pytest.approx(1 / 3)
