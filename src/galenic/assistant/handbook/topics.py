"""Search for the handbook entry that a question is about, by titles and other names.

Words are weighted by inverse document frequency over all names (Spärck Jones 1972). The score of a
name is the weight of its words in the question, multiplied by the square of the share of the name
that they cover, so that long names that match completely win over short ones. Entries whose
statements contain the other words of the question get a small bonus.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from galenic.assistant.handbook.entry import Entry
from galenic.assistant.handbook.load import alike_words, entries, more_names, spellings
from galenic.assistant.triage.words.wording import word_set
from galenic.retrieval.near_words import NearWords
from galenic.retrieval.query import STOP_WORDS, stem, words

__all__ = ["Match", "Topics", "halves_of", "joined_stems", "name_stems", "topics"]

_WEAK = word_set("""
feel feeling have having get getting keep make my me bad worse sore pain hurt child pregnant
test tablet blood skin medicin problem symptom sick ill itchi red help stop time day work cut
cancer screen adult woman man person eat high low cannot cant dont old young night morn doctor
leg arm hand foot feet eye ear nose mouth throat head neck fac chest tummy muscl joint bon finger
""")
"""Stems that do not identify a topic on their own, such as parts of the body."""


_THE_PILL = re.compile(r"\b(?:the|my|a) pill\b(?! for)", re.I)
""""The pill" without further words, which means contraception."""
_THE_CHANGE = re.compile(
    r"\bthe change\b"
    r"(?=\s*(?:[.?!,;]|$|(?:and|or|yet|now|early|already|at|lasts?|starts?|begins?)\b))",
    re.I,
)
""""The change" without further words, which means the menopause; "it never changes" does not."""
_NUMBER_JOINED = re.compile(
    r"(?<=\d)(?=(?:hours?|hrs?|days?|weeks?|wks?|months?|years?|yrs?)\b)", re.I
)
"""The place between a number and its unit of time in "2days"."""
LEAST_JOINED = 8
"""Minimum number of letters of two words of a name that are written as one."""
_NO_NAMES = frozenset(("mmol", "mol"))
"""Units of measurement whose stems coincide with those of other words."""
TITLE = 1.1
"""Factor on the score of a match with an entry's title."""
WEAKER = 0.35
"""Factor on the score if all matching words are also words that people ask with, as "drinking"."""


@dataclass(frozen=True)
class Match:
    """A handbook entry that a question may be about.

    Attributes:
        entry: the entry.
        score: match score; higher is better, comparable only within one question.
        cover: share of the best matching name that the question contains, by weight, from 0 to 1.
        stems: stems of the question that occur in that name.
        titled: whether that name is the entry's title, half of it, or the name of a medicine.
        weak: whether only everyday words matched, which do not identify a topic on their own.
        drug: whether that name is a generic or brand name of a medicine.
    """

    entry: Entry
    score: float
    cover: float
    stems: frozenset[str]
    titled: bool
    weak: bool = False
    drug: bool = False


