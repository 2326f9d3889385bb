"""``galenic index``: index the passages that answers quote."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.output import echo
from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.models.encoders.sentence import SentenceEncoder
    from galenic.retrieval.index import Summary
    from galenic.watcher import Watcher

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Index documents for the assistant: MedQuAD, and your own folders (.txt, .md, .pdf, and
health records as FHIR R4 .json).

The index is one file that only you can read; nothing leaves the machine. Run the command again
after a change: only new and changed files are read. With --embed every passage gets a vector from
an encoder on this machine, so that `galenic search` also finds paraphrases; this takes about a
minute per 1,100 passages on one core. Hidden files, links, and files that are too large or hold no
text are skipped and counted.
"""
EXAMPLES = """
**Examples**

`galenic index medquad --from MedQuAD-master.zip` takes in answers of the US National Institutes of
Health, as published at https://github.com/abachaa/MedQuAD: zip, folder, or a copy (.csv, .jsonl,
.parquet)

`galenic index ~/Documents/health`

`galenic index ~/Documents/health --embed minilm` with vectors; later runs need no flag

`galenic index --list`

`galenic index --remove ~/Documents/health`
"""

MOST_NAMED = 20
"""Files that could not be read and are named."""


def command(
    folder: Annotated[
        str | None,
        typer.Argument(
            help="Folder or file with your documents, or the word `medquad` (a folder of that "
            "name: ./medquad).",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="For medquad: folder with medquad/medquad.jsonl.gz.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="For medquad: the published zip or folder of XML files, or a copy as .csv, .jsonl "
            "or .parquet.",
            show_default=False,
        ),
    ] = None,
    max_size: Annotated[str, typer.Option(help="Skip files larger than this.")] = "50MB",
    embed: Annotated[
        str | None,
        typer.Option(
            help="Encoder that computes a vector for every indexed passage: `minilm` "
            "(all-MiniLM-L6-v2), or the folder or Hub id of a transformers encoder. The "
            "choice is remembered; `none` removes the vectors. Without a folder, the "
            "existing index is embedded.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what is indexed.")] = False,
    remove: Annotated[
        str | None,
        typer.Option(
            help="Remove a folder, or medquad, from the index. The folder itself is not touched.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Take in documents for the assistant."""
    work = folder is not None or embed is not None
    if work + show + (remove is not None) != 1:
        raise UserError(
            "one of these is needed: a folder to index (or `medquad`) or --embed MODEL, --list, "
            "--remove FOLDER."
        )
    if remove is not None:
        _remove(remove, as_json)
    elif work:
        found, said = _index(folder, source, data, max_size, embed)
        _tell(found, said, embed, as_json)
    else:
        _list(as_json)


def _index(
    folder: str | None, source: Path | None, data: Path | None, max_size: str, embed: str | None
) -> tuple[Summary | None, str]:
    """What was read, and what is to be said of the vectors."""
    from galenic.cli.progress import watched
    from galenic.retrieval.embed import NO_ENCODER, find_encoder
    from galenic.units import parse_size

    max_bytes = parse_size(max_size, "--max-size")
    left = "Finished work is kept: run the same command again to resume."
    with watched(left) as watcher:
        wanted = embed if embed != NO_ENCODER else None
        encoder = None if wanted is None else find_encoder(wanted, watcher)  # before slow work
        summary = None if folder is None else _read(folder, source, data, max_bytes, watcher)
    if summary is not None and summary.empty:
        _print(summary)
        raise UserError(
            "nothing in it could be indexed. Text, Markdown, PDF with text and FHIR R4 JSON can be."
        )
    with watched(left) as watcher:
        return summary, _embed(embed, encoder, watcher)


def _tell(summary: Summary | None, said: str, embed: str | None, as_json: bool) -> None:
    if as_json:
        facts = {} if summary is None else {**asdict(summary), "skipped": dict(summary.skipped)}
        echo(json.dumps({**facts, "vectors": said or None}, ensure_ascii=False, default=str))
    elif summary is not None:
        _print(summary)
    if said and not as_json:
        echo(said, err=embed is None)


def _read(
    folder: str, source: Path | None, data: Path | None, max_bytes: int, watcher: Watcher
) -> Summary:
    from galenic.errors import UserError
    from galenic.retrieval.index import (
        MEDQUAD,
        index_folder,
        index_medquad,
        index_published,
    )

    if folder == MEDQUAD and source is not None:
        return index_published(source.expanduser(), watcher)
    if source is not None:
        raise UserError("--from works only with medquad: `galenic index medquad --from FILE`.")
    if folder == MEDQUAD:
        return index_medquad(data, watcher)
    return index_folder(Path(folder).expanduser(), watcher, max_bytes=max_bytes)


def _embed(embed: str | None, encoder: SentenceEncoder | None, watcher: Watcher) -> str:
    """Bring the vectors up to date, of a new encoder, the remembered one or none; what to say."""
    from galenic.retrieval.embed import embed_index, forget_vectors, refresh

    if embed is None:
        number, note = refresh(watcher)
        return note or (f"{number:,} passages embedded" if number else "")
    if encoder is None:
        forget_vectors()
        return "The index has no vectors any more."
    return f"{embed_index(encoder, watcher):,} passages embedded"


def _print(summary: Summary) -> None:
    echo(
        f"{summary.collection}: {summary.new:,} new, {summary.changed:,} changed, "
        f"{summary.unchanged:,} unchanged, {summary.removed:,} removed; "
        f"{summary.passages:,} passages written"
    )
    for reason, number in summary.skipped.most_common():
        echo(f"  {number:,} x {reason}")
    for name in summary.named[:MOST_NAMED]:
        echo(f"  {name}")


def _list(as_json: bool) -> None:
    from galenic.home import index_path
    from galenic.retrieval.store import open_store
    from galenic.retrieval.vectors import Vectors
    from galenic.units import format_size

    path = index_path()
    with open_store(path) as store:
        collections = store.collections()
        vectors = Vectors(store.connection)
        encoder = vectors.remembered()
        missing = 0 if encoder is None else len(vectors.missing())
    if as_json:
        kept = None if encoder is None else {"encoder": encoder.name, "missing": missing}
        facts = {"path": str(path), "bytes": path.stat().st_size, "vectors": kept}
        rows = [asdict(collection) for collection in collections]
        echo(json.dumps({**facts, "collections": rows}, ensure_ascii=False, default=str))
        return
    for collection in collections:
        echo(
            f"{collection.name}: {collection.num_files:,} files, "
            f"{collection.num_passages:,} passages, licence: {collection.license}"
        )
        if collection.attribution:
            echo(f"  {collection.attribution}")
    if not collections:
        echo("Nothing is indexed.")
    if encoder is not None:
        left = f", {missing:,} passages without one yet" if missing else ""
        echo(f"vectors: {encoder.name}, {encoder.width} numbers each{left}")
    echo(f"{path}, {format_size(path.stat().st_size)}")


def _remove(name: str, as_json: bool) -> None:
    from galenic.retrieval.index import remove

    removed = remove(str(Path(name).expanduser()))
    if as_json:
        echo(json.dumps({"removed": str(removed)}, ensure_ascii=False))
        return
    echo(f"{removed} is out of the index. The documents themselves were not touched.")
