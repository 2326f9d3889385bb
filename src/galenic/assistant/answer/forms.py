"""Equivalent forms of a sentence: active or passive voice, moved clauses, clauses, shorter lists.

A claim that drops a qualifier ("a fever needs help" from "a fever with a stiff neck needs help") or
reverses a relation ("warts cause a virus") has no form in common with its source. Forms are
generated with regular expressions, without a parser; constructions that these do not cover are
rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

__all__ = ["clauses", "forms"]

Stems = Callable[[str], Sequence[str]]
"""Function that returns the stems of a text's content words, in order."""
_FRONT = re.compile(
    r"^(?P<front>(?:if|when|once|unless|until|after|before|in|on|for|with|during|because|at)\b[^,]+),"
    r"\s*(?P<rest>.+)$",
    re.I,
)
_PASSIVE = re.compile(
    r"^(?P<patient>.+?)\b(?:is|are|be|being|been|was|were)\s+(?:\w+ly\s+|also\s+|often\s+)?"
    r"(?P<verb>\w+(?:ed|en|wn|ught|ept|elt|eld|rn))\b(?P<rest>.*)$",
    re.I,
)
_AGENT = re.compile(r"^(?P<rest>.*?)\b(?P<how>by|with)\b(?P<agent>.+)$", re.I)
_CLAUSES = re.compile(
    r";|,?\s+\b(?:but|because|although|though|so)\b|,\s+(?:and|then|which|not|as)\b", re.I
)
_CONDITION = re.compile(
    r"\b(?:if|unless|until|when|only|except|during|once|provided|after|before)\b", re.I
)
_LEFT_BARE = re.compile(r"^\s*(?:it|they|this|that|these|those|he|she|them|its)\b", re.I)
_VERB = re.compile(
    r"\b(?:cause|causes|include|includes|contain|contains|make|makes|bring|brings|lead to|leads to|"
    r"triggers?|have|has|wash|rinse|cover|rest|eat)\b",
    re.I,
)
_DENIES = re.compile(
    r"\b(?:not|no|never|nor|without|\w+n't|avoid|both|between|together|mix|with|or|than)\b", re.I
)
_JOINED = re.compile(r"\b(\w+) (?:of|in|on) (?:the |a |an |your |its )?(\w+)\b", re.I)
MOST_ITEMS = 5
"""One more than the maximum number of items that are kept of a list."""


def clauses(sentence: str) -> Iterator[str]:
    """Yield a sentence, and each of its clauses that can stand alone.

    Clauses that depend on a condition elsewhere in the sentence, or that begin with a pronoun, are
    left out. Lists are also yielded with fewer items.
    """
    yield sentence
    parts = [part.strip() for part in _CLAUSES.split(sentence.rstrip(" .!?"))]
    for at, part in enumerate(parts):
        others = parts[:at] + parts[at + 1 :]
        bare = len(part.split()) <= 2 or _LEFT_BARE.match(part)
        if others and not bare and not any(_CONDITION.search(one) for one in others):
            yield part
    yield from _shorter_lists(sentence)


def _shorter_lists(sentence: str) -> Iterator[str]:
    """Yield a sentence with fewer items: "It causes thirst" for "It causes thirst and tiredness".

    Sentences with negations or conditions are left out.
    """
    verb = _VERB.search(sentence)
    if verb is None or _DENIES.search(sentence) or _CONDITION.search(sentence):
        return
    head, tail = sentence[: verb.end()], sentence[verb.end() :].rstrip(" .!?")
    items = re.split(r",\s*(?:and\s+)?|\s+and\s+", tail)
    for size in range(1, min(len(items), MOST_ITEMS)):
        for some in combinations(items, size):
            yield f"{head} {' and '.join(some)}"


def forms(sentence: str, stems: Stems) -> set[tuple[str, ...]]:
    """Return the content words of a sentence in the order of each equivalent form.

    A passive is turned into an active sentence, and clauses at the front ("If it hurts, rest") are
    moved to the end. Two sentences with a form in common say the same.

    Args:
        sentence: one or more clauses.
        stems: returns the stems of a text's content words, in order.
    """
    text = sentence.strip().rstrip(".!?")
    if front := _FRONT.match(text):
        text = f"{front['rest']} {front['front']}"
    found = {tuple(stems(said)) for said in _active(text)}
    for joined in _JOINED.finditer(text):
        turned = text[: joined.start()] + f"{joined[2]} {joined[1]}" + text[joined.end() :]
        found |= {tuple(stems(said)) for said in _active(turned)}
    return found


def _active(text: str) -> list[str]:
    """Return a passive sentence in the active voice; any other sentence unchanged.

    "Warts are caused by a virus" gives "a virus caused warts". If "with" may introduce the agent or
    not, both readings are returned.
    """
    passive = _PASSIVE.match(text)
    if passive is None:
        return [text]
    patient, verb, rest = passive["patient"], passive["verb"], passive["rest"]
    bare = f"{verb} {patient} {rest}"
    agent = _AGENT.match(rest)
    if agent is None:
        return [bare]
    active = f"{agent['agent']} {verb} {patient} {agent['rest']}"
    return [active] if agent["how"].lower() == "by" else [active, bare]
