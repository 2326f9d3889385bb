"""Readers of plain text and Markdown."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator

from galenic.retrieval.documents.base import Document, DocumentLine, SkipError, clean, joined

__all__ = ["decode", "read_markdown", "read_text"]

_HEAD = 8192
"""Number of bytes inspected to distinguish text from other data."""
_MOST_BAD = 0.1
"""Maximum share of invalid characters in a text file."""
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
MOST_OF_HEADING = 6
"""Maximum number of words of a line that is taken as a heading without a mark."""
_FENCE = re.compile(r"\s*(```|~~~)")


def decode(raw: bytes) -> tuple[str, Counter[str]]:
    """Decode UTF-8 with or without byte order mark, or UTF-16 with one; bad bytes become U+FFFD.

    Returns:
        The text, and counts of replaced bytes.

    Raises:
        SkipError: the file is not text.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text, own = raw.decode("utf-16", errors="replace"), 0
    elif b"\x00" in raw[:_HEAD]:
        raise SkipError("binary")
    else:
        text, own = raw.decode("utf-8-sig", errors="replace"), raw.count(b"\xef\xbf\xbd")
    bad = text.count("\ufffd") - own
    if bad > _MOST_BAD * len(text):
        raise SkipError("binary")
    return text, Counter({"bad bytes replaced": bad} if bad > 0 else {})


def read_text(raw: bytes, name: str) -> Document:
    """Read plain text: paragraphs are separated by empty lines; the title is the file name.

    Raises:
        SkipError: the file is not text.
    """
    text, notes = decode(raw)
    return Document(clean(name), list(_paragraphs(text.splitlines())), notes)


def read_markdown(raw: bytes, name: str) -> Document:
    """Read Markdown: like `read_text`, with headings; the first of level 1 is the title.

    Raises:
        SkipError: the file is not text.
    """
    text, notes = decode(raw)
    title, heading, code = "", "", False
    lines: list[DocumentLine] = []
    open_lines: list[str] = []
    begin = 1
    for number, row in enumerate(text.splitlines(), start=1):
        code ^= bool(_FENCE.match(row))
        found = None if code or len(row) > 1000 else _HEADING.match(row)
        if not found:
            open_lines.append(row)
            continue
        lines += _paragraphs(open_lines, begin, heading)
        open_lines, begin = [], number + 1
        heading = clean(found[2])
        if len(found[1]) == 1 and not title:
            title = heading
    lines += _paragraphs(open_lines, begin, heading)
    return Document(title or clean(name), lines, notes)


def _paragraphs(rows: list[str], begin: int = 1, heading: str = "") -> Iterator[DocumentLine]:
    """Join the lines of each paragraph; list items and headings without a mark remain separate."""
    held: list[str] = []
    start = begin
    for number, row in enumerate([*rows, ""], start=begin):
        text = clean(row)
        item = re.match(r"([-*+•]|\d{1,3}[.)])\s", text)
        if held and (not text or item or _is_heading(held, text)):
            yield DocumentLine(joined(held), f"line {start}", heading)
            held = []
        if text:
            start = start if held else number
            held.append(text)


def _is_heading(held: list[str], follows: str) -> bool:
    """Check whether the first line of a paragraph is a heading: short, without an end, then text.

    "Opening hours" before "The surgery is open on weekdays." is one; the first line of a wrapped
    sentence goes on in lower case.
    """
    first = held[0]
    return (
        len(held) == 1
        and len(first.split()) <= MOST_OF_HEADING
        and first[:1].isupper()
        and not first.endswith((".", "!", "?", ":", ";", ","))
        and follows[:1].isupper()
        and len(follows.split()) > len(first.split())
    )
