"""The forms in which a sentence says the same: voice, order of clauses, single clauses, lists.

A claim that leaves out a qualifier ("a fever needs help" of "a fever with a stiff neck needs
help") or turns a relation round ("warts cause a virus") has none of them. Built by patterns, no
parser: what they do not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

__all__ = ["clauses", "forms"]

Stems = Callable[[str], Sequence[str]]
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


def clauses(sentence: str) -> Iterator[str]:
    """The sentence, and each clause that says something by itself.

    None where a condition would be left behind, or a pronoun without its noun.
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
    """ "It causes thirst, dark urine and tiredness" without some of them."""
    verb = _VERB.search(sentence)
    if verb is None or _DENIES.search(sentence) or _CONDITION.search(sentence):
        return
    head, tail = sentence[: verb.end()], sentence[verb.end() :].rstrip(" .!?")
    items = re.split(r",\s*(?:and\s+)?|\s+and\s+", tail)
    for size in range(1, min(len(items), MOST_ITEMS)):
        for some in combinations(items, size):
            yield f"{head} {' and '.join(some)}"


def forms(sentence: str, stems: Stems) -> set[tuple[str, ...]]:
    """Its words that count, in the order of an active sentence with what is fronted behind.

    Args:
        sentence: one clause or more.
        stems: gives the words that count of a text, in order.
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
    """An active form of a passive sentence; the text itself where it is none."""
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
