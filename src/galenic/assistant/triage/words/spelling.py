"""Correct misspelt words that triage phrases use.

A misspelling is one letter missing, added or replaced, or two adjacent letters swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

from galenic.assistant.triage.words.phrase import Matcher
from galenic.assistant.triage.words.wording import word_set

__all__ = ["Speller"]

SHORTEST = 6
"""Minimum length of a word to correct; shorter ones are too similar to others ("ever", "fever")."""
SHORTEST_CHANGED = 8
"""The same for a replaced letter ("cooking", "choking")."""
LONGEST = 24
COMMON = word_set(
    files("galenic.assistant.triage").joinpath("data/common_words.txt").read_text("utf-8")
)
"""Ordinary words that are one letter away from a triage word and are never corrected. Of the 30,000
most frequent English words (wordfreq 3.1), these were all that would have been changed, apart
from inflections and common misspellings."""


class Speller:
    """Spelling corrector whose vocabulary is the words of triage phrases.

    The first letter must be correct, and a word that any phrase uses is never changed.

    Args:
        table: Fixed corrections.
        matchers: Matchers whose phrases define the known words; corrections lead only to words of
            the first one.
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
        """Return the corrected word, or the token itself if no correction applies.

        With "breathing" among the known words, "breahting" becomes "breathing".
        """
        if token in self.table:
            return self.table[token]
        known = self.matchers[0].vocabulary
        if token.endswith("in") and token not in known and token + "g" in known:
            return token + "g"
        if not SHORTEST - 1 <= len(token) <= LONGEST + 1 or token[0].isdecimal():
            return token
        if token in COMMON or any(matcher.knows(token) for matcher in self.matchers):
            return token
        for form in (token, *_shorter(token)):
            word = self.targets.get(form)
            if word is not None and word[0] == token[0] and _is_slip(token, word):
                return word
        return token


def _is_slip(given: str, meant: str) -> bool:
    """Check whether two words differ by one letter missing, added or replaced, or by a swap."""
    if len(given) != len(meant):
        short, long = sorted((given, meant), key=len)
        return len(long) == len(short) + 1 and short in _shorter(long)
    wrong = [at for at in range(len(given)) if given[at] != meant[at]]
    if len(wrong) == 1:
        return len(given) >= SHORTEST_CHANGED
    first, last = wrong[0], wrong[-1]
    swapped = len(wrong) == 2 and last == first + 1
    return swapped and given[first] == meant[last] and given[last] == meant[first]


def _shorter(word: str) -> Iterable[str]:
    """Yield the word with one letter removed, for each letter but the first."""
    return (word[:at] + word[at + 1 :] for at in range(1, len(word)))
