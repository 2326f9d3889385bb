"""Passage search: BM25 over titles, names, questions and texts (SQLite FTS5).

If the index has embeddings, their ranking is fused with that of BM25 at equal weight.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; FTS5's own
formula with column weights: https://sqlite.org/fts5.html#the_bm25_function.
Questions are neither logged nor stored.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from galenic.errors import UserError
from galenic.home import index_path
from galenic.retrieval.query import MOST_CHARACTERS, Query, make_query, words
from galenic.retrieval.store import Store, open_store, told
from galenic.retrieval.vectors import Vectors, fuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from galenic.models.encoders.sentence import SentenceEncoder

__all__ = ["WEIGHTS", "Passage", "Retriever", "Snippet", "open_retriever", "search"]

WEIGHTS = {"title": 4.0, "names": 2.0, "question": 2.0, "text": 1.0}
"""BM25 weight of each column; tuned by `benchmarks/retrieval.py` on separate rows."""
MOST_RESULTS = 100
COMMON = 0.05
"""A phrase is common if more than this share of all passages contain it."""
_K1_AND_1 = 2.2
"""k1 + 1 in FTS5's BM25; idf times this is the maximum contribution of a phrase to a score."""
FUSED = MOST_RESULTS
"""Passages of each ranking that enter the fusion, independent of ``k``."""
_SPARE = 40
"""Extra candidates, since duplicate texts are removed."""
_SNIPPET_WORDS = 40
_ON, _OFF = "\x01", "\x02"
"""Markers around matched words; passages contain no control characters."""

_Row: TypeAlias = tuple[int, float, bytes, str, str, int]
"""Row id, score (lower is better), digest, collection, file, number in the file."""


@dataclass(frozen=True)
class Snippet:
    """An excerpt of a passage.

    Attributes:
        text: the excerpt, with "…" where the passage goes on.
        marks: (start, end) character ranges of the matched words in ``text``.
    """

    text: str
    marks: tuple[tuple[int, int], ...]

    def marked(self, on: str, off: str) -> str:
        """Return the text with each match enclosed in ``on`` and ``off``.

        Args:
            on: inserted before a match, such as ``<b>``.
            off: inserted after a match, such as ``</b>``.
        """
        pieces, at = [], 0
        for start, end in self.marks:
            pieces += [self.text[at:start], on, self.text[start:end], off]
            at = end
        return "".join([*pieces, self.text[at:]])


@dataclass(frozen=True)
class Passage:
    """A retrieved passage, with everything needed to cite it.

    Attributes:
        id: stable as long as the document does not change.
        text: whole text.
        snippet: excerpt that matches the question best.
        title: title of the document, or topic of a MedQuAD answer.
        question: question that it answers, or its heading; may be empty.
        collection: ``medquad`` or a folder.
        document: path of the file relative to the folder.
        place: location in the document.
        source: author or institution.
        license, attribution: to be shown with the passage; attribution may be empty.
        url: address of publication; may be empty.
        score: higher is better; comparable only within one search.
    """

    id: str
    text: str
    snippet: Snippet
    title: str
    question: str
    collection: str
    document: str
    place: str
    source: str
    license: str
    attribution: str
    url: str
    score: float


def search(
    question: str, k: int = 5, *, path: Path | None = None, embeddings: bool = True
) -> list[Passage]:
    """Return the passages of the index that match a question best, best first.

    Args:
        question: the question in the user's own words.
        k: maximum number of passages, 1 to 100.
        path: path of the index; by default the user's own.
        embeddings: also rank by embeddings, if the index has them.

    Raises:
        UserError: the index is empty or cannot be used, or ``k`` is out of range.
    """
    with open_retriever(path, embeddings=embeddings) as retriever:
        return retriever.search(question, k)


@contextmanager
def open_retriever(path: Path | None = None, *, embeddings: bool = True) -> Iterator[Retriever]:
    """Open an index for several searches, all from the thread that opened it.

    Args:
        path: path of the index; by default the user's own.
        embeddings: also rank by embeddings, if the index has them.

    Raises:
        UserError: the index is empty or cannot be used.
    """
    path = path or index_path()
    with open_store(path) as store:
        yield Retriever(store, path, embeddings=embeddings)


