"""The doses of the package: tuned small models that ship as an adapter over an embedded base.

Only what was learnt travels with the package (a few megabytes). `galenic.recipes.dose` makes the
model of it on the user's machine; here is what a dose is, and where the made file lies.
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
"""Name to folder of the doses in the package."""


class MeasuredAnswer(BaseModel):
    """What the measured file answered: log-probability in nats of each continuation of a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    log_probs: dict[str, float]


class Dose(BaseModel):
    """The card of a dose.

    Attributes:
        name: that `galenic pull` knows it by, and that stands in the file.
        description: for people, one sentence.
        base: name of the embedded model that it is made from.
        base_sha256: of its file.
        licence: SPDX name.
        sources: what it was trained on, with licences.
        types: ggml type to the tensors in it; the others are F32.
        sha256: of the file that was measured.
        num_bytes: of the same.
        answers: of the same.
        tolerance: how far other builds of llama.cpp may be from these answers, in nats.
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
        UserError: it is damaged.
    """
    try:
        return Dose.model_validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise UserError(f"{folder / CARD} is damaged: {error.errors()[0]['msg']}.") from error


def dose_file(name: str) -> Path:
    """Where the GGUF of a dose lies once it is made: in the user's cache."""
    return cache_folder("models") / f"{name}.gguf"


def dose_path(name: str, *, progress: Progress | None = None) -> Path:
    """The GGUF of a dose that was made on this machine, checked.

    Raises:
        UserError: it was not made yet, from another version of the dose, or changed since.
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
    """Note beside a file which version of a dose it was made from, and its hash."""
    _mark(path).write_text(f"{dose.sha256} {sha256}\n", encoding="utf-8")


def _mark(path: Path) -> Path:
    return path.with_suffix(".made")
