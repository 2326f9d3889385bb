"""The index file: an SQLite database with full-text search (FTS5).

Collections (MedQuAD, a folder) contain files, and files contain passages. The full-text table
stores no text of its own: triggers update it within the transaction of each change
(https://sqlite.org/fts5.html#external_content_tables). The database uses write-ahead logging, so a
killed process leaves the state after its last complete transaction, and readers are never blocked.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from galenic.errors import UserError
from galenic.home import make_private

__all__ = ["Collection", "FileState", "NewPassage", "Store", "open_store", "told"]

VERSION = 1
NOTHING = (
    "nothing is indexed yet. `galenic index medquad --from FILE` takes in MedQuAD, "
    "`galenic index FOLDER` documents of your own."
)
_SCHEMA = """
CREATE TABLE collections (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE, license TEXT NOT NULL, attribution TEXT NOT NULL
);
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
  path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
  skipped TEXT NOT NULL,
  UNIQUE (collection, path)
);
CREATE TABLE passages (
  id INTEGER PRIMARY KEY,
  file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  title TEXT NOT NULL, names TEXT NOT NULL, question TEXT NOT NULL, text TEXT NOT NULL,
  place TEXT NOT NULL, source TEXT NOT NULL, url TEXT NOT NULL, digest BLOB NOT NULL
);
CREATE INDEX passages_of_files ON passages (file);
CREATE VIRTUAL TABLE words USING fts5 (
  title, names, question, text,
  content = 'passages', content_rowid = 'id', tokenize = "porter unicode61 remove_diacritics 2"
);
CREATE TABLE untidy (since INTEGER PRIMARY KEY);
CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
  INSERT INTO words (rowid, title, names, question, text)
  VALUES (new.id, new.title, new.names, new.question, new.text);
END;
CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
  INSERT INTO words (words, rowid, title, names, question, text)
  VALUES ('delete', old.id, old.title, old.names, old.question, old.text);
  INSERT OR IGNORE INTO untidy VALUES (1);
END;
"""


@dataclass(frozen=True)
class NewPassage:
    """A passage to store.

    Attributes:
        title: title of its document, or topic of a MedQuAD answer.
        names: synonyms of the topic.
        question: question that it answers, or its heading; may be empty.
        text: text that is shown and cited.
        place: location in the file, for the reader.
        source: author or institution.
        url: address of publication; may be empty.
    """

    title: str
    text: str
    place: str
    source: str
    names: str = ""
    question: str = ""
    url: str = ""

    @property
    def digest(self) -> bytes:
        """Digest of the text that ignores case and white space."""
        plain = " ".join(self.text.casefold().split())
        return hashlib.blake2b(plain.encode(), digest_size=8).digest()


@dataclass(frozen=True)
class FileState:
    """State of an indexed file when it was last read.

    Attributes:
        path: path relative to the folder, with ``/``.
        size: size in bytes.
        mtime_ns: modification time in nanoseconds.
        sha256: hash of the content, in hexadecimal.
        skipped: why the file was not indexed; empty if it was.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    skipped: str = ""


@dataclass(frozen=True)
class Collection:
    """A folder or data set in the index.

    Attributes:
        id: row id.
        name: ``medquad``, or the path of the folder.
        license: licence, as displayed with its passages.
        attribution: attribution, as displayed with its passages; may be empty.
        num_files: number of indexed files.
        num_passages: number of their passages.
    """

    id: int
    name: str
    license: str
    attribution: str
    num_files: int
    num_passages: int


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Convert SQLite errors into `UserError` with advice on what to do.

    Args:
        path: path of the index, for the message.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such module: fts5" in str(error):
            raise UserError(
                "this Python's SQLite has no full-text search (FTS5): use one from python.org or "
                "your distribution."
            ) from error
        raise UserError(f"the index {path} cannot be used: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"the index {path} is damaged ({error}). Delete it with `galenic purge` and index anew."
        ) from error


