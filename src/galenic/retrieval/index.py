"""Indexing of documents; only new or changed files are read.

Files are processed in batches, one transaction each. If interrupted, the index contains only
complete files, and the same command continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from galenic.cache import locked
from galenic.data.jsonl import read_jsonl
from galenic.errors import UserError
from galenic.home import index_path, make_private
from galenic.registry import Registry
from galenic.retrieval.documents import medquad
from galenic.retrieval.documents.base import Document, SkipError
from galenic.retrieval.documents.cut import cut
from galenic.retrieval.documents.medquad_files import WHERE, read_published
from galenic.retrieval.store import FileState, NewPassage, Store, open_store
from galenic.retrieval.walk import FoundFile, read_file, walk, walk_one
from galenic.watcher import Watcher

__all__ = [
    "MAX_BYTES",
    "MEDQUAD",
    "READERS",
    "Summary",
    "index_folder",
    "index_medquad",
    "index_published",
    "remove",
]

MEDQUAD = "medquad"
"""Name of the MedQuAD collection."""
MAX_BYTES = 50_000_000
BATCH = 32
"""Files per transaction."""
OWN, OWN_LICENSE = "your own documents", "your own"

READERS = Registry(
    "kind of document",
    {
        ".txt": "galenic.retrieval.documents.text:read_text",
        ".md": "galenic.retrieval.documents.text:read_markdown",
        ".pdf": "galenic.retrieval.documents.pdf:read_pdf",
        ".json": "galenic.record.fhir:read_fhir",
        ".ndjson": "galenic.record.fhir:read_fhir",
    },
)


@dataclass
class Summary:
    """Summary of an indexing run.

    Attributes:
        collection: name of the collection.
        new, changed, unchanged, removed: numbers of files.
        passages: number of passages written.
        skipped: counts of skipped files or parts, by reason.
        named: files that could not be read, each with the reason.
    """

    collection: str
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether the collection has nothing in the index."""
        return not (self.new or self.changed or self.unchanged)


def index_folder(
    folder: Path, watcher: Watcher, *, path: Path | None = None, max_bytes: int = MAX_BYTES
) -> Summary:
    """Index a folder, or update the index to its current state.

    Args:
        folder: the folder; read recursively.
        watcher: receives the number of files done.
        path: path of the index; by default the user's own.
        max_bytes: larger files are skipped.

    Raises:
        UserError: there is no such folder, or the index cannot be used.
    """
    single = folder.is_file()
    if not single and not folder.is_dir():
        raise UserError(
            f"{folder} is not a file or folder. To remove a deleted folder from the index: "
            "`galenic index --remove FOLDER`."
        )
    whole = folder.resolve()
    found = (walk_one if single else walk)(whole, READERS, max_bytes)
    root = whole.parent if single else whole
    summary = Summary(str(whole), skipped=found.skipped)
    with _writing(path or index_path()) as store:
        with store.batch():
            collection = store.collection(summary.collection, OWN_LICENSE, "")
        update = _Update(store, collection, root, max_bytes, summary)
        before = store.files(collection)
        with store.batch():
            update.drop(before.keys() - {file.path for file in found.files})
        watcher.stage("reading files", len(found.files))
        for start in range(0, len(found.files), BATCH):
            with store.batch():
                for done, file in enumerate(found.files[start : start + BATCH], start=start + 1):
                    update.see(file, before.get(file.path))
                    watcher.advance(done)
        store.tidy()
    return summary


def index_published(source: Path, watcher: Watcher, *, path: Path | None = None) -> Summary:
    """Index a copy of MedQuAD in a published format, in one transaction.

    Args:
        source: folder or zip of XML files, ``.csv`` or ``.jsonl``.
        watcher: receives the number of answers done.
        path: path of the index; by default the user's own.

    Raises:
        UserError: the copy is missing, damaged or has no answers, or the index cannot be used.
    """
    if not source.exists():
        raise UserError(f"--from {source} does not exist. {WHERE}")
    watcher.stage("reading MedQuAD")
    answers = read_published(source)
    summary = Summary(MEDQUAD)
    state = FileState(medquad.MEDQUAD, 0, 0, "")
    with _writing(path or index_path()) as store:
        with store.batch():
            collection = store.collection(MEDQUAD, medquad.LICENSE, medquad.ATTRIBUTION)
            before = store.files(collection).get(state.path)
        watcher.stage("indexing answers", len(answers))
        with store.batch():
            summary.passages = store.put_file(collection, state, _shown(answers, watcher))
        store.tidy()
    summary.new, summary.changed = (0, 1) if before else (1, 0)
    return summary


