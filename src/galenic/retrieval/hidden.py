"""Read words that were spelt out, joined or written with digits, such as "c h e s t p a i n".

Unlike `galenic.retrieval.legible.legible`, this needs to know words, and it can misread a text. So
its result is a second reading, to be used beside the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

__all__ = ["Words", "revealed"]

LONGEST, FEWEST_JOINED = 80, 7
"""Limits in letters: of a run that is divided, and of one that may hide several words."""
MOST = 200
"""Maximum number of different runs of letters without a space that are divided."""
LONGEST_WORD, LONG = 20, 4
"""Letters of the longest word looked for, and of the longest that there must be at least one of."""
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """a about after again all am an and are at be been but by can cant do dont for from get got
    had has have he head help her him his i id im in is it its ive just me my no not now of off on
    one or our out she since so that the their them there they this to too took up us very was
    we were what with you your""",
    )
)
_ENDINGS = frozenset(("", "d", "s", "y", "ed", "er", "es", "ly", "al", "ing", "ion", "ous", "ness"))
"""What may follow a word stem."""
_APART = re.compile(r"(?<![^\W_])(?:[^\W\d_][ \t.,_*~|+/-]{1,4}){4,}[^\W\d_](?![^\W_])")
_BETWEEN = re.compile(r"(?<=[^\W\d_]{2})[.*~|+]+(?=[^\W\d_]{2})")
_JOINED = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_MIXED = re.compile(r"(?<![\w@$])(?=[\w@$]*[^\W\d_])(?=[\w@$]*[0-9@$])[\w@$]{3,20}(?![\w@$])")
_DIGITS = tuple(str.maketrans("0134578@$", f"o{one}eastbas") for one in "il")


@dataclass(frozen=True)
class Words:
    """The words that a hidden text may consist of, besides the commonest ones.

    Attributes:
        words: Words in lower case, without apostrophes.
        stems: Beginnings of words.
        says: Checks whether words that were joined without a mark mean something together; without
            this, "therapist" would be divided.
    """

    words: Collection[str]
    stems: Collection[str]
    says: Callable[[str], bool]

    def has(self, word: str) -> bool:
        """Check whether a string is a word, or a stem with an ending."""
        if word in _COMMON or word in self.words:
            return True
        ends = range(3, len(word) + 1) if len(word) <= LONGEST_WORD else ()
        return any(word[:n] in self.stems and word[n:] in _ENDINGS for n in ends)


def revealed(text: str, known: Words) -> str | None:
    """Return a text with its hidden words in plain writing, or None if none were found.

    "i h a v e chestpain, k1ll mys3lf" becomes "i have chest pain, kill myself".
    """
    plain = _APART.sub(lambda run: _closed_up(run[0], known), text)
    plain = _BETWEEN.sub(" ", plain)
    plain = _MIXED.sub(lambda word: _lettered(word[0], known), plain)
    for joined in list(dict.fromkeys(_unknown(plain, known)))[:MOST]:
        words = _divided(joined.lower().replace("'", ""), known)
        if words and known.says(words):
            plain = plain.replace(joined, words)
    return plain if plain != text else None


def _closed_up(run: str, known: Words) -> str:
    """Join letters that stand apart; the widest gaps, if there are two kinds, are between words."""
    gaps = re.findall(r"[\W_]+", run)
    wide = max(gaps, key=len) if len({*map(len, gaps)}) > 1 else None
    parts = [re.sub(r"[\W_]", "", part) for part in (run.split(wide) if wide else [run])]
    words = [part if known.has(part.lower()) else _divided(part.lower(), known) for part in parts]
    if wide and any(words):
        return " ".join(word or part for word, part in zip(words, parts, strict=True))
    return " ".join(words) if all(words) else run


def _lettered(word: str, known: Words) -> str:
    """Return the word that is meant by one with digits for letters, or the word as it is."""
    if word[0].isdigit() and len(word) <= LONG:  # "8pm"
        return word
    for table in _DIGITS:
        read = word.lower().translate(table)
        if read.isalpha() and (known.has(read) or _divided(read, known)):
            return read
    return word


def _unknown(text: str, known: Words) -> Iterator[str]:
    for found in _JOINED.finditer(text):
        if len(found[0]) >= FEWEST_JOINED and not known.has(found[0].lower().replace("'", "")):
            yield found[0]


def _divided(letters: str, known: Words) -> str:
    """Divide a run of letters into as few known words as possible; empty if it cannot be."""
    if len(letters) > LONGEST:
        return ""
    best: list[tuple[float, tuple[str, ...]] | None] = [(0.0, ())]
    for end in range(1, len(letters) + 1):
        ways = []
        for start in range(max(0, end - LONGEST_WORD), end):
            before, word = best[start], letters[start:end]
            if before and (word in _COMMON or (len(word) > 2 and known.has(word))):
                cost = 1.0 + 0.5 * (len(word) < LONG)
                ways.append((before[0] + cost, (*before[1], word)))
        best.append(min(ways, default=None))
    found = best[-1]
    return " ".join(found[1]) if found and max(map(len, found[1])) >= LONG else ""
