"""Result types of the public functions; notebooks show them as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest, Stage
    from galenic.assistant.events import Cited, Sentence
    from galenic.assistant.triage.result import Triage
    from galenic.evaluation.compare import PairedResult
    from galenic.evaluation.records import Record
    from galenic.reports.runs import LoadedRun

__all__ = ["Answer", "Artifact", "Comparison", "Report", "Run", "Table"]


@dataclass(frozen=True)
class Table(Sequence[Mapping[str, Any]]):
    """Rows under named columns; a row is a mapping from column to value.

    `pandas.DataFrame(table)` accepts it directly.

    Attributes:
        columns: column names, in order.
        rows: values of each row, in the order of the columns.
        title: heading of the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return dict(zip(self.columns, self.rows[index], strict=True))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        lines = [list(self.columns), *([_shown(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        return f"{self.title}\n{table}" if self.title else table

    def _repr_html_(self) -> str:
        def line(tag: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line("td", [_shown(value) for value in row]) for row in self.rows)
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}{line('th', self.columns)}{body}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Run:
    """An evaluation: a folder with one record for each question and scoring.

    Attributes:
        folder: path of the run; repeating the call that made it resumes it.
    """

    folder: Path

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """One record for each question, scoring and debiasing, in the order of the file."""
        return self._loaded.records

    @property
    def accuracy(self) -> float:
        """Share of all questions answered correctly, under the run's first scoring."""
        first = self.records[0]
        chosen = [
            record
            for record in self.records
            if (record.scoring, record.debias) == (first.scoring, first.debias)
        ]
        return sum(record.correct for record in chosen) / len(chosen)

    @property
    def complete(self) -> bool:
        """Whether all planned records exist."""
        return self._loaded.complete

    def table(self) -> Table:
        """One row per benchmark and scoring: n, accuracy with its 95 % interval, macro F1."""
        from galenic.reports.rows import build_rows

        names = ("benchmark", "scoring", "debias", "n", "accuracy", "low", "high", "macro_f1")
        rows = build_rows(self._loaded)
        cells = tuple(
            (*(getattr(row, name) for name in names), row.baselines.majority) for row in rows
        )
        return Table((*names, "majority"), cells, self._loaded.info.model.model)

    @cached_property
    def _loaded(self) -> LoadedRun:
        from galenic.reports.runs import load_run

        return load_run(self.folder)

    def __repr__(self) -> str:
        return f"{self.table()!r}\n{self.folder}"

    def _repr_html_(self) -> str:
        return f"{self.table()._repr_html_()}<p>{escape(str(self.folder))}</p>"


@dataclass(frozen=True)
class Artifact:
    """A model folder written by a stage.

    Attributes:
        folder: path of the model.
        manifest: the stages that made it, and the hash of each file.
    """

    folder: Path
    manifest: Manifest

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages applied to the model, in order."""
        return self.manifest.stages

    @property
    def num_bytes(self) -> int:
        """Total size of the weight files in bytes."""
        files = self.manifest.files.items()
        return sum(f.num_bytes for name, f in files if name.endswith((".gguf", ".safetensors")))

    def table(self) -> Table:
        """One row per stage: what was done, from which model, with which options."""
        rows = tuple(
            (
                one.stage,
                one.method,
                one.parent.name,
                ", ".join(f"{key}={value}" for key, value in one.options.items()),
            )
            for one in self.stages
        )
        return Table(("stage", "method", "parent", "options"), rows, str(self.folder))

    def __repr__(self) -> str:
        done = " > ".join(f"{one.stage} {one.method}" for one in self.stages)
        return f"Artifact({str(self.folder)!r}: {done}; {self.num_bytes:,} bytes)"

    def _repr_html_(self) -> str:
        return f"{self.table()._repr_html_()}<p>{self.num_bytes:,} bytes</p>"


@dataclass(frozen=True)
class Comparison:
    """Comparison of two runs on the questions that both answered.

    Attributes:
        results: one per benchmark and scoring, and one for all benchmarks together.
        unpaired_a: number of records of the first run without a partner in the second;
            ``unpaired_b`` likewise for the second.
    """

    results: tuple[PairedResult, ...]
    unpaired_a: int
    unpaired_b: int

    def table(self) -> Table:
        """One row per result; the difference is second run minus first run."""
        columns = ("benchmark", "scoring", "n", "accuracy_a", "accuracy_b", "difference", "low",
                   "high", "p_value", "flipped")  # fmt: skip
        rows = tuple(
            (r.benchmark, r.scoring_a, r.n, r.accuracy_a, r.accuracy_b, r.difference,
             r.interval.low, r.interval.high, r.p_value, r.flipped)
            for r in self.results
        )  # fmt: skip
        return Table(columns, rows)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True)
class Report:
    """The files of a written report.

    Attributes:
        files: paths by file name: ``report.md``, ``report.html``, ``report.json`` and others.
    """

    files: Mapping[str, Path]

    def __repr__(self) -> str:
        return "\n".join(map(str, self.files.values()))

    def _repr_html_(self) -> str:
        page = self.files.get("report.html")
        if page is None:
            return f"<pre>{escape(repr(self))}</pre>"
        text = escape(page.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{text}" width="100%" height="600"></iframe>'


@dataclass(frozen=True)
class Answer:
    """A complete answer to a health question.

    Attributes:
        triage: how soon help is needed, and why.
        sentences: in display order; each refers to its sources by number.
        sources: the cited passages by number.
        notes: remarks such as why there is no answer, or which guard intervened.
    """

    triage: Triage
    sentences: tuple[Sentence, ...]
    sources: tuple[Cited, ...]
    notes: tuple[str, ...]

    @property
    def tier(self) -> str:
        """How soon help is needed: emergency, today, days, self-care, or unknown."""
        return self.triage.tier

    @property
    def text(self) -> str:
        """The sentences as text, with the numbers of their sources."""
        lines = (
            one.text + "".join(f" [{number}]" for number in one.sources) for one in self.sentences
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        sources = (f"[{one.number}] {one.passage.title}" for one in self.sources)
        reasons = (finding.reason for finding in self.triage.leading)
        return "\n".join([f"tier: {self.tier}", *reasons, self.text, *self.notes, *sources])

    def _repr_html_(self) -> str:
        lines = repr(self).splitlines()
        return "".join(f"<p>{escape(line)}</p>" for line in lines if line)
