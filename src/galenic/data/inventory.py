"""Inventory of a data folder: rows, labels, hashes and licences of every known file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from galenic.data import manifest
from galenic.data.jsonl import JsonlFile, read_jsonl
from galenic.data.manifest import FileFacts
from galenic.data.rows import check_options, check_text, parse_row
from galenic.data.sources import SAMPLE_LICENSE, DataSource, read_rows, whole
from galenic.errors import UserError
from galenic.registry import BENCHMARKS

__all__ = ["PAPER_ROWS", "FileReport", "inspect", "record"]

PAPER_ROWS: Mapping[tuple[str, str], int] = {
    ("pubmedqa", "all"): 1000,
    **{(f"medqa_{k}options", s): n for k in (4, 5) for s, n in
       (("train", 10178), ("test", 1273), ("dev", 1272))},
    ("medmcqa", "train"): 182822,
    ("medmcqa", "test"): 6150,
    ("medmcqa", "validation"): 4183,
}  # fmt: skip
"""Sizes in Table 1 of "Prescription for Efficiency" by benchmark and split. Its PubMedQA row
(1,000/800/200) uses a split of its own, not the official one."""

_UNLABELLED = "medmcqa/test_unlabelled.jsonl.gz"
_MEDQUAD = "medquad/medquad.jsonl.gz"


@dataclass(frozen=True)
class FileReport:
    """One file of a folder.

    Attributes:
        file: name in the local layout.
        benchmark: registry name, or ``"medquad"``.
        title: title of the benchmark.
        split: name of the split.
        rows: number of rows; 0 if the file is damaged.
        paper_rows: number of rows in the paper's Table 1; None if it has no such split.
        labels: how often each label is correct, in display order; empty without labels.
        sha256: hash of the file; None if it cannot be read.
        checksum: ``mismatch`` = not the recorded hash; ``damaged`` = not a valid file;
            the others as in ``manifest.State``.
        license: licence as recorded.
        origin: origin as recorded.
        problem: what is wrong; None if nothing.
    """

    file: str
    benchmark: str
    title: str
    split: str
    rows: int = 0
    paper_rows: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    sha256: str | None = None
    checksum: Literal["ok", "unknown", "packaged", "mismatch", "damaged"] = "damaged"
    license: str = "not stated"
    origin: str = "not stated"
    problem: str | None = None

    @property
    def majority(self) -> float | None:
        """Share of the most frequent label; None without labels."""
        return max(self.labels.values()) / self.rows if self.labels else None


@dataclass(frozen=True)
class _Entry:
    file: str
    benchmark: str
    title: str
    split: str
    parse: Callable[[Mapping[str, Any]], tuple[str, str | None, tuple[str, ...]]]
    """Convert a row to its id, its correct label (None without one) and all labels."""


def inspect(source: DataSource) -> list[FileReport]:
    """Read and validate every known file present; invalid files are reported, not raised.

    Raises:
        UserError: the folder has no known file, or its manifest is invalid.
    """
    known = _sample_entries() if source.sample else _entries()
    entries = [entry for entry in known if (source.folder / entry.file).is_file()]
    if not entries:
        raise UserError(
            f"{source.folder} holds none of the known files (pubmedqa/test.jsonl.gz, "
            "medqa/5options_test.jsonl.gz, medmcqa/validation.jsonl.gz ...)."
        )
    return [_report(source, entry) for entry in entries]


def record(source: DataSource) -> Path:
    """Write the folder's manifest from its current files, after validating all of them.

    Licence and origin are copied for files that match the packaged table.

    Raises:
        UserError: a file is damaged or invalid; then nothing is written.
    """
    facts = {}
    known = {each.sha256: each for each in manifest.packaged().values()}
    before = manifest.own_facts(source.folder)
    for report in inspect(source):
        if report.checksum == "damaged" or report.sha256 is None:
            raise UserError(f"{report.problem} No manifest was written.")
        same = known.get(report.sha256)
        if report.file in before and before[report.file].sha256 == report.sha256:
            same = before[report.file]
        facts[report.file] = FileFacts(
            sha256=report.sha256,
            rows=report.rows,
            license=same.license if same else "not stated",
            origin=same.origin if same else "recorded by the user with --write-manifest",
        )
    return manifest.write_manifest(source.folder, facts)


def _report(source: DataSource, entry: _Entry) -> FileReport:
    path = source.folder / entry.file
    names = (entry.file, entry.benchmark, entry.title, entry.split)
    try:
        file = read_jsonl(path)
        rows = read_rows(file, entry.parse, lambda row: row[0])
    except UserError as error:
        return FileReport(*names, problem=str(error))
    counts = Counter(label for _, label, _ in rows if label is not None)
    labels = dict.fromkeys(label for _, _, every in rows for label in every) if counts else {}
    state, problem = _check(source, entry.file, file)
    license_, origin = _provenance(source, entry.file, state)
    return FileReport(
        *names,
        rows=len(rows),
        paper_rows=None if source.sample else PAPER_ROWS.get((entry.benchmark, entry.split)),
        labels={label: counts[label] for label in labels},
        sha256=file.sha256,
        checksum=state,
        license=license_,
        origin=origin,
        problem=problem,
    )


def _provenance(source: DataSource, name: str, state: str) -> tuple[str, str]:
    if source.sample:
        return SAMPLE_LICENSE, "written for this package"
    facts = manifest.facts_of(source.folder).get(name)
    if facts is None or state == "mismatch":
        return "not stated", "not stated"
    return facts.license, facts.origin


def _check(
    source: DataSource, name: str, file: JsonlFile
) -> tuple[Literal["ok", "unknown", "packaged", "mismatch"], str | None]:
    if source.sample:
        return "packaged", None
    try:
        return manifest.check(source.folder, name, file), None
    except UserError as error:
        return "mismatch", str(error)


def _entries() -> Iterator[_Entry]:
    for name in BENCHMARKS.own:
        benchmark = BENCHMARKS.load(name)
        for split, file in benchmark.splits.items():
            for each in dict.fromkeys((whole(file), file)):
                yield _Entry(each, name, benchmark.title, split, _labelled)
        if name == "medmcqa":
            yield _Entry(_UNLABELLED, name, benchmark.title, "test", _unlabelled)
    yield _Entry(_MEDQUAD, "medquad", "MedQuAD", "all", _medquad)


def _sample_entries() -> Iterator[_Entry]:
    for name in BENCHMARKS.own:
        benchmark = BENCHMARKS.load(name).sample()
        for split, file in benchmark.splits.items():
            yield _Entry(file, name, benchmark.title, split, _labelled)


def _labelled(row: Mapping[str, Any]) -> tuple[str, str | None, tuple[str, ...]]:
    example = parse_row(row)
    return example.id, example.answer, tuple(example.options)


def _unlabelled(row: Mapping[str, Any]) -> tuple[str, str | None, tuple[str, ...]]:
    check_text(row, "question")
    check_options(row.get("options"))
    return check_text(row, "id"), None, ()


def _medquad(row: Mapping[str, Any]) -> tuple[str, str | None, tuple[str, ...]]:
    check_text(row, "question")
    check_text(row, "answer")
    return check_text(row, "id"), None, ()
