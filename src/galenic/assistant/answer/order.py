"""Let a model say which passage fits the question best; it writes nothing.

By the likelihood of the question after the passage's sentences (Ponte and Croft, A Language
Modeling Approach to Information Retrieval, 1998), the same for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from galenic.assistant.answer.extract import Choice
from galenic.runtimes.base import Runtime, encode_requests
from galenic.runtimes.tree import build_pack, sum_by_request

__all__ = ["order"]

MOST_CHARACTERS = 400
"""Of a question that is asked."""


def order(runtime: Runtime, question: str, chosen: Sequence[Choice]) -> list[Choice]:
    """The sentences by passage, first the one after which the question is likeliest."""
    groups = [list(group) for _, group in groupby(chosen, key=lambda one: one.passage)]
    if len(groups) < 2:
        return list(chosen)
    asked = " ".join(question.split())[:MOST_CHARACTERS]
    pairs = [(f"{' '.join(one.text for one in group)}\nQuestion:", f" {asked}") for group in groups]
    pack = build_pack(encode_requests(runtime, pairs))
    likely = sum_by_request(pack, runtime.score(pack))
    ranked = sorted(range(len(groups)), key=lambda at: -likely[at])
    return [one for at in ranked for one in groups[at]]
