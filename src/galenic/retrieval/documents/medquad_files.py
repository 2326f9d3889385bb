"""Readers of MedQuAD in other formats: published XML (folder or zip), CSV, JSON Lines, parquet.

Published at https://github.com/abachaa/MedQuAD (XML, 12 folders; three of them without answers, for
copyright reasons). Columns of the copies on the Hugging Face Hub are detected by name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from galenic.data.exams.packed import parquet_rows, zipped_files
from galenic.data.jsonl import read_jsonl, read_whole
from galenic.errors import UserError
from galenic.reading import files_in, has_suffix
from galenic.retrieval.documents.base import clean
from galenic.retrieval.documents.medquad import SOURCES, MedQuadRow

__all__ = ["WHERE", "read_published"]

WHERE = (
    "MedQuAD is at https://github.com/abachaa/MedQuAD (Code, Download ZIP): `galenic index medquad "
    "--from MedQuAD-master.zip` takes the zip as it is, its folder, or a copy as .csv, .jsonl or "
    ".parquet (also a folder of them, as the Hub has it)."
)
MOST_BYTES = 20_000_000
"""Maximum bytes of one XML file."""
_COLUMNS = {
    "question": ("question", "Question"),
    "answer": ("answer", "Answer"),
    "topic": ("focus", "question_focus", "focus_area", "topic"),
    "source": ("source", "document_source"),
    "url": ("url", "document_url"),
    "names": ("synonyms",),
}


def read_published(path: Path) -> tuple[MedQuadRow, ...]:
    """Read all answers of a copy of MedQuAD; questions without an answer are left out.

    Args:
        path: a folder of XML or parquet files, a zip of XML, a ``.csv``, ``.parquet``, or
            ``.jsonl`` (also ``.gz``).

    Raises:
        UserError: the format is not supported, the data is damaged or has no answers, or pyarrow
            is missing for parquet.
    """
    if path.is_dir():
        found = list(_of_files((p.name, read_whole(p)) for p in files_in(path, ".xml", below=True)))
        for file in files_in(path, ".parquet", below=True):
            found += _of_rows(file, iter(parquet_rows(file, read_whole(file))))
    elif has_suffix(path, ".parquet"):
        found = list(_of_rows(path, iter(parquet_rows(path, read_whole(path)))))
    elif has_suffix(path, ".zip"):
        found = list(_of_files(zipped_files(path, lambda name: has_suffix(name, ".xml"))))
    elif has_suffix(path, ".csv"):
        found = list(_of_rows(path, _csv_rows(path)))
    elif has_suffix(path, ".jsonl", ".jsonl.gz"):
        found = list(_of_rows(path, (row for _, row in read_jsonl(path).rows())))
    else:
        raise UserError(
            f"--from {path}: a folder, .zip, .csv, .jsonl or .parquet is needed. {WHERE}"
        )
    if not found:
        raise UserError(f"--from {path}: there are no answers in it. {WHERE}")
    return tuple(found)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        text = read_whole(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"--from {path} cannot be read as UTF-8: {error}.") from error
    csv.field_size_limit(10_000_000)
    try:
        yield from csv.DictReader(io.StringIO(text))
    except csv.Error as error:
        raise UserError(f"--from {path} is not valid CSV ({error}).") from error


def _of_rows(path: Path, rows: Iterator[Mapping[str, Any]]) -> Iterator[MedQuadRow]:
    for number, row in enumerate(rows, start=1):
        values = {key: _first(row, names) for key, names in _COLUMNS.items()}
        if number == 1 and "" in (values["question"], values["answer"]):
            raise UserError(f"--from {path}: columns question and answer are needed. {WHERE}")
        if values["answer"] and values["question"]:
            names = row.get("synonyms")
            said = "; ".join(map(str, names)) if isinstance(names, list) else values["names"]
            yield _answer(f"row {number}", {**values, "names": said})


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = (row.get(name) for name in names)
    return next((one for one in found if isinstance(one, str) and one.strip()), "")


def _of_files(files: Iterator[tuple[str, bytes]]) -> Iterator[MedQuadRow]:
    for name, raw in files:
        if len(raw) > MOST_BYTES:
            raise UserError(f"--from: {name} has {len(raw):,} bytes; {MOST_BYTES:,} are allowed.")
        plain = raw.replace(b"\0", b"")  # also finds declarations in UTF-16
        if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
            raise UserError(f"--from: {name} declares entities, which MedQuAD does not.")
        try:
            root = ElementTree.fromstring(raw)  # noqa: S314 - entities are excluded above
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # or its encoding is odd
            raise UserError(f"--from: {name} is damaged ({error}).") from error
        topic = clean(root.findtext("Focus") or "")
        names = [clean(one.text or "") for one in root.iter("Synonym")]
        for pair in root.iter("QAPair"):
            answer = pair.findtext("Answer") or ""
            question = pair.findtext("Question") or ""
            if answer.strip() and question.strip():
                values = {
                    "topic": topic, "names": "; ".join(filter(None, names)), "question": question,
                    "answer": answer, "source": root.get("source", ""), "url": root.get("url", ""),
                }  # fmt: skip
                yield _answer(f"{root.get('id', name)}-{pair.get('pid', '')}", values)


def _answer(name: str, values: Mapping[str, str]) -> MedQuadRow:
    question, url = clean(values["question"]), clean(values["url"])
    source = clean(values["source"])
    return MedQuadRow(
        id=name,
        topic=clean(values["topic"]) or _topic(question),
        names=clean(values["names"]),
        question=question,
        answer=values["answer"],
        source=SOURCES.get(source, source) or "MedQuAD",
        url=url if url.startswith(("https://", "http://")) else "",
    )


def _topic(question: str) -> str:
    """Extract the topic from a MedQuAD question (its last words), if no column gives it."""
    for lead in (
        " (are) ",
        " for ",
        " of ",
        " causes ",
        " is ",
        " have ",
        " with ",
        " about ",
        " to ",
    ):
        _before, found, rest = question.partition(lead)
        if found and rest.strip(" ?"):
            return rest.strip(" ?")
    return question.strip(" ?")
