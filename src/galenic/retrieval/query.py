"""Conversion of a question to a full-text query.

No part of the question is passed to FTS5 as syntax: it is split into words of letters and digits,
and each is quoted.
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
"""Maximum number of distinct words used of a question, to keep searches fast."""
MOST_LETTERS = 64
"""Longer words are ignored."""
MOST_CHARACTERS = 100_000
"""Maximum characters used of a question."""
GAP = 2
"""Maximum number of other words between two words of a lay phrase."""

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
"""Words split at apostrophes are listed in parts, as `words` returns them."""
FILLERS = STOP_WORDS - {"all", "can", "cannot", "down", "no", "not", "off", "out", "over", "t",
                        "too", "up"}  # fmt: skip
"""Words ignored in lay phrases: the stop words except those that matter there, such as `no`."""


class LayTerm(BaseModel):
    """Lay phrases, and the medical terms for them.

    Attributes:
        say: lay phrases, such as "burning when I pee".
        means: medical terms that are added to the query, such as "dysuria".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: tuple[str, ...] = Field(min_length=1)
    means: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Query:
    """A processed question.

    Attributes:
        words: words of the question, without stop words.
        added: medical words and phrases that correspond to lay phrases in the question.
    """

    words: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def phrases(self) -> list[str]:
        """Phrases to search for, each quoted for FTS5; may be empty."""
        spelt = [other for word in self.words if (other := _other_spelling(word)) != word]
        phrases = [*self.words, *spelt, *(" ".join(words(phrase)) for phrase in self.added)]
        return [f'"{phrase}"' for phrase in dict.fromkeys(phrases)]

    @property
    def expression(self) -> str:
        """FTS5 ``MATCH`` expression for any of the phrases."""
        return " OR ".join(self.phrases)


def _other_spelling(word: str) -> str:
    """Swap German ß and ss (``grosser``, ``großer``), since the index may contain either."""
    return word.replace("ß", "ss") if "ß" in word else word.replace("ss", "ß")


def make_query(question: str) -> Query:
    """Extract the words of a question, and add medical terms for its lay phrases.

    Example: "burning when I pee" gives the words ``burning`` and ``pee``, and adds medical terms
    such as "dysuria". If a question consists of stop words only, these are used.

    Args:
        question: the question in the user's own words.
    """
    said = words(question)
    kept = [word for word in said if word not in STOP_WORDS] or said
    unique = tuple(dict.fromkeys(kept))[:MOST_WORDS]
    return Query(unique, medical_words(said))


def words(text: str) -> list[str]:
    """Split text into lower-case words of letters and digits; overlong words are dropped.

    ``Crohn's`` gives ``crohn`` and ``s``, as in the index.
    """
    plain = unicodedata.normalize("NFKC", _NO_WIDTH.sub("", text[:MOST_CHARACTERS])).lower()
    return [word for word in re.findall(r"[^\W_]+", plain) if len(word) <= MOST_LETTERS]


def medical_words(said: Sequence[str]) -> tuple[str, ...]:
    """Return the medical terms of ``lay_terms.yaml`` for lay phrases among these words.

    The words of a phrase must occur in order, with at most GAP other words between two of them;
    fillers are ignored, and words are compared by stem.
    """
    return tuple(meanings(said))


def meanings(said: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the medical terms for lay phrases among these words, as `medical_words` does.

    Args:
        said: the words of a question, in order.

    Returns:
        For each term, the stems of the question's words that express it.
    """
    stems = [stem(word) for word in said if word not in FILLERS]
    found: dict[str, frozenset[str]] = {}
    for first, phrase, means in _phrases():
        starts = (at for at, one in enumerate(stems) if one == first)
        if any(_follows(stems, at, phrase) for at in starts):
            for meaning in means:
                found[meaning] = found.get(meaning, frozenset()) | set(phrase)
    return found


def _follows(stems: Sequence[str], at: int, phrase: Sequence[str]) -> bool:
    """Check whether a phrase, as stems, begins at a position, with gaps of at most `GAP` words."""
    for one in phrase[1:]:
        near = stems[at + 1 : at + 2 + GAP]
        if one not in near:
            return False
        at += 1 + near.index(one)
    return True


@cache
def lay_terms() -> tuple[LayTerm, ...]:
    """Load the table of lay terms."""
    import yaml

    text = files("galenic.retrieval").joinpath("lay_terms.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[LayTerm, ...]).validate_python(yaml.safe_load(text))


@cache
def _phrases() -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """Return first stem, all stems and medical terms of each lay phrase."""
    phrases = []
    for term in lay_terms():
        for say in term.say:
            stems = tuple(stem(word) for word in words(say) if word not in FILLERS)
            phrases.append((stems[0], stems, term.means))
    return tuple(phrases)


_NO_ENDING = ("eed", "ess", "oss", "ass", "iss", "uss")
"""Word ends that are not suffixes, as in `bleed` and `illness`."""


def stem(word: str) -> str:
    """Strip common suffixes: `burn`, `burns`, `burned` and `burning` have one stem."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2 and word[-3:] not in _NO_ENDING:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "els":  # throbbing, swimming
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