class Retriever:
    """Searches one index; use it from one thread.

    Attributes:
        connection: connection to the index.
        path: path of the index, for messages.
        note: why the last search could not use the index's embeddings; empty otherwise.
    """

    def __init__(self, store: Store, path: Path, *, embeddings: bool = True) -> None:
        self.connection = store.connection
        self.path = path
        self.note = ""
        self._encoder: SentenceEncoder | None = None
        self._unasked = embeddings

    def search(self, question: str, k: int = 5) -> list[Passage]:
        """Return the best k passages for a question, as the function `search` does.

        Args:
            question: the question in the user's own words.
            k: maximum number of passages, 1 to 100.

        Raises:
            UserError: the index cannot be used, or ``k`` is out of range.
        """
        if not 1 <= k <= MOST_RESULTS:
            raise UserError(f"k = {k}: from 1 to {MOST_RESULTS} passages can be asked for.")
        query = make_query(question)
        if not query.phrases:
            return []
        with told(self.path):
            return self._found(query, k, self._vector(question))

    def to_answer(self, question: str, k: int) -> list[Passage]:
        """Return the best k passages, followed by the missing ones of the best k by BM25 alone.

        Whether passages can answer is judged by words, so the best by words are always included.

        Args:
            question: the question in the user's own words.
            k: number of passages of each ranking, 1 to 100.

        Returns:
            Between 0 and 2k passages, without duplicates.
        """
        found = self.search(question, k)
        if self._encoder is None:
            return found
        known = {passage.id for passage in found}
        with told(self.path):
            by_words = self._found(make_query(question), k, None) if found else []
        return [*found, *(passage for passage in by_words if passage.id not in known)]

    def having(self, phrase: str) -> int:
        """Return the number of passages that contain a phrase, compared by word stems."""
        quoted = '"' + " ".join(words(phrase)) + '"'
        count = "SELECT count(*) FROM words WHERE words MATCH ?"
        with told(self.path):
            [found] = self.connection.execute(count, (quoted,)).fetchone()
        return int(found)

    @property
    def size(self) -> int:
        """Number of passages in the index."""
        with told(self.path):
            [found] = self.connection.execute("SELECT count(*) FROM passages").fetchone()
        return int(found)

    def _found(self, query: Query, k: int, vector: NDArray[np.float32] | None) -> list[Passage]:
        """Return the best k passages from a consistent state of the index."""
        with self._snapshot():
            best = self._best(query, k) if vector is None else self._fused(query, vector, k)
            return [self._passage(query, *found) for found in best]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Read from one consistent state of the index, unaffected by concurrent writes."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def _vector(self, question: str) -> NDArray[np.float32] | None:
        """Embed the question; None if only words are used."""
        if self._unasked:
            self._unasked = False
            if Vectors(self.connection).remembered() is not None:
                from galenic.retrieval.embed import usable

                self._encoder, self.note = usable(self.connection)
        if self._encoder is None:
            return None
        vectors = self._encoder.encode([question[:MOST_CHARACTERS]])
        return vectors.reshape(-1)

    def _fused(self, query: Query, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """Return row and score of the best k by BM25 and embeddings fused, without duplicates."""
        words_first = [(row, self._digest(row)) for row, _ in self._best(query, FUSED)]
        nearest = Vectors(self.connection).nearest(vector, FUSED)
        rows = {digest: row for row, digest in (*nearest, *words_first)}
        rankings = ([digest for _, digest in ranking] for ranking in (words_first, nearest))
        # BM25 scores and cosines are not comparable, so only ranks are used.
        return [(rows[digest], -score) for digest, score in fuse(rankings)[:k]]

    def _digest(self, row: int) -> bytes:
        """Return the digest of a passage's text, by row id."""
        query = "SELECT digest FROM passages WHERE id = ?"
        return bytes(self.connection.execute(query, (row,)).fetchone()[0])

    def _best(self, query: Query, k: int) -> list[tuple[int, float]]:
        """Return row and score of the best k by BM25, each text once; ties in document order."""
        common, bound = self._common(query)
        limit = k + _SPARE
        while True:
            rows = self._ranked(query, common, limit)
            best = _once(rows)[:k]
            whole = len(best) == k or len(rows) < limit
            if common and (len(best) < k or -best[-1][1] <= bound):
                common = set()
            elif whole:
                return best
            else:
                limit *= 4

    def _common(self, query: Query) -> tuple[set[str], float]:
        """Return the common phrases, and the maximum that they can add to a score.

        Passages with only common phrases need not be scored if k passages with another phrase
        score higher than this bound ("MaxScore": Turtle and Flood, Query evaluation: strategies
        and optimizations, 1995); the result is the same.
        """
        [total] = self.connection.execute("SELECT count(*) FROM passages").fetchone()
        common, bound = set(), 0.0
        for phrase in query.phrases:
            count = "SELECT count(*) FROM words WHERE words MATCH ?"
            [having] = self.connection.execute(count, (phrase,)).fetchone()
            if having > COMMON * total:
                common.add(phrase)
                bound += _K1_AND_1 * max(math.log((total - having + 0.5) / (having + 0.5)), 1e-6)
        return (set(), 0.0) if len(common) == len(query.phrases) else (common, bound)

    def _ranked(self, query: Query, common: set[str], limit: int) -> list[_Row]:
        """Rank rows by score, then document; with ``common``, only those with another phrase."""
        others = " OR ".join(phrase for phrase in query.phrases if phrase not in common)
        # The + keeps SQLite from querying the full-text table row by row.
        only = "AND +rowid IN (SELECT rowid FROM words WHERE words MATCH ?)" if common else ""
        rows = self.connection.execute(
            "SELECT w.rowid, w.score, p.digest, c.name, f.path, p.number FROM "  # noqa: S608
            f"(SELECT rowid, bm25(words, {', '.join(map(str, WEIGHTS.values()))}) AS score "
            f"FROM words WHERE words MATCH ? {only} ORDER BY score LIMIT ?) w "
            "JOIN passages p ON p.id = w.rowid "
            "JOIN files f ON f.id = p.file JOIN collections c ON c.id = f.collection",
            (query.expression, *([others] if common else []), limit),
        ).fetchall()
        return sorted(rows, key=lambda row: (row[1], row[3:]))

    def _passage(self, query: Query, row: int, rank: float) -> Passage:
        """Load a passage with its snippet.

        Args:
            query: the processed question, for the snippet.
            row: row id of the passage.
            rank: search score; lower is better.
        """
        found = self.connection.execute(
            "SELECT p.text, p.title, p.question, c.name, f.path, p.number, p.place, p.source, "
            "c.license, c.attribution, p.url FROM passages p JOIN files f ON f.id = p.file "
            "JOIN collections c ON c.id = f.collection WHERE p.id = ?",
            (row,),
        ).fetchone()
        if any(type(value) is not (int if at == 5 else str) for at, value in enumerate(found)):
            raise sqlite3.DatabaseError("a passage that is no text")  # SQLite keeps any type
        marked = self.connection.execute(
            "SELECT snippet(words, 3, ?, ?, ' … ', ?) FROM words WHERE words MATCH ? AND rowid = ?",
            (_ON, _OFF, _SNIPPET_WORDS, query.expression, row),
        ).fetchone()
        text, title, heading, collection, document, number, place, source, *rights = found
        license_, attribution, url = rights
        return Passage(
            id=f"{collection}/{document}#{number}",
            text=text,
            snippet=_snippet(marked[0] if marked else _beginning(text)),
            title=title,
            question=heading,
            collection=collection,
            document=document,
            place=place,
            source=source,
            license=license_,
            attribution=attribution,
            url=url,
            score=-rank,
        )


def _once(rows: Iterable[_Row]) -> list[tuple[int, float]]:
    """Return row id and score of each row, without rows whose text occurred before."""
    seen = set()
    kept = []
    for row, rank, digest, *_ in rows:
        if digest not in seen:
            seen.add(digest)
            kept.append((row, rank))
    return kept


def _beginning(text: str) -> str:
    """Return the beginning of a text, as the snippet of a passage without matched words."""
    kept = text.split(maxsplit=_SNIPPET_WORDS)
    return " ".join(kept[:_SNIPPET_WORDS]) + (" … " if len(kept) > _SNIPPET_WORDS else "")


def _snippet(marked: str) -> Snippet:
    """Convert an excerpt with FTS5's match markers to a `Snippet`."""
    text, marks = "", []
    for piece in marked.replace("\n", " ").split(_ON):
        inside, closed, after = piece.partition(_OFF)
        if closed:
            marks.append((len(text), len(text) + len(inside)))
        text += inside + after
    return Snippet(text, tuple(marks))
