"""Cut texts into sentences that can be shown whole, and what a model writes into sentences."""

from __future__ import annotations

import re

__all__ = ["SentenceCutter", "cut_sentences", "plain", "whole_sentences"]

LONGEST = 60
"""Maximum number of words of a sentence or list; longer ones are left out as a whole."""

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9(\"'“]|[-–•*]\s+[A-Z])|\n+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|vs|e\.g|i\.e|etc|approx|Fig|al|U\.S)\.)$"
)
_ITEM = re.compile(r"^(?:[-–•*]|\d{1,2}[.)])\s+")
_INSIDE = re.compile(r"\s[-–•*]\s+(?=[A-Z])")
_FOOTNOTE = re.compile(r"\s*\[\d+(?:[-,]\d+)*\]")
_WHOLE = re.compile(r"[.!?][\"')\]]*$")


def plain(text: str) -> str:
    """Return text on one line without footnote marks ("[3]"), for comparing sentences."""
    return " ".join(_FOOTNOTE.sub("", text).split())


def cut_sentences(text: str) -> list[str]:
    """Split a text into sentences, at sentence ends and line breaks.

    Abbreviations such as "Dr." end no sentence. "See Dr. Lee. Rest." gives "See Dr. Lee." and
    "Rest.".
    """
    found: list[str] = []
    open_part = ""
    at = 0
    for end in _END.finditer(text):
        open_part += text[at : end.end()]
        at = end.end()
        if not _ABBREVIATED.search(open_part.rstrip()) or "\n" in end.group():
            found.append(open_part)
            open_part = ""
    found.append(open_part + text[at:])
    return [sentence for part in found if (sentence := " ".join(part.split()))]


def whole_sentences(text: str) -> list[str]:
    """Return the parts of a text that can stand alone: complete sentences, lists with lead-in.

    Headings, incomplete sentences, lead-ins without a list, and sentences with an inline list are
    left out. The text of what remains is unchanged, except for white space and footnote marks.
    """
    found: list[str] = []
    rows = [row for row in (" ".join(row.split()) for row in text.splitlines()) if row]
    at = 0
    while at < len(rows):
        row = rows[at]
        items = _items(rows, at + 1) if row.endswith(":") else []
        if items:
            lead = cut_sentences(row)[-1]
            found += [one for one in cut_sentences(row)[:-1] if _shows(one)]
            block = "\n".join([lead, *items])
            if len(block.split()) <= LONGEST:
                found.append(plain_lines(block))
        elif not _ITEM.match(row):
            found += [plain(one) for one in cut_sentences(row) if _shows(one)]
        at += 1 + len(items)
    return found


def plain_lines(block: str) -> str:
    """Return a list, one item per line, without footnote marks."""
    return "\n".join(plain(row) for row in block.split("\n"))


def _items(rows: list[str], at: int) -> list[str]:
    """Return the rows from an index on that begin with a bullet or number."""
    end = at
    while end < len(rows) and _ITEM.match(rows[end]):
        end += 1
    return rows[at:end]


def _shows(sentence: str) -> bool:
    """Check whether a sentence is complete, of suitable length, and not a question."""
    said = plain(sentence)
    size = len(said.split())
    starts = bool(said) and (said[0].isupper() or said[0].isdigit() or said[0] in "\"'“(")
    return (
        3 <= size <= LONGEST
        and starts
        and bool(_WHOLE.search(said))
        and not said.endswith("?")
        and not _INSIDE.search(said)
    )


class SentenceCutter:
    """Splits streamed text into sentences, returning each once it is complete."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, piece: str) -> list[str]:
        """Append a piece of text; return the sentences that are complete now."""
        self._text += piece
        *whole, last = cut_sentences(self._text) or [""]
        if whole:
            self._text = last + self._text[len(self._text.rstrip()) :]
        return whole

    def rest(self) -> list[str]:
        """Return the remaining text as sentences, at the end of the stream."""
        text, self._text = self._text, ""
        return cut_sentences(text)
