"""The report as Markdown, with tables that are also readable as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from galenic.reports.document import READING, Provenance, ReportDocument
from galenic.reports.meaning import meaning_of_rows
from galenic.reports.rows import Row
from galenic.reports.text import count, proportion, signed, span, spark
from galenic.units import format_threads

__all__ = ["to_markdown"]


def to_markdown(report: ReportDocument) -> str:
    """Render the report, without the text of questions."""
    parts = [
        "# Galenic report",
        *meaning_of_rows(report.rows),
        f"*{report.disclaimer}*",
        *_warnings(report),
        "## Accuracy",
        _accuracy_table(report.rows),
        "## Precision, recall, F1",
        _class_table(report.rows),
        "## Confidence and robustness",
        _confidence_table(report.rows),
        "## How to read this",
        "\n".join(f"- **{word}.** {meaning}" for word, meaning in READING),
        "## Provenance",
        *(_provenance(run) for run in report.runs),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(report: ReportDocument) -> list[str]:
    lines = [
        f"- **Incomplete:** run `{run.name}` holds {run.records} of {run.planned} planned answers."
        for run in report.runs
        if not run.complete
    ]
    lines += [
        f"- **COLLAPSE:** {_name(row)} answers `{row.collapse[0]}` to {row.collapse[1]:.0%} of the "
        "questions; its accuracy is the share of that answer."
        for row in report.rows
        if row.collapse
    ]
    return ["\n".join(lines)] if lines else []


def _name(row: Row) -> str:
    return f"{row.run} / {row.benchmark} / {row.method}"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a table; the first three columns and predictions are text, the others numbers."""
    marks = ["---" if i < 3 or name == "predictions" else "---:" for i, name in enumerate(header)]
    cells = [header, marks, *([text.replace("|", "\\|") for text in line] for line in lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _first(row: Row) -> list[str]:
    return [row.run, f"{row.title} {row.split}", row.method]


HEAD = ("run", "benchmark", "scoring")


def _accuracy_table(rows: Sequence[Row]) -> str:
    header = [*HEAD, "n", "accuracy", "95 %", "majority", "difference (95 %)", "uniform"]
    lines = []
    for row in rows:
        base = row.baselines
        flag = " **COLLAPSE**" if row.collapse else ""
        lines.append(
            [
                *_first(row),
                str(row.n) if row.complete else f"{row.n} of {row.planned}",
                f"**{proportion(row.accuracy)}**",
                span(row.low, row.high),
                f"{proportion(base.majority)} ({base.majority_label})",
                f"{signed(base.difference)} ({signed(base.difference_low)} to "
                f"{signed(base.difference_high)})",
                proportion(base.uniform),
                f"{spark(row.counts.predicted)}{flag}",
            ]
        )
    return _table([*header, "predictions"], lines)


def _class_table(rows: Sequence[Row]) -> str:
    names = [f"{mean} {name}" for mean in ("weighted", "macro") for name in ("P", "R", "F1")]
    lines = [
        [
            *_first(row),
            *(
                proportion(value)
                for value in (
                    row.weighted_precision,
                    row.weighted_recall,
                    row.weighted_f1,
                    row.macro_precision,
                    row.macro_recall,
                    row.macro_f1,
                )
            ),
        ]
        for row in rows
    ]
    return _table([*HEAD, *names], lines)


def _confidence_table(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        c, p = row.calibration, row.permutation
        lines.append(
            [
                *_first(row),
                proportion(c.ece if c else None),
                proportion(c.brier if c else None),
                proportion(c.aurc if c else None),
                proportion(c.selective["0.50"] if c else None),
                proportion(p.flip_rate if p else None),
                proportion(p.items_flipped if p else None),
                proportion(row.unparsed_rate),
                str(row.counts.truncated),
            ]
        )
    header = ["ECE", "Brier", "AURC", "acc. at 50 % coverage", "flip rate", "items flipped"]
    return _table([*HEAD, *header, "unparsed", "truncated"], lines)


def _provenance(run: Provenance) -> str:
    model = run.model
    lines = [
        f"### {run.name}",
        "",
        "```",
        run.command,
        "```",
        "",
        f"- answers: {run.records} of {run.planned} planned; started {run.created}",
        f"- model: `{model.model}`, {count(model.num_parameters)} parameters, "
        f"{model.architecture}, weights {model.weights}, sha256 `{model.sha256}`",
        f"- engine: {model.runtime} ({model.engine}), {format_threads(model.num_threads)}, "
        f"context length {model.context_length}",
        "- settings: "
        + ", ".join(
            f"{key} {','.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in run.config.items()
            if value is not None
        ),
        "- versions: " + ", ".join(f"{key} {value}" for key, value in run.versions.items()),
        f"- machine: {run.machine_words}",
    ]
    lines += [
        f"- data: {entry.title or entry.benchmark} {entry.split}, {entry.num_items} of "
        f"{entry.num_available} questions, version {entry.version}, `{entry.file}`, "
        f"sha256 `{entry.sha256}`"
        for entry in run.data
    ]
    if run.speed:
        s = run.speed
        lines.append(
            f"- speed: {s.seconds:.1f} s of computing, {count(s.tokens_asked)} tokens asked, "
            f"{count(s.tokens_computed)} computed (sharing {s.sharing:.2f}×), "
            f"{s.tokens_per_second:.0f} tokens/s, {s.answers_per_second:.2f} answers/s"
        )
    return "\n".join(lines)
