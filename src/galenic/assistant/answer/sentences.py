"""Cut texts into sentences that can be shown whole, and what a model writes into sentences."""

from __future__ import annotations

import re

__all__ = ["SentenceCutter", "cut_sentences", "plain", "whole_sentences"]

LONGEST = 60
"""Words of a sentence or list that is shown; a longer one is left out, never cut."""

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9(\"'“]|[-–•*]\s+[A-Z])|\n+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|vs|e\.g|i\.e|etc|approx|Fig|al|U\.S)\.)$"
)
_ITEM = re.compile(r"^(?:[-–•*]|\d{1,2}[.)])\s+")
_INSIDE = re.compile(r"\s[-–•*]\s+(?=[A-Z])")
_FOOTNOTE = re.compile(r"\s*\[\d+(?:[-,]\d+)*\]")
_WHOLE = re.compile(r"[.!?][\"')\]]*$")


def plain(text: str) -> str:
    """Text on one line without footnote marks: how a sentence is found in its source."""
    return " ".join(_FOOTNOTE.sub("", text).split())


def cut_sentences(text: str) -> list[str]:
    """The pieces of a text between ends of sentences and lines, in order."""
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
    """What of a text may be shown alone: whole sentences, and lists with their lead.

    A line without an end (a heading, a sentence that was broken), a lead whose list has no marks,
    and a sentence with a list run into it are left out. Nothing is cut, spliced or completed.
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
    """A list, line by line, without footnote marks."""
    return "\n".join(plain(row) for row in block.split("\n"))


def _items(rows: list[str], at: int) -> list[str]:
    """The marked rows from here on."""
    end = at
    while end < len(rows) and _ITEM.match(rows[end]):
        end += 1
    return rows[at:end]


def _shows(sentence: str) -> bool:
    """Whether it is a whole sentence that says something alone."""
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
    """Gives the sentences of a text that comes piece by piece, each as soon as it is whole."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, piece: str) -> list[str]:
        """Sentences that are whole now."""
        self._text += piece
        *whole, last = cut_sentences(self._text) or [""]
        if whole:
            self._text = last + self._text[len(self._text.rstrip()) :]
        return whole

    def rest(self) -> list[str]:
        """What is left when no more comes."""
        text, self._text = self._text, ""
        return cut_sentences(text)
