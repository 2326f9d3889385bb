"""Conversion of handbook sources to `Passage` objects, so that they can be cited like others."""

from __future__ import annotations

from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.interactions import Warned
from galenic.assistant.handbook.load import NOTICE
from galenic.retrieval.retrieve import Passage, Snippet

__all__ = ["HANDBOOK", "cited_pages", "cited_sources"]

HANDBOOK = "handbook"
"""Name of the collection that these passages belong to."""
MOST = 2
"""Maximum number of pages that are cited for one statement."""
LICENSE = "our own words, Apache-2.0; the page itself has its own terms"
"""Licence that is shown with a passage."""


def cited_pages(entry: Entry, place: Place) -> tuple[Passage, ...]:
    """Return the first pages that support a statement, as passages.

    The text of each passage consists of all statements of the entry that cite that page.

    Args:
        entry: the entry that the statement belongs to.
        place: the statement, with its field.
    """
    return tuple(_passage(entry, key) for key in place.statement.sources[:MOST])


def cited_sources(warned: Warned) -> tuple[Passage, ...]:
    """Return the first pages that support a warning about an interaction, as passages."""
    row = warned.interaction
    return tuple(
        Passage(
            id=f"{HANDBOOK}/interactions#{row.id}-{at}",
            text=row.text,
            snippet=Snippet(row.text, ()),
            title=one.title,
            question=row.why,
            collection=HANDBOOK,
            document="interactions.yaml",
            place=one.date,
            source=one.name,
            license=LICENSE,
            attribution=NOTICE,
            url=one.url,
            score=0.0,
        )
        for at, one in enumerate(row.sources[:MOST])
    )


def _passage(entry: Entry, key: str) -> Passage:
    """Return one page of an entry as a passage.

    Args:
        entry: the entry that cites the page.
        key: key of the page in ``entry.sources``.
    """
    source = entry.sources[key]
    said = [p.statement.text for p in entry.places() if key in p.statement.sources]
    text = "\n".join(said)
    return Passage(
        id=f"{HANDBOOK}/{entry.id}#{key}",
        text=text,
        snippet=Snippet(text[:200], ()),
        title=source.title,
        question=entry.title,
        collection=HANDBOOK,
        document=f"{entry.id}.yaml",
        place=source.date,
        source=source.name,
        license=LICENSE,
        attribution=NOTICE,
        url=source.url,
        score=0.0,
    )
