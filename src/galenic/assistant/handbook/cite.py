"""The pages behind a statement of the handbook, as passages that can be cited and opened."""

from __future__ import annotations

from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.interactions import Warned
from galenic.assistant.handbook.load import NOTICE
from galenic.retrieval.retrieve import Passage, Snippet

__all__ = ["HANDBOOK", "cited_pages", "cited_sources"]

HANDBOOK = "handbook"
"""Name of the collection."""
MOST = 2
"""Pages that are cited for one statement."""
LICENSE = "our own words, Apache-2.0; the page itself has its own terms"


def cited_pages(entry: Entry, place: Place) -> tuple[Passage, ...]:
    """The first pages that say what a statement says, each with all that the entry has from it."""
    return tuple(_passage(entry, key) for key in place.statement.sources[:MOST])


def cited_sources(warned: Warned) -> tuple[Passage, ...]:
    """The first pages behind a warning."""
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
