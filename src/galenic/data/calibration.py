"""Text to fit and to judge compressed models on: medical from MedQuAD, anything else from a file.

MedQuAD (CC BY 4.0; Ben Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019) is cut in two
by what a document is about, so that a disease met while calibrating is not met again on the
held-out part: 619 topics have more than one document.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from galenic.data import manifest
from galenic.data.demonstration import demonstration_documents
from galenic.data.jsonl import read_jsonl
from galenic.data.rows import check_text
from galenic.data.sources import read_rows
from galenic.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MEDQUAD",
    "CalibrationConfig",
    "CalibrationText",
    "QuestionAnswer",
    "medical_texts",
    "medquad_texts",
    "pack",
    "plain_texts",
    "read_calibration_text",
    "read_heldout_text",
    "read_medquad",
    "read_split_text",
    "split_text",
]

MEDQUAD = "medquad/medquad.jsonl.gz"
SAMPLE = "sample"
"""In place of a folder: the embedded handbook."""
HELDOUT_TENTHS = 1
"""Tenths of MedQuAD's topics, and of a text file's paragraphs where it is split, that are held
out."""


class CalibrationConfig(BaseModel):
    """Which text a method is fitted on. For methods that read none it changes nothing."""

    PANEL: ClassVar[str] = "Calibration text"

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str | None = Field(
        None,
        description="Folder with medquad/medquad.jsonl.gz: medical text for methods that "
        "calibrate. Its held-out tenth is left alone. `sample`: the embedded handbook, to try "
        "things out.",
    )
    text: str | None = Field(
        None,
        description="UTF-8 text file of your own, paragraphs apart by empty lines (general "
        "English, say). With --data, half of the text is taken from each.",
    )
    num_samples: int = Field(64, ge=1, description="Sequences of calibration text.")
    seq_len: int = Field(256, ge=8, description="Tokens in each sequence.")
    seed: int = Field(0, ge=0, description="Of the choice of text, and of all else that is drawn.")


@dataclass(frozen=True)
class CalibrationText:
    """Texts from one source: a name for the manifest, the file's hash, the documents."""

    source: str
    sha256: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its answer in free text.

    Attributes:
        id: unique within its file.
        document: which document it comes from.
        topic: what the document is about.
        question: one line.
        answer: any length.
    """

    id: str
    document: tuple[str, str]
    topic: str
    question: str
    answer: str


def read_calibration_text(config: CalibrationConfig) -> list[CalibrationText]:
    """Read all that the config names, without choosing from it yet.

    Raises:
        UserError: nothing is named, or a file is missing or damaged.
    """
    return _read_texts(config, "calibration", "this method needs calibration text")


def read_heldout_text(config: CalibrationConfig) -> list[CalibrationText]:
    """Read all that the config names to judge on, of MedQuAD what no method calibrates on.

    Raises:
        UserError: nothing is named, or a file is missing or damaged.
    """
    return _read_texts(config, "heldout", "perplexity needs text")


def read_split_text(
    config: CalibrationConfig,
) -> tuple[list[CalibrationText], list[CalibrationText]]:
    """Text to fit on, and text of other documents to judge on, of all that the config names.

    Raises:
        UserError: nothing is named, or a file is missing or damaged.
    """
    learnt, judged = read_calibration_text(config), read_heldout_text(config)
    if config.text is not None:  # both end with the same text
        learnt[-1], judged[-1] = split_text(learnt[-1])
    return learnt, judged


def split_text(text: CalibrationText) -> tuple[CalibrationText, CalibrationText]:
    """Hold a tenth of the documents of a text out, by a hash of each.

    Returns:
        What can be learnt from, and what is held out.
    """
    out = [_is_heldout(document) for document in text.documents]
    pairs = list(zip(text.documents, out, strict=True))
    return (
        replace(text, documents=tuple(document for document, apart in pairs if not apart)),
        replace(
            text,
            source=f"{text.source}, held-out part",
            documents=tuple(document for document, apart in pairs if apart),
        ),
    )


def _read_texts(
    config: CalibrationConfig, split: Literal["calibration", "heldout"], need: str
) -> list[CalibrationText]:
    found = []
    if config.data is not None:
        found.append(medical_texts(config.data, split))
    if config.text is not None:
        found.append(plain_texts(Path(config.text)))
    if not found:
        raise UserError(
            f"{need}: --data DIR with {MEDQUAD} in it, --text FILE with text of your own, or both "
            "(half of each). To try it out: --data sample."
        )
    return found


def medical_texts(data: str, split: Literal["calibration", "heldout"]) -> CalibrationText:
    """Medical text of a folder with MedQuAD, or of the embedded handbook for ``sample``.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    if data != SAMPLE:
        return medquad_texts(Path(data), split)
    sha256, documents = demonstration_documents()
    texts = [text for name, text in documents.items() if _is_heldout(name) == (split == "heldout")]
    return CalibrationText(f"Galenic's handbook, {split} part", sha256, tuple(texts))


