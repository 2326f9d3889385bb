"""Schemas of the files of a study, which are validated on reading as they may be untrusted.

Unknown keys are allowed, so that studies of later versions can be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.strict_json import read_object

__all__ = [
    "FailureFile",
    "NodeFile",
    "ProgressFile",
    "ResultFile",
    "StudyFile",
    "check_object",
    "read_checked",
]

Kind = Literal["stage", "answers", "perplexity", "speed"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
"""Name of a file or folder that cannot point outside its parent."""
Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
_File = TypeVar("_File", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _NodeEntry(_Strict):
    kind: Kind
    title: str
    needs: list[Name]

    @model_validator(mode="after")
    def _one_model(self) -> _NodeEntry:
        if self.kind == "stage" and len(self.needs) > 1:
            raise ValueError("a stage begins with one model")
        return self


class _CellEntry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    variant: str
    title: str
    model: str
    made_by: Name | None
    answers: dict[str, dict[str, Name]]
    perplexity: Name | None
    speed: Name | None
    explanations: dict[str, Name]
    recipe: str

    @property
    def nodes(self) -> list[str]:
        """Ids of all nodes of the cell."""
        asked = [one for by_scoring in self.answers.values() for one in by_scoring.values()]
        others = (self.made_by, self.perplexity, self.speed)
        return [*asked, *self.explanations.values(), *(one for one in others if one is not None)]


class _Size(_Strict):
    file_bytes: Count
    bits_per_weight: Number | None


class _Baseline(_Strict):
    benchmark: str
    title: str
    split: str
    n: Count
    majority: str
    accuracy: Share
    weighted_precision: Share
    weighted_recall: Share
    weighted_f1: Share
    macro_f1: Share
    uniform: Share


class _Evaluate(_Strict):
    scoring: list[str] = Field(min_length=1)


class StudyFile(_Strict):
    """``study.json``; see `galenic.study.store.StudyFolder.write`."""

    format: Literal[1]
    name: str
    description: str
    command: str
    evaluate: _Evaluate
    versions: dict[str, str | None]
    sizes: dict[str, _Size]
    baselines: list[_Baseline]
    cells: list[_CellEntry]
    nodes: dict[Name, _NodeEntry]

    @model_validator(mode="after")
    def _fits_together(self) -> StudyFile:
        before: set[str] = set()
        for name, node in self.nodes.items():
            if unknown := set(node.needs) - before:
                raise ValueError(f"node {name} needs {min(unknown)}, which is not above it")
            before.add(name)
        for cell in self.cells:
            if unknown := set(cell.nodes) - before:
                raise ValueError(f"a cell names the node {min(unknown)}, which is not there")
            if cell.made_by is None and cell.model not in self.sizes:
                raise ValueError("a model has no size")
            if cell.made_by is not None and self.nodes[cell.made_by].kind != "stage":
                raise ValueError(f"no model is made by the node {cell.made_by}")
        return self


class NodeFile(_Strict):
    """``node.json``, the description of a node."""

    kind: Kind
    key: str
    title: str
    spec: dict[str, Any]


class FailureFile(_Strict):
    """``error.json``."""

    kind: str
    message: str


class ProgressFile(_Strict):
    """``progress.json``; empty before the first stage."""

    stage: str = ""
    done: Count = 0
    total: Count | None = None
    begun_at: Count = 0
    seconds: Number = 0.0


class _Estimate(_Strict):
    value: float
    low: float
    high: float


class _Spread(_Strict):
    median: Number
    low: Number
    high: Number


class _Judged(_Strict):
    perplexity: _Estimate


class _Kl(_Strict):
    mean: _Estimate


class _Perplexity(_Strict):
    model: _Judged
    perplexity_per_reference_token: _Estimate | None
    perplexity_ratio: _Estimate | None
    kl: _Kl | None


class _Measures(_Strict):
    prefill: _Spread
    decode: _Spread
    first_token_ms: _Spread
    peak_rss: _Spread


class _Timed(_Strict):
    measures: _Measures
    runtime: str


class _Speed(_Strict):
    model: _Timed
    reference: _Timed | None
    ratios: _Measures | None


class ResultFile(_Strict):
    """``result.json`` of any kind of node; each kind has some of these fields."""

    model: Name | None = None
    file_bytes: Count | None = None
    bits_per_weight: Number | None = None
    run: Name | None = None
    perplexity: _Perplexity | None = None
    speed: _Speed | None = None


def read_checked(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    """Read a JSON object and validate it against ``kind``; unknown keys are kept.

    Raises:
        UserError: the file cannot be read or is invalid; the message gives the location.
    """
    found = read_object(path)
    check_object(found, kind, str(path))
    return found


def check_object(found: Any, kind: type[_File], origin: str) -> _File:
    """Validate a value against ``kind``.

    Raises:
        UserError: it is invalid; ``origin`` names the file.
    """
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = one_line(".".join(map(str, first["loc"])), 80)
        said = one_line(first["msg"])
        raise UserError(
            f"{origin} is damaged: {where}{': ' if where else ''}{said}. Copy it again, or run the "
            "study anew in another folder."
        ) from error
