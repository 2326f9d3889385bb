"""Reader of PDF files, by pypdf (https://pypdf.readthedocs.io), which runs no scripts."""

from __future__ import annotations

import io
import logging
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from galenic.retrieval.documents.base import Document, DocumentLine, SkipError, clean, joined

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

__all__ = ["read_pdf"]

MOST_PAGES = 3_000
MOST_SECONDS = 60.0
"""Of the processor for one file: a few kilobytes can unpack to hours of work."""
MOST_CHARACTERS = 20_000_000
# Exceptions of pypdf on malformed files: its own, and Python's for values of the wrong type.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError,
    NotImplementedError, OSError, RecursionError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


class _TooLongError(Exception):
    """A page takes more time than is left for its file."""


def read_pdf(raw: bytes, name: str) -> Document:
    """Read the text of each page; pages without text (scans) are counted.

    Raises:
        SkipError: the file is encrypted, damaged, or has no text at all.
    """
    from pypdf.errors import DependencyError, PyPdfError

    try:
        with _quiet():
            return _read(raw, name)
    except DependencyError as error:
        raise SkipError("encrypted PDF") from error
    except (PyPdfError, *_BROKEN) as error:
        raise SkipError("damaged PDF") from error


def _read(raw: bytes, name: str) -> Document:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(raw), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise SkipError("encrypted PDF")
    notes: Counter[str] = Counter()
    lines: list[DocumentLine] = []
    room, end = MOST_CHARACTERS, time.process_time() + MOST_SECONDS
    for number, page in enumerate(reader.pages, start=1):
        text = _text(page, end) if number <= MOST_PAGES else None
        room -= len(text or "")
        if text is None or room < 0:
            notes["PDF pages beyond the limit"] = len(reader.pages) - number + 1
            break
        if not text.strip():
            notes["PDF pages without text"] += 1
        lines += [DocumentLine(part, f"page {number}") for part in _paragraphs(text)]
    if not lines:
        limit = notes["PDF pages beyond the limit"]
        raise SkipError("PDF without text " + ("within the limits" if limit else "(a scan?)"))
    return Document(_title(reader) or clean(name), lines, notes)


def _text(page: PageObject, end: float) -> str | None:
    """The text of a page; None if the time of the processor is over before it is read."""

    def hurry(*_: object) -> None:
        if time.process_time() > end:
            raise _TooLongError

    try:
        return page.extract_text(visitor_operand_before=hurry)
    except _TooLongError:
        return None


def _paragraphs(text: str) -> Iterator[str]:
    """Split a page into paragraphs at empty lines; without any, it is one paragraph."""
    for part in text.split("\n\n"):
        if line := clean(joined(row.strip() for row in part.split("\n") if row.strip())):
            yield line


def _title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return clean(title)[:200] if isinstance(title, str) else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pypdf's warnings, which may quote the document."""
    logger = logging.getLogger("pypdf")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
