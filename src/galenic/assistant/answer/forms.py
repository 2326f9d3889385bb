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
_MODAL = r"(?:may|might|can|could|will|must|should|cannot|can't)"
_ADVERB = r"(?:not|never|also|often|sometimes|seldom|only|\w+ly)\s+"
_PASSIVE = re.compile(
    rf"^(?P<patient>.+?)\s+(?P<modal>{_MODAL}\s+(?:{_ADVERB})*)?(?:is|are|be|being|been|was|were)\s+"
    rf"(?P<adverb>(?:{_ADVERB})*)"
    r"(?P<verb>made|\w+(?:ed|en|wn|ught|ept|elt|eld|rn))\b(?P<rest>.*)$",
    re.I,
)
_AGENT = re.compile(r"^(?P<rest>.*?)\b(?P<how>by|with)\b(?P<agent>.+)$", re.I)
_CLAUSES = re.compile(r";|,?\s+\b(?:because|so)\b|,\s+(?:and|then|which|as)\b|,\s+not\b.*", re.I)
"""Where a sentence is cut; not at "but" and "although", which take something back."""
_CONDITION = re.compile(
    r"\b(?:if|unless|until|when|only|except|during|once|provided|after|before)\b", re.I
)
_SCOPE = re.compile(
    r"\b(?:not|no|never|nor|none|nobody|neither|without|cannot|\w+n['’]t|avoid|stop|may|might|can|could|"
    r"some\w*|few|rarely|seldom|often|most|usually|who|that|which)\b|:",
    re.I,
)
"""Words whose force may reach into the clauses that follow."""
_LEFT_BARE = re.compile(r"^\s*(?:it|they|this|that|these|those|he|she|them|its)\b", re.I)
_VERB = re.compile(
    r"\b(?:cause|causes|include|includes|contain|contains|make|makes|bring|brings|lead to|leads to|"
    r"triggers?|have|has|wash|rinse|cover|rest|eat)\b",
    re.I,
)
_DENIES = re.compile(
    r"\b(?:not|no|never|nor|without|\w+n't|avoid|both|between|together|mix|with|or|than|who|that|which)\b",
    re.I,
)
_JOINED = re.compile(r"\b(\w+) (?:of|in|on) (?:the |a |an |your |its )?(\w+)\b", re.I)
_OFTEN = re.compile(r"\b(usually|generally|normally|typically|often)\b,?", re.I)
_FIXED = re.compile(rf"{_CONDITION.pattern}|{_DENIES.pattern}|\b(?:most|some|all|by)\b", re.I)
MOST_ITEMS = 5
"""One more than the maximum number of items that are kept of a list."""


def clauses(sentence: str) -> Iterator[str]:
    """Yield a sentence, and each of its clauses that can stand alone.

    Clauses are left out that a condition or negation elsewhere in the sentence may limit, that
    begin with a pronoun, or into which a "may" of an earlier one may reach. Lists are also yielded
    with fewer items.
    """
    yield sentence
    parts = [part.strip() for part in _CLAUSES.split(sentence.rstrip(" .!?"))]
    for at, part in enumerate(parts):
        others = parts[:at] + parts[at + 1 :]
        bare = len(part.split()) <= 2 or _LEFT_BARE.match(part)
        reached = any(_SCOPE.search(one) for one in parts[:at])
        limited = any(_CONDITION.search(one) or _DENIES.search(one) for one in others)
        if others and not (bare or reached or limited):
            yield part
    yield from _shorter_lists(sentence)


def _shorter_lists(sentence: str) -> Iterator[str]:
    """Yield a sentence with fewer items: "It causes thirst" for "It causes thirst and tiredness".

    An item is left out only if it is the last, or a single word, which the others cannot lean on
    ("loss of smell and taste"). Sentences with negations or conditions stay whole.
    """
    verb = _VERB.search(sentence)
    if verb is None or _DENIES.search(sentence) or _CONDITION.search(sentence):
        return
    head, tail = sentence[: verb.end()], sentence[verb.end() :].rstrip(" .!?")
    items = re.split(r",\s*(?:and\s+)?|\s+and\s+", tail)
    for size in range(1, min(len(items), MOST_ITEMS)):
        for some in combinations(range(len(items)), size):
            if all(len(items[at].split()) == 1 for at in range(some[-1]) if at not in some):
                yield f"{head} {' and '.join(items[at] for at in some)}"


def forms(sentence: str, stems: Stems) -> set[tuple[str, ...]]:
    """Return the content words of a sentence in the order of each equivalent form.

    A passive is turned into an active sentence, and clauses at the front ("If it hurts, rest") are
    moved to the end. Two sentences with a form in common say the same.

    Args:
        sentence: one or more clauses.
        stems: returns the stems of a text's content words, in order.
    """
    text, front = sentence.strip().rstrip(".!?"), ""
    if fronted := _FRONT.match(text):
        text, front = fronted["rest"], fronted["front"]
    said = [text]
    if (often := _OFTEN.search(text)) and not _FIXED.search(sentence):
        said.append(f"{often[1]} {text[: often.start()]} {text[often.end() :]}")
    for joined in _JOINED.finditer(text):
        said.append(f"{text[: joined.start()]}{joined[2]} {joined[1]}{text[joined.end() :]}")
    return {tuple(stems(f"{one} {front}")) for turned in said for one in _active(turned)}


def _active(text: str) -> list[str]:
    """Return a passive sentence in the active voice; any other sentence unchanged.

    "Warts are caused by a virus" gives "a virus caused warts". If "with" may introduce the agent or
    not, both readings are returned.
    """
    passive = _PASSIVE.match(text)
    if passive is None:
        return [text]
    patient, rest = passive["patient"], passive["rest"]
    verb = f"{passive['modal'] or ''}{passive['adverb']}{passive['verb']}"
    agent = _AGENT.match(rest)
    by = agent is not None and agent["how"].lower() == "by"
    if agent is None or _CONDITION.search(agent["rest"]) or not (by or agent["rest"].isspace()):
        return [f"{verb} {patient} {rest}"]
    active = f"{agent['agent']} {verb} {patient} {agent['rest']}"
    return [active] if by else [active, f"{verb} {patient} {rest}"]
