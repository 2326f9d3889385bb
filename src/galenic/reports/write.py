"""Writing of reports as Markdown, HTML and JSON; each file is written atomically."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from galenic.cache import replacing
from galenic.errors import UserError
from galenic.reports.document import build_report
from galenic.reports.html import to_html
from galenic.reports.markdown import to_markdown
from galenic.reports.runs import LoadedRun, load_runs
from galenic.study.store import is_study

if TYPE_CHECKING:
    from galenic.reports.study import StudyReport

__all__ = ["report_on", "study_files", "write_report", "write_study_report"]


def report_on(
    folders: Sequence[Path],
    target: Path,
    *,
    examples: int = 3,
    told: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Read run folders, or one study, and write their report.

    Args:
        folders: run folders, at least one, or one study folder.
        target: folder of the report.
        examples: number of right and of wrong answers that the page shows per row.
        told: called with a line for each incomplete run.

    Raises:
        UserError: a folder cannot be read, a study is combined with others, or as in
            `write_report`.
    """
    if any(map(is_study, folders)):
        if len(folders) > 1:
            raise UserError("a study has a report of its own: name only its folder.")
        return write_study_report(folders[0], target)
    loaded = load_runs(list(folders))
    for run in loaded:
        if not run.complete:
            told(
                f"{run.folder} is incomplete: {len(run.records)} of {run.num_planned} answers. "
                "The report says so."
            )
    return write_report(loaded, target, examples=examples)


def write_report(runs: Sequence[LoadedRun], folder: Path, *, examples: int = 3) -> list[Path]:
    """Write ``report.md``, ``report.html`` and ``report.json`` of several runs.

    Args:
        runs: the runs, at least one.
        folder: folder of the report; created if missing; existing report files are replaced.
        examples: number of right and of wrong answers that the page shows per row.

    Returns:
        Paths of the three files.

    Raises:
        UserError: the folder cannot be created, or there are no runs.
    """
    _make(folder)
    report = build_report(runs)
    texts = {
        "report.md": to_markdown(report),
        "report.html": to_html(report, runs, examples=examples),
        "report.json": report.model_dump_json(indent=2) + "\n",
    }
    return _write(folder, {name: text.encode() for name, text in texts.items()})


def write_study_report(study: Path, folder: Path) -> list[Path]:
    """Write the report of a study: the three files, a picture, and a card for each model.

    Args:
        study: folder of the study.
        folder: folder of the report; created if missing; existing report files are replaced.

    Raises:
        UserError: the folder cannot be created, or there is nothing to report.
    """
    from galenic.reports.study import build_study_report

    report = build_study_report(study)
    _make(folder)
    return _write(folder, study_files(report))


def study_files(report: StudyReport) -> dict[str, bytes]:
    """Draw the report of a study: content by file name.

    ``report.md``, ``report.html``, ``report.json``, a card for each model, and ``pareto.png`` where
    two models can be compared.
    """
    from galenic.reports.study import StudyReport
    from galenic.reports.study_html import study_html, study_picture
    from galenic.reports.study_markdown import study_card, study_markdown

    texts = {
        "report.md": study_markdown(report),
        "report.html": study_html(report),
        "report.json": TypeAdapter(StudyReport).dump_json(report, indent=1).decode() + "\n",
    }
    for row in report.rows:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(row.cell.model).name}-{row.cell.variant}")
        texts[f"card-{name}.md"] = study_card(report, row)
    files = {name: text.encode() for name, text in texts.items()}
    drawn = study_picture(report)
    return files if drawn is None else {**files, "pareto.png": drawn}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"-o {folder}: cannot make this folder ({error.strerror}). Name another."
        ) from error


def _write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    for name, content in files.items():
        with replacing(folder / name) as part:
            part.write_bytes(content)
    return [folder / name for name in files]
