"""Reading of run folders written by ``galenic evaluate``, complete or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from galenic.data.jsonl import JsonlFile, read_jsonl
from galenic.errors import UserError
from galenic.evaluation.records import Record, Timing
from galenic.runtimes.base import RuntimeInfo

__all__ = ["DataEntry", "Item", "LoadedRun", "RunInfo", "load_run", "load_runs"]

_T = TypeVar("_T", bound=BaseModel)


class Item(BaseModel):
    """One question of a run, without its context."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    id: str
    question: str
    options: dict[str, str]
    answer: str
    meta: dict[str, Any] = {}


class DataEntry(BaseModel):
    """One evaluated split: its file, and how many of its questions were asked."""

    model_config = ConfigDict(frozen=True, extra="allow")

    benchmark: str
    split: str
    num_items: int
    num_available: int
    file: str
    sha256: str
    version: int
    title: str | None = None


class RunInfo(BaseModel):
    """Content of ``run.json``: everything needed to repeat the run."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal[1]
    command: str
    config: dict[str, Any]
    model: RuntimeInfo
    data: list[DataEntry]
    versions: dict[str, Any]
    machine: dict[str, Any]
    created: str


@dataclass(frozen=True)
class LoadedRun:
    """A run in memory.

    Attributes:
        name: name in tables, unique among the runs loaded together.
        folder: path of the run.
        info: content of ``run.json``.
        items: questions by (benchmark, id).
        records: records in file order.
        timings: timings in file order.
        cut_line: whether the last line of the records was incomplete; such a line is left out.
    """

    name: str
    folder: Path
    info: RunInfo
    items: Mapping[tuple[str, str], Item]
    records: tuple[Record, ...]
    timings: tuple[Timing, ...]
    cut_line: bool

    @property
    def num_planned(self) -> int:
        """Number of records of a complete run."""
        scorings = len(self.info.config.get("scoring") or [None])
        return scorings * sum(entry.num_items for entry in self.info.data)

    @property
    def complete(self) -> bool:
        """Whether all planned records exist."""
        return len(self.records) >= self.num_planned

    def entry(self, benchmark: str) -> DataEntry:
        """Return the data entry of a benchmark; `load_run` guarantees that it exists."""
        return next(entry for entry in self.info.data if entry.benchmark == benchmark)


def load_run(folder: Path) -> LoadedRun:
    """Read one run folder.

    Raises:
        UserError: it is not a run folder, has no records, or has an invalid or duplicate line; the
            message gives file and line.
    """
    info = _read_info(folder)
    items = {(item.benchmark, item.id): item for _, item in _lines(folder, "items.jsonl", Item)[0]}
    numbered, cut = _lines(folder, "records.jsonl", Record)
    records = [record for _, record in numbered]
    if not records:
        raise UserError(
            f"{folder} holds no records yet: the run was stopped before its first answer. "
            f"Run it again: {info.command}"
        )
    _check(folder, info, items, numbered)
    timings = [timing for _, timing in _lines(folder, "timings.jsonl", Timing, needed=False)[0]]
    return LoadedRun(
        name=folder.resolve().name,
        folder=folder,
        info=info,
        items=items,
        records=tuple(records),
        timings=tuple(timings),
        cut_line=cut,
    )


def load_runs(folders: list[Path]) -> list[LoadedRun]:
    """Read several runs; runs with equal folder names are named by their paths.

    Raises:
        UserError: as in `load_run`, or a folder is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder in folders:
        if resolved.count(folder.resolve()) > 1:
            raise UserError(f"{folder} is named twice. Name every run once.")
    names = [folder.name for folder in resolved]
    runs = []
    for folder in folders:
        run = load_run(folder)
        if names.count(run.name) > 1:
            path = folder.resolve()
            run = LoadedRun(**{**vars(run), "name": f"{path.parent.name}/{path.name}"})
        runs.append(run)
    return runs


def _read_info(folder: Path) -> RunInfo:
    path = folder / "run.json"
    if not folder.is_dir() or not path.is_file():
        what = "it has no run.json" if folder.is_dir() else "there is no such folder"
        if folder.is_dir() and not any(folder.iterdir()):
            what = "it is empty. An evaluation stopped before its first question is to be run again"
        raise UserError(
            f"{folder} is not a run: {what}. Name a folder that `galenic evaluate` wrote."
        )
    try:
        return RunInfo.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} cannot be read: {_first_problem(error)}.") from error


def _check(
    folder: Path,
    info: RunInfo,
    items: Mapping[tuple[str, str], Item],
    numbered: list[tuple[int, Record]],
) -> None:
    benchmarks = {entry.benchmark for entry in info.data}
    seen: dict[tuple[str, str, str], int] = {}
    for line, record in numbered:
        problem = None
        if record.key in seen:
            problem = f"the same question and scoring as line {seen[record.key]}"
        elif record.benchmark not in benchmarks:
            problem = f"benchmark {record.benchmark!r} is not in run.json"
        elif (record.benchmark, record.id) not in items:
            problem = f"question {record.id!r} is not in items.jsonl"
        if problem:
            raise UserError(f"{folder / 'records.jsonl'}, line {line}: {problem}.")
        seen[record.key] = line


def _lines(
    folder: Path, name: str, model: type[_T], *, needed: bool = True
) -> tuple[list[tuple[int, _T]], bool]:
    """Read line numbers and objects of a JSONL file, and whether its last line was incomplete."""
    candidates = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
    if not candidates:
        if needed:
            lost = " (the questions; published results leave them out)" * (name == "items.jsonl")
            raise UserError(f"{folder} is not a whole run: {name}{lost} is missing.")
        return [], False
    if len(candidates) > 1:
        raise UserError(f"{folder} holds both {name} and {name}.gz: remove the one that is stale.")
    file, cut = _without_cut_line(read_jsonl(candidates[0]))
    return list(_parse(file, model)), cut


def _parse(file: JsonlFile, model: type[_T]) -> Iterator[tuple[int, _T]]:
    for line, row in file.rows():
        try:
            yield line, model.model_validate(row)
        except ValidationError as error:
            raise file.error(line, _first_problem(error)) from error


def _without_cut_line(file: JsonlFile) -> tuple[JsonlFile, bool]:
    """Remove an incomplete last line (no line break, invalid JSON), as a killed run leaves it."""
    head, end, tail = file.content.rpartition(b"\n")
    if not tail.strip():
        return file, False
    try:
        json.loads(tail)
    except ValueError:
        return JsonlFile(file.path, file.sha256, head + end), True
    return file, False


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