def index_medquad(data: Path | None, watcher: Watcher, *, path: Path | None = None) -> Summary:
    """Index MedQuAD from a data folder, in one transaction.

    Args:
        data: the data folder, from ``--data`` or ``GALENIC_DATA``.
        watcher: receives the number of answers done.
        path: path of the index; by default the user's own.

    Raises:
        UserError: no folder is given, the file is missing, changed, damaged or invalid, or the
            index cannot be used.
    """
    source = medquad.medquad_path(data)
    file = read_jsonl(source)
    status = source.stat()
    summary = Summary(MEDQUAD)
    state = FileState(medquad.MEDQUAD, status.st_size, status.st_mtime_ns, file.sha256)
    with _writing(path or index_path()) as store:
        with store.batch():
            collection = store.collection(MEDQUAD, medquad.LICENSE, medquad.ATTRIBUTION)
            before = store.files(collection).get(state.path)
        if before and before.sha256 == file.sha256:
            summary.unchanged = 1
            return summary
        watcher.stage("checking MedQuAD")
        answers = medquad.read_answers(source.parents[1], file)
        watcher.stage("indexing answers", len(answers))
        with store.batch():
            summary.passages = store.put_file(collection, state, _shown(answers, watcher))
        store.tidy()
    summary.new, summary.changed = (0, 1) if before else (1, 0)
    return summary


def remove(name: str, *, path: Path | None = None) -> str:
    """Remove a collection and return its name; its data is overwritten and the file shrunk.

    Args:
        name: ``medquad``, or a folder, which need not exist any more.
        path: path of the index.

    Raises:
        UserError: the index has no such collection.
    """
    path = path or index_path()
    with open_store(path) as store:
        known = [collection.name for collection in store.collections()]
    wanted = next((n for n in (name, str(Path(name).resolve())) if n in known), None)
    if wanted is None:
        raise UserError(f"nothing of {name} is indexed. Indexed: {', '.join(known) or 'nothing'}.")
    with _writing(path) as store:
        with store.batch():
            store.remove_collection(wanted)
        store.tidy(shrink=True)
    return wanted


def _shown(answers: Sequence[medquad.MedQuadRow], watcher: Watcher) -> Iterator[NewPassage]:
    """Yield the passages of MedQuAD answers, reporting progress every 100 answers."""
    for done, answer in enumerate(answers, start=1):
        yield from medquad.passages(answer)
        if done % 100 == 0 or done == len(answers):
            watcher.advance(done)


@dataclass
class _Update:
    """Updates a collection to the state of its folder, file by file.

    Attributes:
        store: the open index.
        collection: id of the collection.
        root: the folder.
        max_bytes: larger files are skipped.
        summary: counts, updated with each file.
    """

    store: Store
    collection: int
    root: Path
    max_bytes: int
    summary: Summary

    def drop(self, gone: Iterable[str]) -> None:
        """Remove deleted files from the index."""
        for name in sorted(gone):
            self.store.remove_file(self.collection, name)
            self.summary.removed += 1

    def see(self, file: FoundFile, before: FileState | None) -> None:
        """Index a file unless its size and mtime, or its content, are unchanged.

        Args:
            file: the file as found in the folder.
            before: its state in the index; None if it is new.
        """
        if before and (before.size, before.mtime_ns) == (file.size, file.mtime_ns):
            self._keep(before)
            return
        read = read_file(self.root, file.path, self.max_bytes)
        if read is None:
            self.summary.skipped["files that cannot be read"] += 1
            self.drop([file.path] if before else [])
            return
        state, raw = read
        if before and before.sha256 == state.sha256:
            self.store.touch_file(self.collection, state)
            self._keep(before)
        else:
            self._put(state, raw, before)

    def _keep(self, before: FileState) -> None:
        """Count a file whose stored passages remain valid."""
        if before.skipped:
            self.summary.skipped[before.skipped] += 1
        else:
            self.summary.unchanged += 1

    def _put(self, state: FileState, raw: bytes, before: FileState | None) -> None:
        """Extract and store the passages of a new or changed file, or why it has none."""
        passages = list[NewPassage]()
        try:
            passages = self._passages(raw, state.path)
        except SkipError as reason:
            state = replace(state, skipped=str(reason))
            self.summary.skipped[state.skipped] += 1
            self.summary.named.append(f"{state.path}: {state.skipped}")
        self.summary.passages += self.store.put_file(self.collection, state, passages)
        if before and not before.skipped:
            self.summary.changed += 1
        elif not state.skipped:
            self.summary.new += 1

    def _passages(self, raw: bytes, path: str) -> list[NewPassage]:
        """Return the passages of a document.

        Raises:
            SkipError: the document has no text or cannot be read.
        """
        name = Path(path)
        document: Document = READERS.load(name.suffix.lower())(raw, name.name)
        self.summary.skipped.update(document.notes)
        if not document.lines:
            raise SkipError("files without text")
        return [
            NewPassage(
                title=document.title,
                question="" if piece.heading == document.title else piece.heading,
                text=piece.text,
                place=_place(piece.first, piece.last),
                source=OWN,
            )
            for piece in cut(document.lines)
        ]


def _place(first: str, last: str) -> str:
    """Format a range of locations: ``line 3``, ``lines 3 to 9``, ``pages 1 to 2``."""
    kind, _, number = first.partition(" ")
    return first if first == last else f"{kind}s {number} to {last.partition(' ')[2]}"


@contextmanager
def _writing(path: Path) -> Iterator[Store]:
    """Open the index for writing, locked against other processes."""
    make_private(path)
    with locked(path), open_store(path, write=True) as store:
        yield store
