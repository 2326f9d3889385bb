"""Kinds of words that the guards look for, and where they stand in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import yaml

__all__ = [
    "ASKING_FIRST", "CARE", "FOOD", "GENERAL", "MEDICINE", "NOT", "NUMBER_WORDS", "TAKE", "WORDS",
    "Told", "asks_why", "number",
]  # fmt: skip


def _words() -> Mapping[str, frozenset[str]]:
    text = files("galenic.assistant.guards").joinpath("words.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    return {
        f"{of}.{name}": frozenset(said) for of, kinds in raw.items() for name, said in kinds.items()
    }


WORDS = _words()
"""Kinds of words (``words.yaml``), by module and name."""
MEDICINE = WORDS["told.medicine"]
TAKE = WORDS["told.take"]
FOOD = WORDS["told.food"]
CARE = WORDS["told.care"]
NOT = WORDS["told.not"]
NUMBER_WORDS = WORDS["told.number_words"]
GENERAL = WORDS["told.general"]
"""First words of what is said of people in general."""
ASKING_FIRST = WORDS["told.asking_first"]


def number(token: str) -> bool:
    """Whether a token is a number, in digits or as a word."""
    return token[0].isdecimal() or token in NUMBER_WORDS or token.endswith(("hundred", "thousand"))


@dataclass(frozen=True)
class Told:
    """The tokens of a sentence.

    Attributes:
        tokens: as `galenic.assistant.triage.words.wording` gives them.
    """

    tokens: tuple[str, ...]

    def at(self, words: frozenset[str]) -> list[int]:
        """The places of these words."""
        return [at for at, token in enumerate(self.tokens) if token in words]

    def has(self, words: frozenset[str]) -> bool:
        """Whether any of them is said."""
        return any(token in words for token in self.tokens)

    def numbers(self) -> Iterator[int]:
        """The places of numbers."""
        return (at for at, token in enumerate(self.tokens) if number(token))

    def before(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Whether one of these words stands among the ``gap`` tokens before a place."""
        return any(token in words for token in self.tokens[max(0, at - gap) : at])

    def after(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Whether one of these words stands among the ``gap`` tokens behind a place."""
        return any(token in words for token in self.tokens[at + 1 : at + 1 + gap])

    def near(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Whether two of these words stand at most ``gap`` tokens apart, in any order."""
        return any(
            self.after(at, others, gap) or self.before(at, others, gap) for at in self.at(some)
        )

    def follow(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Whether one of the second stands at most ``gap`` tokens behind one of the first."""
        return any(self.after(at, others, gap) for at in self.at(some))

    def says(self, *phrases: str) -> bool:
        """Whether one of these phrases is said, word by word."""
        text = f" {' '.join(self.tokens)} "
        return any(f" {one} " in text for one in phrases)

    def starts(self, words: Sequence[str] | frozenset[str]) -> bool:
        """Whether it begins with one of these words."""
        return bool(self.tokens) and self.tokens[0] in words


def asks_why(told: Told) -> bool:
    """ "Why do I take it once a week", "what does mg mean": no leave is asked for."""
    means = told.starts(frozenset({"what", "whats"})) and told.has(frozenset({"mean", "means"}))
    return means or (told.starts(frozenset({"why"})) and not told.has(_LEAVE))


_LEAVE = frozenset(
    {"cant", "shouldnt", "not", "stop", "stopping", "more", "less", "double", "skip"}
)
