"""Text for calibration and for held-out evaluation: MedQuAD, or a text file of the user.

MedQuAD (CC BY 4.0; Ben Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019) is split by the
topic of its documents, so that no disease occurs in both the calibration and the held-out part:
619 topics have more than one document.
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
from galenic.limits import JSONL_BYTES
from galenic.reading import read_file

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
"""Given in place of a data folder, selects the embedded handbook."""
HELDOUT_TENTHS = 1
"""Tenths held out: of MedQuAD's topics, and of the paragraphs of a text file that is split."""


class CalibrationConfig(BaseModel):
    """Selection of calibration text. It has no effect on methods that need none."""

    PANEL: ClassVar[str] = "Calibration text"

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str | None = Field(
        None,
        description="Folder with medquad/medquad.jsonl.gz, the medical text to calibrate on (its "
        "held-out tenth is not used); `sample` uses the embedded handbook, for a "
        "demonstration.",
    )
    text: str | None = Field(
        None,
        description="Your own UTF-8 text file, paragraphs separated by blank lines (general "
        "English, say). With --data, half of the text comes from each.",
    )
    num_samples: int = Field(64, ge=1, description="Number of calibration sequences.")
    seq_len: int = Field(256, ge=8, description="Tokens per sequence.")
    seed: int = Field(0, ge=0, description="Random seed.")


@dataclass(frozen=True)
class CalibrationText:
    """Documents of one source, with its name for the manifest and the hash of its file."""

    source: str
    sha256: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its answer in free text.

    Attributes:
        id: unique within its file.
        document: id of the document it comes from.
        topic: topic of the document.
        question: a single line.
        answer: free text of any length.
    """

    id: str
    document: tuple[str, str]
    topic: str
    question: str
    answer: str


def read_calibration_text(config: CalibrationConfig) -> list[CalibrationText]:
    """Read all calibration text that the config names; sampling is left to `pack`.

    Raises:
        UserError: no source is named, or a file is missing or damaged.
    """
    return _read_texts(config, "calibration", "this method needs calibration text")


def read_heldout_text(config: CalibrationConfig) -> list[CalibrationText]:
    """Read the text for held-out evaluation; of MedQuAD, the part that is never calibrated on.

    Raises:
        UserError: no source is named, or a file is missing or damaged.
    """
    return _read_texts(config, "heldout", "perplexity needs text")


def read_split_text(
    config: CalibrationConfig,
) -> tuple[list[CalibrationText], list[CalibrationText]]:
    """Split all text that the config names by document: one part to fit, one to evaluate.

    Raises:
        UserError: no source is named, or a file is missing or damaged.
    """
    learnt, judged = read_calibration_text(config), read_heldout_text(config)
    if config.text is not None:  # both lists end with the same user text
        learnt[-1], judged[-1] = split_text(learnt[-1])
    return learnt, judged


def split_text(text: CalibrationText) -> tuple[CalibrationText, CalibrationText]:
    """Split off a tenth of the documents, chosen by a hash of each document.

    Returns:
        The part to train on, and the held-out part.
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
    """Read MedQuAD from a data folder, or the embedded handbook if ``data`` is ``sample``.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    if data != SAMPLE:
        return medquad_texts(Path(data), split)
    sha256, documents = demonstration_documents()
    texts = [text for name, text in documents.items() if _is_heldout(name) == (split == "heldout")]
    return CalibrationText(f"Galenic's handbook, {split} part", sha256, tuple(texts))


def medquad_texts(folder: Path, split: Literal["calibration", "heldout"]) -> CalibrationText:
    """Read one split of MedQuAD; each question with its answer is one document.

    Raises:
        UserError: the file is missing, changed, damaged or invalid.
    """
    sha256, pairs = read_medquad(folder, split)
    texts = tuple(f"Question: {pair.question}\nAnswer: {pair.answer}" for pair in pairs)
    return CalibrationText(f"MedQuAD, {split} part", sha256, texts)


def read_medquad(
    folder: Path, split: Literal["calibration", "heldout", "all"]
) -> tuple[str, tuple[QuestionAnswer, ...]]:
    """Return the file's hash and the question-answer pairs of one split, in file order.

    The split of a row is decided by a hash of its topic (``focus``), or of its document if it has
    no topic. All rows of a document go to the split of its first row.

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
    """Read a text file; each paragraph (separated by empty lines) is a document.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is empty.
    """
    try:
        raw = read_file(path, JSONL_BYTES)
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
    """Concatenate the tokens of random documents and cut them into sequences without padding.

    Args:
        texts: the sources; each yields an equal share of the sequences, the first the remainder.
        encode: converts text to token ids, without special tokens.
        config: supplies ``num_samples``, ``seq_len`` and ``seed``.
        start: tokens put before every sequence, such as the model's start token.
        end: tokens put after every document.

    Returns:
        Token ids, shape (num_samples, seq_len).

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
