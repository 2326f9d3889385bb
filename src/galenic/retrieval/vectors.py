"""Vectors of passages in the index file, and the passages nearest to one.

The tables are made when they are first needed: an index without them is searched by words alone.
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
"""Of the paper; not tuned."""
_BLOCK = 4096
"""Vectors in memory at once."""
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
    """The encoder that an index's vectors are from.

    Attributes:
        name: as it was given.
        path: of its folder.
        sha256: of its weights.
        width: numbers in a vector.
    """

    name: str
    path: str
    sha256: str
    width: int


class Vectors:
    """The vectors of an open index: float16, of length 1."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def remembered(self) -> Remembered | None:
        """The encoder; None when there is none."""
        made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'encoder'"
        if self.connection.execute(made).fetchone() is None:
            return None
        found = self.connection.execute("SELECT name, path, sha256, width FROM encoder").fetchone()
        return None if found is None else Remembered(*found)

    def remember(self, encoder: Remembered) -> None:
        """Note the encoder; vectors of another one go. To be called within a batch."""
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
        """Remove all vectors and the encoder's name. To be called within a batch."""
        for table in _TABLES:
            self.connection.execute(table)
        self.connection.execute("DELETE FROM vectors")
        self.connection.execute("DELETE FROM encoder")

    def missing(self) -> list[int]:
        """Rows of passages that have no vector yet."""
        query = f"SELECT p.id FROM passages p WHERE {_MISSING} ORDER BY p.id"  # noqa: S608
        return [row for (row,) in self.connection.execute(query)]

    @property
    def whole(self) -> bool:
        """Whether there are passages and each has its vector."""
        [most] = self.connection.execute("SELECT count(*) FROM passages").fetchone()
        [some] = self.connection.execute("SELECT count(*) FROM vectors").fetchone()
        return 0 < int(most) == int(some)

    def put(self, rows: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Store the vectors of these passages."""
        packed = [vector.astype("<f2").tobytes() for vector in vectors]
        self.connection.executemany(
            "INSERT OR REPLACE INTO vectors (passage, vector) VALUES (?, ?)",
            zip(rows, packed, strict=True),
        )

    def nearest(self, vector: NDArray[np.float32], limit: int) -> list[tuple[int, bytes]]:
        """Rows and digests of the passages with the highest cosine, each text once."""
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
        """Of every passage, block by block: the file's vectors never are in memory together."""
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
    """Put rankings together: each adds 1 / (60 + place) to what stands in it, places from 1.

    Cormack, Clarke and Buettcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods, SIGIR 2009. Ties stay in the order of the first ranking.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for place, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0.0) + 1 / (RRF_K + place)
    return sorted(scores.items(), key=lambda item: -item[1])
