"""Related words: a statement about "exercise" answers a question about "walking".

The table of words is in ``meanings.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from galenic.assistant.handbook.topics import name_stems

__all__ = ["says"]


def says(word: str, has: frozenset[str] | set[str]) -> bool:
    """Check whether a statement contains a word of the question, or one related to it.

    Args:
        word: a stem of the question.
        has: the stems of the statement.
    """
    return word in has or not has.isdisjoint(_meanings().get(word, frozenset()))


@cache
def _meanings() -> Mapping[str, frozenset[str]]:
    """Load ``meanings.yaml``: for each stem of a question, the stems of related words."""
    text = files("galenic.assistant.answer").joinpath("meanings.yaml").read_text(encoding="utf-8")
    found: dict[str, frozenset[str]] = {}
    for asked, told in yaml.safe_load(text).items():
        stems = frozenset(stem for word in told for stem in name_stems(word))
        for word in asked.split():
            for stem in name_stems(word):
                found[stem] = found.get(stem, frozenset()) | stems
    return found