class Topics:
    """Search index over the names and statements of handbook entries.

    Args:
        known: the entries.
    """

    def __init__(self, known: Sequence[Entry]) -> None:
        self.known = known
        self._names: list[tuple[int, tuple[str, ...], float]] = []
        frequency: Counter[str] = Counter()
        for at, entry in enumerate(known):
            said = set(map(name_stems, _all_names(entry)))
            titles = set(map(name_stems, _titles(entry.title)))
            said |= titles
            self._names += [
                (at, one, TITLE if one in titles else 1.0) for one in sorted(said) if one
            ]
            frequency.update({word for name in said for word in name})
        self._rarity = {
            word: math.log(1 + (len(known) - n + 0.5) / (n + 0.5)) for word, n in frequency.items()
        }
        self._rarest = math.log(1 + 2 * len(known))
        self._by_word: Mapping[str, list[int]] = _inverted(one[1] for one in self._names)
        self._words_of = [set[str]() for _ in known]
        for owner, name, _ in self._names:
            self._words_of[owner].update(name)
        self._medicines = [set(map(name_stems, entry.names)) for entry in known]
        self._texts = [frozenset(_statement_stems(entry)) for entry in known]
        self._vocabulary = frozenset[str]().union(*self._texts, frequency)
        self._spelling = NearWords(
            {w for entry in known for name in _all_names(entry) for w in words(name)},
            self._vocabulary | frozenset(map(_common, STOP_WORDS)),
            {w for entry in known for place in entry.places() for w in words(place.statement.text)}
            | set(_alike()),
        )
        self._joined = {
            one + two: f"{one} {two}"
            for entry in known
            for name in _all_names(entry)
            for one, two in pairwise(words(name))
            if len(one + two) >= LEAST_JOINED
        }
        spread = Counter(word for text in self._texts for word in text)
        self._spread = {
            word: math.log(1 + (len(known) - n + 0.5) / (n + 0.5)) for word, n in spread.items()
        }

    def mend(self, question: str, keep: frozenset[str] = frozenset()) -> str:
        """Correct the spelling of a question towards the words of the handbook.

        "im dehydrated" becomes "im dehydration", since names of entries have that form, and
        "tonsilitis" becomes "tonsillitis". Two words of a name that are written as one are parted:
        "sorethroat" becomes "sore throat".

        Args:
            question: the question in the user's own words.
            keep: stems that are not changed.
        """
        question = _written(question)
        question = _THE_PILL.sub("the contraceptive pill", question)
        question = _THE_CHANGE.sub("the menopause", _NUMBER_JOINED.sub(" ", question))
        return re.sub(r"[^\W\d_]+", lambda found: self._mended(found[0], keep), question)

    def _mended(self, word: str, keep: frozenset[str]) -> str:
        """Return the correction of one word, or the word itself."""
        plain = word.lower()
        common = _common(plain)
        if plain in STOP_WORDS or common in self._rarity or common in keep:
            return word
        if plain in self._joined:
            return self._joined[plain]
        return self._spelling.near(plain, common) or word

    def rarity(self, word: str) -> float:
        """Return the inverse document frequency of a stem; the maximum for unknown stems.

        Frequencies in names are used first, then those in statements.
        """
        return self._rarity.get(word) or self._spread.get(word, self._rarest)

    def spread(self, word: str) -> float:
        """Return the inverse document frequency of a stem in statements; the maximum if unknown."""
        return self._spread.get(word, self._rarest)

    def knows(self, word: str) -> bool:
        """Check whether a stem occurs in any entry."""
        return word in self._vocabulary

    def explains(self, entry: Entry, word: str) -> bool:
        """Check whether a stem occurs in an entry's names or statements.

        Args:
            entry: one of the entries in the index.
            word: the stem.
        """
        at = self.known.index(entry)
        return word in self._texts[at] or word in self._words_of[at]

    def find(self, question: str, weak: frozenset[str] = frozenset()) -> list[Match]:
        """Return the entries that a question may be about, best first.

        Entries with equal scores are sorted by number of medicine names and by the share of the
        title that matches (both descending), then by id.

        Args:
            question: the question in the user's own words, corrected by `mend`.
            weak: stems that also serve to ask, such as "drink"; names matched only by these are
                scored lower.
        """
        said = frozenset((*name_stems(question), *joined_stems(question)))
        best: dict[int, Match] = {}
        for at in sorted({at for word in said for at in self._by_word.get(word, ())}):
            owner, name, factor = self._names[at]
            less = WEAKER if said & set(name) <= weak else 1.0
            match = self._match(owner, name, factor, said, less)
            if match and (owner not in best or match.score > best[owner].score):
                best[owner] = match
        ranked = [self._with_rest(owner, match, said) for owner, match in best.items()]
        return sorted(ranked, key=_order)

    def _match(
        self, owner: int, name: tuple[str, ...], factor: float, said: frozenset[str], weak: float
    ) -> Match | None:
        """Return the match of one name with the question; None if it is too weak.

        Args:
            owner: index of the entry.
            name: stems of the name.
            factor: factor on the score, `TITLE` for titles.
            said: stems of the question.
            weak: factor on the score for weak words.
        """
        whole = sum(map(self.rarity, name))
        found = frozenset(name) & said
        weight = sum(self.rarity(word) for word in found)
        if not found - _WEAK and len(found) < len(name):
            return None
        cover = weight / whole
        drug = name in self._medicines[owner]
        return Match(
            self.known[owner],
            weak * factor * weight * cover**2,
            cover,
            found,
            factor == TITLE or drug,
            not found - _WEAK,
            drug,
        )

    def _with_rest(self, owner: int, match: Match, said: frozenset[str]) -> Match:
        """Raise the score of a match if the entry contains the other words of the question."""
        rest = said - match.stems
        has = sum(self._spread.get(word, 0.0) for word in rest if word in self._texts[owner])
        has += sum(self.rarity(word) for word in rest if word in self._words_of[owner])
        return replace(match, score=match.score + 0.25 * has)