@contextmanager
def open_store(path: Path, *, write: bool = False) -> Iterator[Store]:
    """Open the index; create it if it is missing and ``write`` is set.

    Args:
        path: path of the index.
        write: open for writing.

    Raises:
        UserError: the index is missing, damaged, of another version, or cannot be written.
    """
    if write:
        make_private(path)
    elif not path.is_file():
        raise UserError(NOTHING)
    with told(path):
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
        try:
            _prepare(connection, path, write=write)
            yield Store(connection)
            if write:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    """Set the connection's options, create missing tables, and check the version of the index."""
    connection.execute("PRAGMA foreign_keys = ON")
    if write:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")  # deleted content is overwritten
        connection.execute("PRAGMA cache_size = -65536")
    else:
        connection.execute("PRAGMA query_only = ON")
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if write and not version:
        connection.executescript(f"BEGIN;{_SCHEMA};PRAGMA user_version = {VERSION};COMMIT;")
    elif not version:  # interrupted before the tables were created
        raise UserError(NOTHING)
    elif version != VERSION:
        raise UserError(
            f"the index {path} is of version {version}, this program reads {VERSION}. Delete it "
            "with `galenic purge` and index anew."
        )


class Store:
    """An open index, with one connection; use it from one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Run the block in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def collections(self) -> list[Collection]:
        """Return all collections, sorted by name."""
        rows = self.connection.execute(
            "SELECT id, name, license, attribution, "
            "(SELECT count(*) FROM files WHERE collection = c.id AND skipped = ''), "
            "(SELECT count(*) FROM passages p JOIN files f ON p.file = f.id "
            "WHERE f.collection = c.id) FROM collections c ORDER BY name"
        )
        return [Collection(*row) for row in rows]

    def collection(self, name: str, license_: str, attribution: str) -> int:
        """Return the id of a collection, creating it if missing.

        Args:
            name: ``medquad``, or the path of a folder.
            license_: licence, as displayed with its passages; replaces the stored one.
            attribution: attribution, as displayed with its passages; replaces the stored one.
        """
        self.connection.execute(
            "INSERT INTO collections (name, license, attribution) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET license = excluded.license, "
            "attribution = excluded.attribution",
            (name, license_, attribution),
        )
        query = "SELECT id FROM collections WHERE name = ?"
        return int(self.connection.execute(query, (name,)).fetchone()[0])

    def remove_collection(self, name: str) -> bool:
        """Remove a collection with all its passages; return whether it existed."""
        found = self.connection.execute("DELETE FROM collections WHERE name = ?", (name,))
        return found.rowcount > 0

    def files(self, collection: int) -> dict[str, FileState]:
        """Return the state of all files of a collection, by path."""
        rows = self.connection.execute(
            "SELECT path, size, mtime_ns, sha256, skipped FROM files WHERE collection = ?",
            (collection,),
        )
        return {row[0]: FileState(*row) for row in rows}

    def remove_file(self, collection: int, path: str) -> None:
        """Remove a file with its passages.

        Args:
            collection: id of the collection.
            path: path of the file relative to the folder.
        """
        self.connection.execute(
            "DELETE FROM files WHERE collection = ? AND path = ?", (collection, path)
        )

    def put_file(
        self, collection: int, state: FileState, passages: Iterable[NewPassage] = ()
    ) -> int:
        """Store a file with its passages, replacing its earlier version.

        Args:
            collection: id of the collection.
            state: state of the file.
            passages: its passages, in order.

        Returns:
            Number of passages stored.
        """
        self.remove_file(collection, state.path)
        cursor = self.connection.execute(
            "INSERT INTO files (collection, path, size, mtime_ns, sha256, skipped) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (collection, state.path, state.size, state.mtime_ns, state.sha256, state.skipped),
        )
        file, number = cursor.lastrowid, 0
        for number, p in enumerate(passages, start=1):
            self.connection.execute(
                "INSERT INTO passages (file, number, title, names, question, text, place, source, "
                "url, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (file, number, p.title, p.names, p.question, p.text, p.place, p.source, p.url,
                 p.digest),
            )  # fmt: skip
        return number

    def touch_file(self, collection: int, state: FileState) -> None:
        """Update size and mtime of a file with unchanged content.

        Args:
            collection: id of the collection.
            state: the new state; its ``path`` identifies the file.
        """
        self.connection.execute(
            "UPDATE files SET size = ?, mtime_ns = ? WHERE collection = ? AND path = ?",
            (state.size, state.mtime_ns, collection, state.path),
        )

    def tidy(self, *, shrink: bool = False) -> None:
        """Purge the words of removed passages from the file, also those of interrupted runs.

        FTS5 only marks a passage as deleted; its words stay in the file until segments are merged.
        """
        if self.connection.execute("SELECT * FROM untidy").fetchone():
            with self.batch():
                self.connection.execute("INSERT INTO words (words) VALUES ('optimize')")
                self.connection.execute("DELETE FROM untidy")
        if shrink:
            self.connection.execute("VACUUM")