def medquad_texts(folder: Path, split: Literal["calibration", "heldout"]) -> CalibrationText:
    """Read one part of MedQuAD, a document for each question with its answer.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    sha256, pairs = read_medquad(folder, split)
    texts = tuple(f"Question: {pair.question}\nAnswer: {pair.answer}" for pair in pairs)
    return CalibrationText(f"MedQuAD, {split} part", sha256, texts)


def read_medquad(
    folder: Path, split: Literal["calibration", "heldout", "all"]
) -> tuple[str, tuple[QuestionAnswer, ...]]:
    """Hash of the file and the pairs of one part of MedQuAD, in the order of the file.

    Whether a row is held out is decided by a hash of its topic (``focus``), or of its document
    where no topic is given. All rows of a document go with its first.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    path = folder / MEDQUAD
    if not path.exists():
        raise UserError(
            f"{path} does not exist. --data names a folder with {MEDQUAD} in it; --text FILE takes "
            "calibration text of your own instead."
        )
    file = read_jsonl(path)
    manifest.check(folder, MEDQUAD, file)
    topics: dict[tuple[str, str], str] = {}
    kept = []
    for pair in read_rows(file, _parse, lambda pair: pair.id):
        topic = topics.setdefault(pair.document, pair.topic)
        if split == "all" or _is_heldout(topic) == (split == "heldout"):
            kept.append(pair)
    return file.sha256, tuple(kept)


def _parse(row: Mapping[str, Any]) -> QuestionAnswer:
    document = str(row.get("folder", "")), str(row.get("doc_id", row["id"]))
    return QuestionAnswer(
        id=check_text(row, "id"),
        document=document,
        topic=str(row.get("focus") or "/".join(document)).strip().casefold(),
        question=check_text(row, "question"),
        answer=check_text(row, "answer"),
    )


def _is_heldout(topic_or_text: str) -> bool:
    return hashlib.sha256(topic_or_text.encode()).digest()[0] * 10 // 256 < HELDOUT_TENTHS


def plain_texts(path: Path) -> CalibrationText:
    """Read a text file; paragraphs (apart by empty lines) are its documents.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is empty.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"--text {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--text {path} is not UTF-8 at byte {error.start + 1}.") from error
    paragraphs = tuple(part.strip() for part in text.split("\n\n") if part.strip())
    if not paragraphs:
        raise UserError(f"--text {path} holds no text.")
    return CalibrationText(path.name, hashlib.sha256(raw).hexdigest(), paragraphs)


def pack(
    texts: Sequence[CalibrationText],
    encode: Callable[[str], list[int]],
    config: CalibrationConfig,
    *,
    start: Sequence[int] = (),
    end: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Tokens of randomly chosen documents, end to end, cut into sequences without padding.

    Args:
        texts: the sources; each gives an equal share of the sequences, the first the odd one.
        encode: text to token ids, without special tokens.
        config: ``num_samples``, ``seq_len`` and ``seed``.
        start: put before every sequence, as the model expects a text to begin.
        end: put after every document.

    Returns:
        shape (num_samples, seq_len).

    Raises:
        UserError: a source has too little text.
    """
    import numpy as np

    rng = random.Random(config.seed)  # noqa: S311
    length = config.seq_len - len(start)
    rows: list[list[int]] = []
    for number, text in enumerate(texts):
        share = config.num_samples // len(texts) + (number < config.num_samples % len(texts))
        stream: list[int] = []
        for document in rng.sample(text.documents, len(text.documents)):
            if len(stream) >= share * length:
                break
            stream += [*encode(document), *end]
        if len(stream) < share * length:
            raise UserError(
                f"{text.source} has {len(stream):,} tokens, and {share} sequences of {length} were "
                "asked for. Lower --num-samples or --seq-len, or give more text."
            )
        rows += [[*start, *stream[i * length : (i + 1) * length]] for i in range(share)]
    return np.array(rows, dtype=np.int64)
