"""Splits documents into passages of 120 to 180 words, at paragraph boundaries if possible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from galenic.retrieval.documents.base import DocumentLine

__all__ = ["Piece", "cut"]

LEAST, MOST, TAIL = 120, 180, 40
"""In words: a passage ends with the first paragraph that brings it to LEAST, and has at most MOST;
a remainder shorter than TAIL is added to the previous passage."""
MOST_CHARACTERS = 2_400
"""Maximum characters of a passage, for scripts without spaces between words."""

# A sentence ends before an upper-case letter, a digit or a dash that begins an item of a list.
_SENTENCE = re.compile(r"(?<=[.!?:;])[\"')\]]?\s+(?=[A-Z0-9(\"'“]|[-–•*]\s)|(?<=[。！？])")


@dataclass(frozen=True)
class Piece:
    """A passage: text, heading, and the locations of its first and last line.

    Paragraphs are separated by line breaks.
    """

    text: str
    heading: str
    first: str
    last: str


@dataclass
class _Open:
    lines: list[DocumentLine]
    words: int = 0
    characters: int = 0

    def add(self, line: DocumentLine, words: int) -> None:
        self.lines.append(line)
        self.words += words
        self.characters += len(line.text) + 1

    def has_room(self, line: DocumentLine, words: int, most: int) -> bool:
        characters = self.characters + len(line.text) + 1
        return self.words + words <= most and characters <= MOST_CHARACTERS

    def has_room_for_all(self, other: _Open) -> bool:
        characters = self.characters + other.characters
        return self.words + other.words <= MOST + TAIL and characters <= MOST_CHARACTERS


def cut(lines: Iterable[DocumentLine]) -> list[Piece]:
    """Split lines into passages, in order, without omission or repetition."""
    pieces = []
    for heading, group in groupby(lines, key=lambda line: line.heading):
        pieces += [_piece(heading, block.lines) for block in _blocks(group)]
    return pieces


def _blocks(lines: Iterable[DocumentLine]) -> list[_Open]:
    done: list[_Open] = []
    block = _Open([])
    for line in lines:
        for part in _parts(line, block):
            words = len(part.text.split())
            if block.lines and not block.has_room(part, words, MOST):
                done.append(block)
                block = _Open([])
            block.add(part, words)
        if block.words >= LEAST:
            done.append(block)
            block = _Open([])
    if done and block.words < TAIL and done[-1].has_room_for_all(block):
        done[-1].lines += block.lines
    elif block.lines:
        done.append(block)
    return done


def _parts(line: DocumentLine, block: _Open) -> list[DocumentLine]:
    """Return the line, or its sentences if it is too long or needed to fill the open passage."""
    words = len(line.text.split())
    long = words > MOST or len(line.text) > MOST_CHARACTERS
    if not long and (block.words >= LEAST or block.has_room(line, words, MOST)):
        return [line]
    parts = [part for sentence in _SENTENCE.split(line.text) for part in _chopped(sentence)]
    return [replace(line, text=part, goes_on=at > 0) for at, part in enumerate(parts)]


def _chopped(sentence: str) -> Iterator[str]:
    """Split a sentence too long for a passage between words, and overlong words anywhere."""
    words = sentence.split()
    for start in range(0, len(words), MOST):
        text = " ".join(words[start : start + MOST])
        for at in range(0, len(text), MOST_CHARACTERS - 1):
            yield text[at : at + MOST_CHARACTERS - 1]


def _piece(heading: str, lines: list[DocumentLine]) -> Piece:
    text = lines[0].text
    for line in lines[1:]:
        text += (" " if line.goes_on else "\n") + line.text
    return Piece(text, heading, lines[0].place, lines[-1].place)
