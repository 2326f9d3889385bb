"""MedQuAD: questions and answers of the US National Institutes of Health, with their URLs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.data import manifest
from galenic.data.jsonl import JsonlFile, read_jsonl
from galenic.data.rows import check_text
from galenic.data.sources import read_rows
from galenic.errors import UserError
from galenic.retrieval.documents.base import DocumentLine, clean
from galenic.retrieval.documents.cut import cut
from galenic.retrieval.store import NewPassage

__all__ = [
    "ATTRIBUTION",
    "LICENSE",
    "MEDQUAD",
    "MedQuadRow",
    "medquad_path",
    "passages",
    "read_answers",
]

MEDQUAD = "medquad/medquad.jsonl.gz"
LICENSE = "CC BY 4.0"
ATTRIBUTION = (
    "MedQuAD, CC BY 4.0: A. Ben Abacha and D. Demner-Fushman, A Question-Entailment Approach to "
    "Question Answering, BMC Bioinformatics 20:511, 2019."
)
SOURCES = {
    "CancerGov": "National Cancer Institute",
    "CDC": "Centers for Disease Control and Prevention",
    "GARD": "Genetic and Rare Diseases Information Center",
    "GHR": "Genetics Home Reference",
    "MPlusHealthTopics": "MedlinePlus Health Topics",
    "NHLBI": "National Heart, Lung, and Blood Institute",
    "NIDDK": "National Institute of Diabetes and Digestive and Kidney Diseases",
    "NIHSeniorHealth": "NIHSeniorHealth",
    "NINDS": "National Institute of Neurological Disorders and Stroke",
}


@dataclass(frozen=True)
class MedQuadRow:
    """One row of MedQuAD.

    Attributes:
        id: unique id.
        topic: topic of the document.
        names: synonyms of the topic.
        question: a single line.
        answer: free text of any length.
        source: name of the institute, in full if its abbreviation is known.
        url: address of the page when the data was collected (2018).
    """

    id: str
    topic: str
    names: str
    question: str
    answer: str
    source: str
    url: str


def medquad_path(data: Path | None) -> Path:
    """Return the path of the MedQuAD file in a data folder.

    Raises:
        UserError: no folder is given, or it has no such file.
    """
    if data is None:
        raise UserError(
            f"--data DIR (or the environment variable GALENIC_DATA) names the folder with "
            f"{MEDQUAD} in it; `--from` takes MedQuAD as it is published, "
            "https://github.com/abachaa/MedQuAD (Code, Download ZIP)."
        )
    path = data.absolute() / MEDQUAD
    if not path.is_file():
        raise UserError(f"{path} does not exist. --data names a folder with {MEDQUAD} in it.")
    return path


def read_answers(data: Path, file: JsonlFile | None = None) -> tuple[MedQuadRow, ...]:
    """Read all rows, in file order.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    file = file or read_jsonl(data / MEDQUAD)
    manifest.check(data, MEDQUAD, file)
    return read_rows(file, _parse, lambda answer: answer.id)


def passages(answer: MedQuadRow) -> list[NewPassage]:
    """Split an answer into passages, each with topic, question and source."""
    lines = [DocumentLine(text, "") for row in answer.answer.split("\n") if (text := clean(row))]
    pieces = cut(lines)
    count = len(pieces)
    return [
        NewPassage(
            title=answer.topic,
            names=answer.names,
            question=answer.question,
            text=piece.text,
            place=answer.id + (f", part {number} of {count}" if count > 1 else ""),
            source=answer.source,
            url=answer.url,
        )
        for number, piece in enumerate(pieces, start=1)
    ]


def _parse(row: Mapping[str, Any]) -> MedQuadRow:
    source = str(row.get("source") or "")
    question = clean(check_text(row, "question"))
    topic = clean(str(row.get("focus") or ""))
    synonyms = row.get("synonyms")
    names = [clean(str(name)) for name in synonyms] if isinstance(synonyms, list) else []
    url = str(row.get("url") or "")
    return MedQuadRow(
        id=clean(check_text(row, "id")),
        topic=topic or question,
        names="; ".join(dict.fromkeys(name for name in names if name and name != topic)),
        question=question,
        answer=check_text(row, "answer"),
        source=SOURCES.get(source, clean(source)),
        url=clean(url) if url.startswith(("https://", "http://")) else "",
    )
