"""Misspelt words that would matter: one letter too many, too few, wrong, or two swapped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from galenic.assistant.phrase import Matcher

__all__ = ["Speller"]

SHORTEST = 6
"""Shorter words are too near to others: "heard" to "heart", "ever" to "fever"."""
LONGEST = 24
COMMON = frozenset(
    "without things thinks thought though through another because before really please little "
    "people person should morning whether weather better letter matter mother father brother "
    "bother rather either nothing anything something everything coming having giving living "
    "wanted waited walked talked worked looked looking working walking talking getting setting "
    "letting sitting hitting eating reading leading beating heading hearing wearing bearing "
    "sharing strange change chance charge course source second person reason season contact "
    "contract country county quite quiet rights lights nights sights weight height flight "
    "bright slight sleeping sweeping dripping drinking thinking breaking speaking creaking "
    "meeting moving loving counting stopping shopping stepping running turning burned learned "
    "praying paying staying playing saying buying trying crying drying flying biting".split()
)
"""Ordinary words that are one letter from one that matters."""


class Speller:
    """Words that phrases hold, and the way to them from a slip of the pen.

    The first letter must be right. A word that any phrase knows is never changed.

    Args:
        table: spellings that are always replaced.
        matchers: whose phrases say which words matter; only the first one's are targets.
    """

    def __init__(self, table: Mapping[str, str], *matchers: Matcher) -> None:
        self.table = dict(table)
        self.matchers = matchers
        self.targets: dict[str, str] = {}
        for word in sorted(matchers[0].vocabulary | matchers[0].stems | set(self.table.values())):
            if SHORTEST <= len(word) <= LONGEST:
                for form in (word, *_shorter(word)):
                    self.targets.setdefault(form, word)

    def mend(self, token: str) -> str:
        """The word that was meant, or the token itself."""
        if token in self.table:
            return self.table[token]
        if not SHORTEST - 1 <= len(token) <= LONGEST + 1 or token[0].isdecimal():
            return token
        if token in COMMON or any(matcher.knows(token) for matcher in self.matchers):
            return token
        for form in (token, *_shorter(token)):
            word = self.targets.get(form)
            if word is not None and abs(len(word) - len(token)) <= 1 and word[0] == token[0]:
                return word
        return token


def _shorter(word: str) -> Iterable[str]:
    """The word without one of its letters, the first one excepted."""
    return (word[:at] + word[at + 1 :] for at in range(1, len(word)))
