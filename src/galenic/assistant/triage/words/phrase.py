"""Phrase patterns that reviewers can read, and a matcher for them.

A phrase consists of words separated by spaces. ``a|b`` matches either word, ``a|b_c`` "a" or "b c",
``word*`` any word with this prefix, ``word?`` an optional word, ``..`` up to six arbitrary words,
``#38-43`` a number in this range, and a word in CAPITALS any word of a named set. These are not
regular expressions: each token starts a bounded number of short comparisons, so run time is linear
in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from galenic.assistant.triage.words.wording import plain_tokens, word_set

__all__ = ["GAP_STOPS", "Matcher", "Mention", "Phrase", "parse_phrase"]

GAP = 6
"""Maximum number of words that ``..`` matches."""
GAP_STOPS = word_set(
    "no not without never nor neither but dont doesnt didnt isnt arent wasnt werent havent hasnt "
    "denies denied"
)
"""Words that ``..`` does not match, so that no phrase spans "my chest is fine, no pain"."""
_RANGE = re.compile(r"#(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
_SHORTEST_PREFIX = 3


@dataclass(frozen=True)
class _Step:
    words: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    low: float = 1.0
    high: float = 0.0
    optional: bool = False
    gap: bool = False

    def fits(self, token: str) -> bool:
        """Check whether a token matches."""
        if token in self.words or (self.prefixes and token.startswith(self.prefixes)):
            return True
        if self.low > self.high or not token[0].isdecimal():
            return False
        return self.low <= _value(token) <= self.high


Phrase = tuple[_Step, ...]


class Mention(NamedTuple):
    """An occurrence of a concept in a sentence.

    Attributes:
        concept: Name of the concept.
        start: Index of its first token.
        end: Index after its last token.
    """

    concept: str
    start: int
    end: int


def parse_phrase(text: str, sets: Mapping[str, Sequence[str]]) -> list[Phrase]:
    """Parse a phrase; alternatives of several words (``a|b_c``) yield several phrases.

    Raises:
        ValueError: If a set is unknown, the phrase is empty, a prefix has fewer than three letters,
            or the phrase begins or ends with an optional element or a gap.
    """
    ways = [_ways(part, sets) for part in text.split()]
    phrases = [tuple(step for way in chosen for step in way) for chosen in product(*ways)]
    if not ways or any(p[0].optional or p[0].gap or p[-1].gap for p in phrases):
        raise ValueError(f"phrase {text!r}: it must begin with a word and end with one")
    return phrases


def _ways(part: str, sets: Mapping[str, Sequence[str]]) -> list[Phrase]:
    choices = part.split("|")
    single = "|".join(choice for choice in choices if "_" not in choice)
    ways: list[Phrase] = [(_parse_step(single, sets),)] if single else []
    joined = [choice.split("_") for choice in choices if "_" in choice]
    return ways + [tuple(_parse_step(word, sets) for word in words) for words in joined]


def _parse_step(part: str, sets: Mapping[str, Sequence[str]]) -> _Step:
    if part == "..":
        return _Step(gap=True)
    optional = part.endswith("?")
    part = part.removesuffix("?")
    if numbers := _RANGE.fullmatch(part):
        return _Step(low=float(numbers[1]), high=float(numbers[2]), optional=optional)
    words: set[str] = set()
    prefixes: list[str] = []
    for choice in part.split("|"):
        for word in _members(choice, sets):
            stem = word.removesuffix("*")
            if len(plain := plain_tokens(stem)) != 1:
                raise ValueError(f"{word!r} is not one word")
            if word == stem:
                words.add(plain[0])
            elif len(plain[0]) < _SHORTEST_PREFIX:
                raise ValueError(f"{word!r}: at least {_SHORTEST_PREFIX} letters before the *")
            else:
                prefixes.append(plain[0])
    return _Step(frozenset(words), tuple(prefixes), optional=optional)


def _members(choice: str, sets: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if not choice.isupper():
        return (choice,)
    if choice not in sets:
        raise ValueError(f"there is no word set {choice}; there are {', '.join(sorted(sets))}")
    return sets[choice]


def _value(token: str) -> float:
    try:
        return float(token)
    except ValueError:  # digits that float does not parse, such as "²"
        return -1.0


@dataclass
class Matcher:
    """Index of the phrases of many concepts, for matching them in one pass over the tokens."""

    by_word: dict[str, list[tuple[str, Phrase]]] = field(default_factory=dict)
    by_prefix: dict[str, list[tuple[str, Phrase]]] = field(default_factory=dict)
    by_number: list[tuple[str, Phrase]] = field(default_factory=list)
    vocabulary: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)

    def add(self, concept: str, phrases: Iterable[Phrase]) -> None:
        """Add phrases that express a concept."""
        for phrase in phrases:
            first, entry = phrase[0], (concept, phrase)
            for word in first.words:
                self.by_word.setdefault(word, []).append(entry)
            for prefix in first.prefixes:
                self.by_prefix.setdefault(prefix, []).append(entry)
            if first.low <= first.high:
                self.by_number.append(entry)
            for step in phrase:
                self.vocabulary |= step.words
                self.stems.update(step.prefixes)

    def knows(self, token: str) -> bool:
        """Check whether any phrase contains this word or a prefix of it."""
        if token in self.vocabulary:
            return True
        return any(token[:n] in self.stems for n in range(_SHORTEST_PREFIX, len(token) + 1))

    def find(self, tokens: Sequence[str]) -> list[Mention]:
        """Return the mentions of all concepts, with the longest match per concept and start."""
        found: dict[tuple[str, int], int] = {}
        for start, token in enumerate(tokens):
            for concept, phrase in self._starting(token):
                end = _end(phrase, 1, tokens, start + 1)
                if end is not None and end > found.get((concept, start), 0):
                    found[concept, start] = end
        return [Mention(concept, start, end) for (concept, start), end in found.items()]

    def _starting(self, token: str) -> Iterable[tuple[str, Phrase]]:
        yield from self.by_word.get(token, ())
        if token[0].isdecimal():
            yield from (entry for entry in self.by_number if entry[1][0].fits(token))
            return
        for length in range(_SHORTEST_PREFIX, len(token) + 1):
            yield from self.by_prefix.get(token[:length], ())


def _end(phrase: Phrase, at: int, tokens: Sequence[str], place: int) -> int | None:
    """Return the index at which a phrase ends, or None if it does not match."""
    if at == len(phrase):
        return place
    step = phrase[at]
    if step.gap:
        return _end_after_gap(phrase, at + 1, tokens, place)
    if place < len(tokens) and step.fits(tokens[place]):
        end = _end(phrase, at + 1, tokens, place + 1)
        if end is not None:
            return end
    return _end(phrase, at + 1, tokens, place) if step.optional else None


def _end_after_gap(phrase: Phrase, at: int, tokens: Sequence[str], place: int) -> int | None:
    """Return the index at which a phrase ends whose next steps come after a gap, or None."""
    step = phrase[at]  # no phrase ends with a gap
    needed = not (step.optional or step.gap)
    for there in range(place, min(place + GAP, len(tokens)) + 1):
        inside = there < len(tokens)
        if not needed or (inside and step.fits(tokens[there])):  # at most places no call
            end = _end(phrase, at, tokens, there)
            if end is not None:
                return end
        if not inside or tokens[there] in GAP_STOPS:
            return None
    return None
