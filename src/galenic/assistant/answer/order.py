"""Let a model say which passage fits the question best; it writes nothing.

By the likelihood of the question after the passage's sentences (Ponte and Croft, A Language
Modeling Approach to Information Retrieval, 1998), the same for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, takewhile

from galenic.assistant.answer.extract import Choice
from galenic.runtimes.base import Runtime, encode_requests
from galenic.runtimes.tree import build_pack, sum_by_request

__all__ = ["NEAR", "order", "undecided"]

MOST_CHARACTERS = 400
"""Of a question that is asked."""
NEAR = 0.95
"""Passages whose best sentence is worth this share of the very best are as good as it by words.
Over all passages a small model orders worse than words do (results/answers.md)."""


def undecided(chosen: Sequence[Choice]) -> list[list[Choice]]:
    """The first passages' sentences, passage by passage, as long as words hold them for equal."""
    groups = [list(group) for _, group in groupby(chosen, key=lambda one: one.passage)]
    worths = [max(one.worth for one in group) for group in groups]
    return [
        group
        for group, _ in takewhile(
            lambda pair: pair[1] >= NEAR * max(worths), zip(groups, worths, strict=True)
        )
    ]


def order(
    runtime: Runtime, question: str, chosen: Sequence[Choice], groups: Sequence[Sequence[Choice]]
) -> list[Choice]:
    """The sentences by passage; of the first ones what makes the question likeliest comes first.

    Args:
        runtime: of the model.
        question: as it was asked.
        chosen: all sentences.
        groups: the first of them, as `undecided` gives them.
    """
    asked = " ".join(question.split())[:MOST_CHARACTERS]
    pairs = [(f"{' '.join(one.text for one in group)}\nQuestion:", f" {asked}") for group in groups]
    pack = build_pack(encode_requests(runtime, pairs))
    likely = sum_by_request(pack, runtime.score(pack))
    ranked = sorted(range(len(groups)), key=lambda at: -likely[at])
    rest = chosen[sum(map(len, groups)) :]
    return [one for at in ranked for one in groups[at]] + list(rest)
