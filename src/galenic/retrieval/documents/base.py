"""Common types of document readers: lines of text with their location, or a reason to skip."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Document", "DocumentLine", "SkipError", "clean", "joined"]

# Control characters except tab and line breaks, text direction marks (which could change how a
# passage is displayed), and lone surrogates, which cannot be written to a file.
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
    """Raised for a file that is skipped; the message is a noun phrase that can follow a count."""


@dataclass(frozen=True)
class DocumentLine:
    """A paragraph, or a line that stands alone, with its location.

    Attributes:
        text: text without line breaks.
        place: location for the reader: ``page 3``, ``line 12``.
        heading: heading above it; passages never span two headings.
        goes_on: whether it continues the previous line rather than beginning a new one.
    """

    text: str
    place: str
    heading: str = ""
    goes_on: bool = False


@dataclass
class Document:
    """The content of a file.

    Attributes:
        title: title of the document.
        lines: lines in reading order.
        notes: counts of what could not be read, by kind.
    """

    title: str
    lines: list[DocumentLine]
    notes: Counter[str] = field(default_factory=Counter)


def clean(text: str) -> str:
    """Normalize text to one line, without control characters and repeated white space.

    Ligatures, full-width, superscript and subscript letters become plain ones (NFKC); soft hyphens
    and zero-width spaces are removed, as in queries (`galenic.retrieval.query.words`).
    """
    plain = unicodedata.normalize("NFKC", _NO_WIDTH.sub("", text))
    return " ".join(_UNWANTED.sub(" ", plain).split())


def joined(rows: Iterable[str]) -> str:
    """Join lines, undoing hyphenation at line ends.

    The hyphen is kept after prefixes that are usually written with one ("beta-", "non-").
    """
    pieces: list[str] = []
    tail = ""  # the last letters only, as searching the whole text for each row would be quadratic
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