def _order(one: Match) -> tuple[float, int, float, str]:
    """Return the key that puts matches in order, best first."""
    title = set(name_stems(one.entry.title))
    share = len(title & one.stems) / max(1, len(title))
    return -round(one.score, 9), -len(one.entry.names), -share, one.entry.id


def _written(question: str) -> str:
    """Expand text-message spellings in a question: "wen" becomes "when"."""
    table = spellings()
    longest = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
    return re.sub(
        rf"(?<![\w'’])(?:{longest})(?![\w'’])",
        lambda found: table[found[0].lower()],
        question,
        flags=re.IGNORECASE,
    )


@cache
def topics() -> Topics:
    """Return the search index over the entries of the package."""
    return Topics(entries())


def name_stems(name: str) -> tuple[str, ...]:
    """Return the normalised stems of a name, without stop words and duplicates.

    Synonyms are unified: "Children's temperature" gives ``("child", "fever")``.
    """
    said = [word for word in words(name) if word not in STOP_WORDS and word not in _NO_NAMES]
    return tuple(dict.fromkeys(_common(word) for word in said))


def joined_stems(question: str) -> list[str]:
    """Return the stems of each pair of adjacent words written as one: "hay fever", "hayfever"."""
    said = [word for word in words(question) if word not in STOP_WORDS]
    return [_common(one + two) for one, two in pairwise(said)]


@cache
def _alike() -> Mapping[str, str]:
    """Return the normal form of each word in ``alike.yaml``, and of its stem."""
    return {
        form: common
        for common, said in alike_words().items()
        for word in (common, *said.split())
        for form in ((word, stem(word)) if said else (word,))
    }


def _common(word: str) -> str:
    """Return the normal form of a word: that of ``alike.yaml``, or else its stem."""
    return _alike().get(word) or _alike().get(stem(word)) or stem(word)


def _all_names(entry: Entry) -> tuple[str, ...]:
    """Return all names of an entry, including the title."""
    return (entry.title, *entry.also, *entry.names, *more_names(entry.id))


def _titles(title: str) -> Iterable[str]:
    """Yield a title and its parts: without brackets, the bracketed text, and both halves.

    "Sprains and strains" also gives "Sprains" and "strains".
    """
    bare = re.sub(r"\([^)]*\)", "", title).strip()
    yield from (title, bare, *re.findall(r"\(([^)]+)\)", title), *halves_of(title))


def halves_of(title: str) -> list[str]:
    """Split a title at "and" or "or": "Sprains and strains" gives "Sprains" and "strains".

    Returns:
        The two halves; an empty list if the title has no two such parts.
    """
    bare = re.sub(r"\([^)]*\)", "", title).strip()
    halves = re.split(r" (?:and|or) ", bare)
    apart = len(halves) == 2 and "," not in bare and not bare.startswith("Medicines for")
    return halves if apart else []


def _statement_stems(entry: Entry) -> Iterable[str]:
    """Yield the stems of all statements of an entry."""
    for place in entry.places():
        yield from name_stems(place.statement.text)


def _inverted(names: Iterable[tuple[str, ...]]) -> Mapping[str, list[int]]:
    """Build an inverted index: the positions of the names that contain a stem."""
    found = defaultdict(list)
    for at, name in enumerate(names):
        for word in set(name):
            found[word].append(at)
    return found
