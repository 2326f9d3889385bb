"""Storage of passage embeddings in the index file, and nearest-neighbour search.

The tables are created on first use; an index without them is searched by words only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RRF_K", "Remembered", "Vectors", "fuse"]

RRF_K = 60
"""Constant of reciprocal rank fusion, as in the paper; not tuned."""
_BLOCK = 4096
"""Vectors loaded at a time."""
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS encoder (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  name TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, width INTEGER NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS vectors (
  passage INTEGER PRIMARY KEY REFERENCES passages (id) ON DELETE CASCADE, vector BLOB NOT NULL
)""",
)
_MISSING = "NOT EXISTS (SELECT 1 FROM vectors v WHERE v.passage = p.id)"

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Remembered:
    """The encoder of an index's embeddings.

    Attributes:
        name: name as given by the user.
        path: folder of the encoder.
        sha256: hash of its weights.
        width: dimension of the embeddings.
    """

    name: str
    path: str
    sha256: str
    width: int


class Vectors:
    """Embeddings of an open index, stored as normalized float16 vectors."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def remembered(self) -> Remembered | None:
        """Return the recorded encoder, or None."""
        made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'encoder'"
        if self.connection.execute(made).fetchone() is None:
            return None
        found = self.connection.execute("SELECT name, path, sha256, width FROM encoder").fetchone()
        return None if found is None else Remembered(*found)

    def remember(self, encoder: Remembered) -> None:
        """Record the encoder, deleting vectors of another one. Call within a batch."""
        before = self.remembered()
        for table in _TABLES:
            self.connection.execute(table)
        if before is not None and before.sha256 != encoder.sha256:
            self.connection.execute("DELETE FROM vectors")
        self.connection.execute(
            "INSERT OR REPLACE INTO encoder (id, name, path, sha256, width) VALUES (1, ?, ?, ?, ?)",
            (encoder.name, encoder.path, encoder.sha256, encoder.width),
        )

    def forget(self) -> None:
        """Delete all vectors and the recorded encoder. Call within a batch."""
        for table in _TABLES:
            self.connection.execute(table)
        self.connection.execute("DELETE FROM vectors")
        self.connection.execute("DELETE FROM encoder")

    def missing(self) -> list[int]:
        """Return the row ids of passages without a vector."""
        query = f"SELECT p.id FROM passages p WHERE {_MISSING} ORDER BY p.id"  # noqa: S608
        return [row for (row,) in self.connection.execute(query)]

    @property
    def whole(self) -> bool:
        """Whether the index is not empty and all passages have vectors."""
        [most] = self.connection.execute("SELECT count(*) FROM passages").fetchone()
        [some] = self.connection.execute("SELECT count(*) FROM vectors").fetchone()
        return 0 < int(most) == int(some)

    def put(self, rows: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Store embeddings of passages, replacing earlier ones. Call within a batch.

        Args:
            rows: row ids of the passages.
            vectors: normalised embeddings, shape (len(rows), width); stored as float16.
        """
        packed = [vector.astype("<f2").tobytes() for vector in vectors]
        self.connection.executemany(
            "INSERT OR REPLACE INTO vectors (passage, vector) VALUES (?, ?)",
            zip(rows, packed, strict=True),
        )

    def nearest(self, vector: NDArray[np.float32], limit: int) -> list[tuple[int, bytes]]:
        """Return the passages whose embeddings have the highest cosine, without duplicate texts.

        Args:
            vector: normalised embedding of the question, shape (width,).
            limit: maximum number of passages.

        Returns:
            Row id and text digest of each passage, best first.
        """
        import numpy as np

        rows, cosines = self._cosines(vector)
        found: dict[bytes, int] = {}
        for at in np.argsort(-cosines, kind="stable"):
            query = "SELECT digest FROM passages WHERE id = ?"
            [digest] = self.connection.execute(query, (int(rows[at]),)).fetchone()
            found.setdefault(digest, int(rows[at]))
            if len(found) == limit:
                break
        return [(row, digest) for digest, row in found.items()]

    def _cosines(
        self, vector: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Compute the cosine of every passage, block by block to limit memory.

        Args:
            vector: normalised embedding of the question, shape (width,).

        Returns:
            Row ids and cosines, both of shape (n,).
        """
        import numpy as np

        rows = [np.empty(0, dtype=np.int64)]
        cosines = [np.empty(0, dtype=np.float32)]
        cursor = self.connection.execute("SELECT passage, vector FROM vectors ORDER BY passage")
        while block := cursor.fetchmany(_BLOCK):
            numbers, packed = zip(*block, strict=True)
            matrix = np.frombuffer(b"".join(packed), dtype="<f2").reshape(len(block), -1)
            rows.append(np.array(numbers, dtype=np.int64))
            cosines.append(matrix.astype(np.float32) @ vector)
        return np.concatenate(rows), np.concatenate(cosines)


def fuse(rankings: Iterable[Sequence[T]]) -> list[tuple[T, float]]:
    """Fuse rankings by reciprocal rank fusion; return the items with scores, best first.

    Each ranking adds 1 / (60 + rank) to the score of its items, with ranks from 1. Ties stay in the
    order of the first ranking. Cormack, Clarke and Buettcher, Reciprocal Rank Fusion outperforms
    Condorcet and individual Rank Learning Methods, SIGIR 2009.

    Args:
        rankings: rankings of the same kind of items, each best first.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for place, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0.0) + 1 / (RRF_K + place)
    return sorted(scores.items(), key=lambda item: -item[1])
