"""From a question in a person's own words to a full-text query.

Nothing of the question is passed to FTS5 as syntax: it is cut into words of letters and digits, and
each goes into the query between quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

__all__ = [
    "LayTerm",
    "Query",
    "lay_terms",
    "make_query",
    "meanings",
    "medical_words",
    "stem",
    "words",
]

MOST_WORDS = 64
"""Of a question, the first so many different ones count: more would make every search slow."""
MOST_LETTERS = 64
"""Longer words are no words."""
MOST_CHARACTERS = 100_000
"""Of a question that are looked at."""
GAP = 2
"""So many other words may stand between two words of a lay phrase."""

_NO_WIDTH = re.compile("[\u00ad\u200b\u200c\u200d\u2060]")
_STOP_WORDS = """
a about above after again all also am an and any are aren as at be because been before being below
between both but by can cannot could couldn d did didn do does doesn doing don down during each few
for from further get gets getting go goes going got had has hasn have haven having he her here hers
herself him himself his how i if in into is isn it its itself just know let like ll m me might more
most much must my myself no nor not of off on once one only or other our ours out over own please re
s same say she should so some such t tell than that the their theirs them then there these they
thing things think this those through to too until up us ve very was wasn we were what when where
which while who whom why will with without won would you your yours yourself
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""The parts of words with an apostrophe stand apart, as `words` gives them."""
FILLERS = STOP_WORDS - {"all", "can", "cannot", "down", "no", "not", "off", "out", "over", "t",
                        "too", "up"}  # fmt: skip
"""What does not count in lay phrases: they need their `can't`, `no` and `up`."""


class LayTerm(BaseModel):
    """What people say, and the words of medicine for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: tuple[str, ...] = Field(min_length=1)
    means: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Query:
    """A question made ready.

    Attributes:
        words: of the question, without stop words.
        added: words and phrases of medicine for what the question says in other words.
    """

    words: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def phrases(self) -> list[str]:
        """What to look for, each quoted for FTS5; empty when there is nothing."""
        spelt = [other for word in self.words if (other := _other_spelling(word)) != word]
        phrases = [*self.words, *spelt, *(" ".join(words(phrase)) for phrase in self.added)]
        return [f'"{phrase}"' for phrase in dict.fromkeys(phrases)]

    @property
    def expression(self) -> str:
        """For ``MATCH``: any of the phrases."""
        return " OR ".join(self.phrases)


def _other_spelling(word: str) -> str:
    """With the German sharp s or without: ``grosser`` and ``großer``; the index keeps both."""
    return word.replace("ß", "ss") if "ß" in word else word.replace("ss", "ß")


def make_query(question: str) -> Query:
    """The words that count in a question, and what medicine calls what it says."""
    said = words(question)
    kept = [word for word in said if word not in STOP_WORDS] or said
    unique = tuple(dict.fromkeys(kept))[:MOST_WORDS]
    return Query(unique, medical_words(said))


def words(text: str) -> list[str]:
    """Runs of letters and digits in lower case, apostrophes inside kept out; none too long.

    ``Crohn's`` gives ``crohn`` and ``s``, as the index has it.
    """
    plain = unicodedata.normalize("NFKC", _NO_WIDTH.sub("", text[:MOST_CHARACTERS])).lower()
    return [word for word in re.findall(r"[^\W_]+", plain) if len(word) <= MOST_LETTERS]


def medical_words(said: Sequence[str]) -> tuple[str, ...]:
    """What the reviewed table (``lay_terms.yaml``) has for phrases in these words.

    The words of a phrase must stand in its order, with at most GAP others between two of them;
    fillers do not count. Endings do not matter.
    """
    return tuple(meanings(said))


def meanings(said: Sequence[str]) -> dict[str, frozenset[str]]:
    """As `medical_words`: each with the stems of the words that say it."""
    stems = [stem(word) for word in said if word not in FILLERS]
    found: dict[str, frozenset[str]] = {}
    for first, phrase, means in _phrases():
        starts = (at for at, one in enumerate(stems) if one == first)
        if any(_follows(stems, at, phrase) for at in starts):
            for meaning in means:
                found[meaning] = found.get(meaning, frozenset()) | set(phrase)
    return found


def _follows(stems: Sequence[str], at: int, phrase: Sequence[str]) -> bool:
    for one in phrase[1:]:
        near = stems[at + 1 : at + 2 + GAP]
        if one not in near:
            return False
        at += 1 + near.index(one)
    return True


@cache
def lay_terms() -> tuple[LayTerm, ...]:
    """The table, as reviewed."""
    import yaml

    text = files("galenic.retrieval").joinpath("lay_terms.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[LayTerm, ...]).validate_python(yaml.safe_load(text))


@cache
def _phrases() -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    phrases = []
    for term in lay_terms():
        for say in term.say:
            stems = tuple(stem(word) for word in words(say) if word not in FILLERS)
            phrases.append((stems[0], stems, term.means))
    return tuple(phrases)


_NO_ENDING = ("eed", "ess", "oss", "ass", "iss", "uss")
"""As in `bleed` and `illness`."""


def stem(word: str) -> str:
    """The word without the common endings, the same for `burn`, `burns`, `burned`, `burning`."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2 and word[-3:] not in _NO_ENDING:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "els":  # throbbing, swimming
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
