"""Embeddings of passages and questions, computed by a local encoder.

They are optional: PyTorch is loaded only for an index that has embeddings or is to get them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from galenic.cache import locked
from galenic.errors import UserError
from galenic.home import index_path
from galenic.models.encoders.minilm import MINILM, minilm_folder
from galenic.models.load import resolve_model
from galenic.retrieval.store import NOTHING, Store, open_store
from galenic.retrieval.vectors import Remembered, Vectors
from galenic.watcher import StepWatcher, Watcher

if TYPE_CHECKING:
    from galenic.models.encoders.sentence import SentenceEncoder

__all__ = ["NO_ENCODER", "embed_index", "find_encoder", "forget_vectors", "refresh", "usable"]

NO_ENCODER = "none"
"""Given as encoder name, removes all embeddings."""
CHUNK = 128
"""Passages per transaction, the most that a killed run loses."""
_loading = Lock()


def find_encoder(name: str, watcher: Watcher) -> SentenceEncoder:
    """Load an encoder by name, and set the number of threads to that of free cores.

    Args:
        name: ``minilm``, or a name or path for `resolve_model`.
        watcher: receives progress of downloads.

    Raises:
        UserError: required packages are missing, or there is no such encoder.
    """
    from galenic.models.encoders.sentence import load_sentence_encoder, need_packages

    need_packages()  # before anything is downloaded
    steps = StepWatcher(watcher)
    if name == MINILM:
        files = resolve_model(str(minilm_folder(fetch=True, progress=steps.show)))
        files = replace(files, name=MINILM)
    else:
        files = resolve_model(name, progress=steps.show)
        if Path(name).expanduser().exists():  # stays valid in another working directory
            files = replace(files, name=str(files.path))
    encoder = load_sentence_encoder(files)
    _use_free_threads()
    return encoder


def embed_index(encoder: SentenceEncoder, watcher: Watcher, *, path: Path | None = None) -> int:
    """Embed all passages of the index that have no embedding by this encoder.

    If interrupted, the next call continues.

    Args:
        encoder: the encoder; it is recorded for searches and for passages indexed later.
        watcher: receives the number of passages done.
        path: path of the index; by default the user's own.

    Returns:
        Number of passages embedded by this call.

    Raises:
        UserError: the index is empty or cannot be used.
    """
    path = path or index_path()
    if not path.is_file():
        raise UserError(NOTHING)
    files = encoder.files
    about = Remembered(files.name, str(files.path), files.sha256, encoder.width)
    with locked(path), open_store(path, write=True) as store:
        vectors = Vectors(store.connection)
        with store.batch():
            vectors.remember(about)
        todo = vectors.missing()
        [total] = store.connection.execute("SELECT count(*) FROM passages").fetchone()
        watcher.stage("embedding passages", total, total - len(todo))
        for start in range(0, len(todo), CHUNK):
            rows = todo[start : start + CHUNK]
            made = encoder.encode([_text(store, row) for row in rows])
            with store.batch():
                vectors.put(rows, made)
            watcher.advance(total - len(todo) + start + len(rows))
    return len(todo)


def refresh(watcher: Watcher, *, path: Path | None = None) -> tuple[int, str]:
    """Embed new passages of an index that has embeddings.

    Args:
        watcher: receives the number of passages done.
        path: path of the index; by default the user's own.

    Returns:
        Number of passages embedded, and why embedding failed (empty if it did not).
    """
    path = path or index_path()
    with open_store(path) as store:
        vectors = Vectors(store.connection)
        about = vectors.remembered()
        if about is None or not vectors.missing():
            return 0, ""
    try:
        encoder = _remembered_encoder(about)
    except UserError as error:
        return 0, (
            f"New passages have no vectors yet, so searches go by words alone: {error} "
            f"`galenic index --embed {about.name}` makes them, `--embed {NO_ENCODER}` does without."
        )
    _use_free_threads()
    return embed_index(encoder, watcher, path=path), ""


def forget_vectors(*, path: Path | None = None) -> None:
    """Remove all embeddings from the index, so that searches use words only.

    Args:
        path: path of the index; by default the user's own.

    Raises:
        UserError: the index is empty or cannot be used.
    """
    path = path or index_path()
    if not path.is_file():
        raise UserError(NOTHING)
    with locked(path), open_store(path, write=True) as store:
        with store.batch():
            Vectors(store.connection).forget()
        store.tidy(shrink=True)


def usable(connection: sqlite3.Connection) -> tuple[SentenceEncoder | None, str]:
    """Load the encoder for questions, if all passages of the index have embeddings.

    Nothing is downloaded. If only some passages have embeddings, none are used, since the other
    passages would be ranked too low.

    Returns:
        The encoder, or None if embeddings are absent or unusable; and why they are unusable,
        otherwise empty.
    """
    vectors = Vectors(connection)
    about = vectors.remembered()
    if about is None:
        return None, ""
    if not vectors.whole:
        left = len(vectors.missing())
        if not left:  # nothing is indexed
            return None, ""
        return None, (
            f"Searched by words alone: {left:,} passages have no vectors yet. `galenic index "
            f"--embed {about.name}` goes on."
        )
    try:
        return _remembered_encoder(about), ""
    except UserError as error:
        return None, f"Searched by words alone, the vectors of the index are not used: {error}"


def _text(store: Store, row: int) -> str:
    """Return the text of a passage to embed: title, question or heading, and text."""
    query = "SELECT title, question, text FROM passages WHERE id = ?"
    return "\n".join(part for part in store.connection.execute(query, (row,)).fetchone() if part)


def _remembered_encoder(about: Remembered) -> SentenceEncoder:
    """Load the encoder that the index records, once per process; thread-safe."""
    with _loading:  # prevents loading it twice
        return _held(about)


@lru_cache(maxsize=1)
def _held(about: Remembered) -> SentenceEncoder:
    """Load an encoder by its recorded path, without using the Hub; cached for this process."""
    from galenic.models.encoders.sentence import load_sentence_encoder, need_packages

    need_packages()
    folder = Path(about.path)
    if about.name == MINILM and not folder.is_dir():
        folder = minilm_folder(fetch=False)
    files = replace(resolve_model(str(folder)), name=about.name)
    if files.sha256 != about.sha256:
        raise UserError(
            f"the encoder {folder} has changed since the vectors were made; `galenic index "
            f"--embed {about.name}` makes them anew."
        )
    encoder = load_sentence_encoder(files)
    if encoder.width != about.width:
        raise UserError(f"the encoder {folder} makes vectors of another width.")
    return encoder


def _use_free_threads() -> None:
    """Choose the number of threads from the load; only worthwhile for long computations."""
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(choose_threads())
