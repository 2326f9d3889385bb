"""Reader of PDF files, by pypdf (https://pypdf.readthedocs.io), which runs no scripts."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from galenic.retrieval.documents.base import Document, DocumentLine, SkipError, clean, joined

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["read_pdf"]

MOST_PAGES = 3_000
# Exceptions of pypdf on malformed files: its own, and Python's for values of the wrong type.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError,
    NotImplementedError, OSError, RecursionError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


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
    for number, page in enumerate(reader.pages, start=1):
        if number > MOST_PAGES:
            notes["PDF pages beyond the limit"] = len(reader.pages) - MOST_PAGES
            break
        text = page.extract_text()
        if not text.strip():
            notes["PDF pages without text"] += 1
        lines += [DocumentLine(part, f"page {number}") for part in _paragraphs(text)]
    if not lines:
        raise SkipError("PDF without text (a scan?)")
    return Document(_title(reader) or clean(name), lines, notes)


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
