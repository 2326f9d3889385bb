"""Doses: tuned small models that the package ships as an adapter over an embedded base model.

Only the adapter (a few megabytes) is part of the package. `galenic.recipes.dose` builds the model
from it on the user's machine; this module describes a dose and finds the built file.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galenic.cache import Progress, cache_folder, file_sha256
from galenic.errors import UserError

__all__ = [
    "CARD",
    "DOSES",
    "Dose",
    "MeasuredAnswer",
    "dose_file",
    "dose_path",
    "mark_made",
    "read_dose",
]

CARD = "dose.json"
DOSES = {
    path.parent.name: path.parent
    for path in sorted((Path(__file__).parents[2] / "doses").glob(f"*/{CARD}"))
}
"""Folder of each dose in the package, by name."""


class MeasuredAnswer(BaseModel):
    """Reference output of the measured file: log-probability in nats of each continuation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    log_probs: dict[str, float]


class Dose(BaseModel):
    """The card of a dose.

    Attributes:
        name: name for `galenic pull`, also written into the GGUF.
        description: one sentence.
        base: name of the embedded base model.
        base_sha256: SHA-256 of the base model's file.
        licence: SPDX identifier.
        sources: training data, with licences.
        types: names of the tensors of each ggml type; all other tensors are F32.
        sha256: SHA-256 of the file that was measured.
        num_bytes: size of that file.
        answers: reference outputs of that file.
        tolerance: accepted deviation of other llama.cpp builds from ``answers``, in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    base: str
    base_sha256: str
    licence: str
    sources: tuple[str, ...]
    types: dict[str, tuple[str, ...]]
    sha256: str
    num_bytes: int = Field(gt=0)
    answers: tuple[MeasuredAnswer, ...] = Field(min_length=1)
    tolerance: float = Field(0.1, gt=0)


def read_dose(folder: Path) -> Dose:
    """Read the card of a dose.

    Raises:
        UserError: the card is damaged.
    """
    try:
        return Dose.model_validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise UserError(f"{folder / CARD} is damaged: {error.errors()[0]['msg']}.") from error


def dose_file(name: str) -> Path:
    """Path in the user cache where the GGUF of a dose is built."""
    return cache_folder("models") / f"{name}.gguf"


def dose_path(name: str, *, progress: Progress | None = None) -> Path:
    """Return the GGUF of a dose built on this machine, after checking its hash.

    Raises:
        UserError: it was not built yet, was built from another version of the dose, or has changed
            since.
    """
    path = dose_file(name)
    mark = _mark(path)
    if path.is_file() and mark.is_file():
        wanted, _, made = mark.read_text(encoding="utf-8").strip().partition(" ")
        current = wanted == read_dose(DOSES[name]).sha256
        if current and file_sha256(path, progress=progress) == made:
            return path
    raise UserError(f"{name} has not been made on this machine. `galenic pull {name}` makes it.")


def mark_made(path: Path, dose: Dose, sha256: str) -> None:
    """Record next to a built file the dose version it was built from, and the file's SHA-256."""
    _mark(path).write_text(f"{dose.sha256} {sha256}\n", encoding="utf-8")


def _mark(path: Path) -> Path:
    return path.with_suffix(".made")
