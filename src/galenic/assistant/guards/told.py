"""Word sets that the guards look for, and queries on the positions of words in a sentence."""

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
    """Load ``words.yaml`` as word sets, by "<module>.<name>"."""
    text = files("galenic.assistant.guards").joinpath("words.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    return {
        f"{of}.{name}": frozenset(said) for of, kinds in raw.items() for name, said in kinds.items()
    }


WORDS = _words()
"""Word sets of ``words.yaml``, by "<module>.<name>", such as ``doses.strong``."""
MEDICINE = WORDS["told.medicine"]
TAKE = WORDS["told.take"]
FOOD = WORDS["told.food"]
CARE = WORDS["told.care"]
NOT = WORDS["told.not"]
NUMBER_WORDS = WORDS["told.number_words"]
GENERAL = WORDS["told.general"]
"""First words of statements about people in general, such as "most" or "children"."""
ASKING_FIRST = WORDS["told.asking_first"]
"""Words of advice to ask a professional or to read the label."""


def number(token: str) -> bool:
    """Check whether a token is a number, in digits or as a word such as "half" or "dozen"."""
    return token[0].isdecimal() or token in NUMBER_WORDS or token.endswith(("hundred", "thousand"))


@dataclass(frozen=True)
class Told:
    """The tokens of one sentence, with queries on which words occur and where.

    Attributes:
        tokens: tokens from `galenic.assistant.triage.words.wording`: lower case, without
            apostrophes, number words as digits; names of medicines are replaced by ``medicine``.
    """

    tokens: tuple[str, ...]

    def at(self, words: frozenset[str]) -> list[int]:
        """Return the positions of all tokens that are in a set, in order."""
        return [at for at, token in enumerate(self.tokens) if token in words]

    def has(self, words: frozenset[str]) -> bool:
        """Check whether any token is in a set."""
        return any(token in words for token in self.tokens)

    def numbers(self) -> Iterator[int]:
        """Return an iterator over the positions of numbers."""
        return (at for at, token in enumerate(self.tokens) if number(token))

    def before(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Check whether a word of a set is among the tokens before a position.

        Args:
            at: the position.
            words: the set of words.
            gap: number of tokens to look at.
        """
        return any(token in words for token in self.tokens[max(0, at - gap) : at])

    def after(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Check whether a word of a set is among the tokens after a position.

        Args:
            at: the position.
            words: the set of words.
            gap: number of tokens to look at.
        """
        return any(token in words for token in self.tokens[at + 1 : at + 1 + gap])

    def near(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Check whether words of two sets occur close to each other, in either order.

        Args:
            some: the first set of words.
            others: the second set of words.
            gap: maximum difference of their positions.
        """
        return any(
            self.after(at, others, gap) or self.before(at, others, gap) for at in self.at(some)
        )

    def follow(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Check whether a word of one set is closely followed by a word of another.

        In "take up to four tablets", "take" is followed by "tablets" with ``gap`` 4 or more.

        Args:
            some: words that come first.
            others: words that come after.
            gap: maximum difference of their positions.
        """
        return any(self.after(at, others, gap) for at in self.at(some))

    def says(self, *phrases: str) -> bool:
        """Check whether any of these phrases occurs, as a sequence of whole tokens."""
        text = f" {' '.join(self.tokens)} "
        return any(f" {one} " in text for one in phrases)

    def starts(self, words: Sequence[str] | frozenset[str]) -> bool:
        """Check whether the first token is one of these words."""
        return bool(self.tokens) and self.tokens[0] in words


def asks_why(told: Told) -> bool:
    """Check for a question about reasons or meanings, which asks for no permission.

    Examples: "why do I take it once a week", "what does mg mean".
    """
    means = told.starts(frozenset({"what", "whats"})) and told.has(frozenset({"mean", "means"}))
    return means or (told.starts(frozenset({"why"})) and not told.has(_LEAVE))


_LEAVE = frozenset(
    {"cant", "shouldnt", "not", "stop", "stopping", "more", "less", "double", "skip"}
)
"""Words that make a "why" question one for permission: "why can't I take more"."""
