"""What readers of documents give: lines of text that know their place, or a reason to skip."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Document", "DocumentLine", "SkipError", "clean", "joined"]

# Control characters but tab and line ends, the marks of text direction (they could make a passage
# read otherwise than it is), and halves of surrogate pairs, which no file can hold.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+"
)


_NO_WIDTH = re.compile("[\u00ad\u200b\u200c\u200d\u2060]")

_DIVIDED = re.compile(r"([^\W\d_]+)-$")
TAIL = 100
_PREFIXES = frozenset(
    (
        "alpha",
        "beta",
        "gamma",
        "non",
        "anti",
        "self",
        "well",
        "long",
        "short",
        "low",
        "high",
        "half",
    )
)


class SkipError(Exception):
    """Why a file is not read, in a few words that a count can stand before."""


@dataclass(frozen=True)
class DocumentLine:
    """A paragraph, or a line that stands for itself, and where it stands.

    Attributes:
        text: without line ends.
        place: of the line, as a reader finds it: ``page 3``, ``line 12``.
        heading: what it stands under; text under two headings never shares a passage.
        goes_on: it goes on in the line of the one before.
    """

    text: str
    place: str
    heading: str = ""
    goes_on: bool = False


@dataclass
class Document:
    """A file that was read.

    Attributes:
        title: of the whole.
        lines: in reading order.
        notes: what could not be taken over, by kind, with counts.
    """

    title: str
    lines: list[DocumentLine]
    notes: Counter[str] = field(default_factory=Counter)


def clean(text: str) -> str:
    """Text on one line without control characters; runs of white space become one space.

    Ligatures, full-width and small raised or lowered letters become plain ones, soft hyphens and
    spaces of no width go, as in queries (`galenic.retrieval.query.words`).
    """
    plain = unicodedata.normalize("NFKC", _NO_WIDTH.sub("", text))
    return " ".join(_UNWANTED.sub(" ", plain).split())


def joined(rows: Iterable[str]) -> str:
    """Lines as one: a word that was divided at a line's end is whole again.

    The hyphen stays where the first part is one that is written with it ("beta-", "non-").
    """
    pieces: list[str] = []
    tail = ""  # the last letters of the text: looking at all of it for each row would take for ever
    for row in rows:
        divided = _DIVIDED.search(tail) if tail.endswith("-") else None
        if divided and row[:1].islower():
            if divided[1].lower() not in _PREFIXES:
                pieces[-1], tail = pieces[-1][:-1], tail[:-1]
            pieces.append(row)
        else:
            pieces.append((" " if tail else "") + row)
        tail = (tail + pieces[-1])[-TAIL:]
    return "".join(pieces)
