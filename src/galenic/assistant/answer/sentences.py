"""Cut passages and written answers into sentences, and make them fit to be read one by one."""

from __future__ import annotations

import re

__all__ = ["SentenceCutter", "cut_sentences", "trim"]

LONGEST = 55
"""Words of a sentence that is shown; a longer one ends at an item of its list, or is left out."""

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9(\"'“]|[-–•*]\s+[A-Z])|\n+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|vs|e\.g|i\.e|etc|approx|Fig|al|U\.S)\.)$"
)
_ITEM = re.compile(r"\s+[-–•*]\s+")
_FOOTNOTE = re.compile(r"\s*\[\d+(?:[-,]\d+)*\]|(?<=\w)\*(?=\w|\s)")


def cut_sentences(text: str) -> list[str]:
    """The sentences of a text, in order; lists stay with the words that lead to them."""
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


def trim(sentence: str) -> str:
    """A sentence as it is shown: lists on one line, footnote marks out; empty when it says nothing.

    Words are only left out, never changed.
    """
    plain = _FOOTNOTE.sub("", sentence).strip(" -–•*")
    lead, *items = _ITEM.split(plain)
    if items:
        plain = f"{lead.rstrip(':;,')}: {_joined(items, LONGEST - len(lead.split()))}"
    size = len(plain.split())
    if not 4 <= size <= LONGEST or plain.endswith((":", "?")):
        return ""
    if not plain[0].isalnum() or plain[0].islower():  # a list that began elsewhere
        return ""
    return plain if plain[-1] in ".!" else f"{plain.rstrip(',;')}."


def _joined(items: list[str], room: int) -> str:
    """As many items as there is room for."""
    kept: list[str] = []
    for item in items:
        room -= len(item.split())
        if room < 0:
            break
        kept.append(item.strip(" .;,"))
    return "; ".join(kept).replace(":;", ":")


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
