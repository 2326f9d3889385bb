"""Write a report: Markdown, HTML and JSON, each whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from galenic.cache import replacing
from galenic.errors import UserError
from galenic.reports.document import build_report
from galenic.reports.html import to_html
from galenic.reports.markdown import to_markdown
from galenic.reports.runs import LoadedRun, load_runs
from galenic.study.store import is_study

__all__ = ["report_on", "write_report", "write_study_report"]


def report_on(
    folders: Sequence[Path],
    target: Path,
    *,
    examples: int = 3,
    told: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Read run folders, or one study, and write their report.

    Args:
        folders: at least one.
        target: folder of the report.
        examples: right and as many wrong questions that the page shows of each row.
        told: gets a line for each run that is incomplete.

    Raises:
        UserError: one cannot be read, a study is not named alone, or as `write_report`.
    """
    if any(map(is_study, folders)):
        if len(folders) > 1:
            raise UserError("a study is reported on by itself: name its folder alone.")
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
    """Measure the runs and write ``report.md``, ``report.html`` and ``report.json``.

    Args:
        runs: at least one.
        folder: made if missing; files of these names in it are replaced.
        examples: right and as many wrong questions that the page shows of each row.

    Returns:
        The three files.

    Raises:
        UserError: the folder cannot be made, or no runs.
    """
    _make(folder)
    report = build_report(runs)
    texts = {
        "report.md": to_markdown(report),
        "report.html": to_html(report, runs, examples=examples),
        "report.json": report.model_dump_json(indent=2) + "\n",
    }
    return _write(folder, texts)


def write_study_report(study: Path, folder: Path) -> list[Path]:
    """Write the report of a study: the three files, a picture, and a card for each model of it.

    Args:
        study: its folder.
        folder: made if missing; files of these names in it are replaced.

    Raises:
        UserError: the folder cannot be made, or there is nothing to report on.
    """
    from galenic.reports.study import StudyReport, build_study_report
    from galenic.reports.study_html import study_html, study_picture
    from galenic.reports.study_markdown import study_card, study_markdown

    report = build_study_report(study)
    _make(folder)
    texts = {
        "report.md": study_markdown(report),
        "report.html": study_html(report),
        "report.json": TypeAdapter(StudyReport).dump_json(report, indent=1).decode() + "\n",
    }
    for row in report.rows:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(row.cell.model).name}-{row.cell.variant}")
        texts[f"card-{name}.md"] = study_card(report, row)
    pictures = {} if (drawn := study_picture(report)) is None else {"pareto.png": drawn}
    return _write(folder, texts, pictures)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"-o {folder}: cannot make this folder ({error.strerror}). Name another."
        ) from error


def _write(
    folder: Path, texts: Mapping[str, str], pictures: Mapping[str, bytes] | None = None
) -> list[Path]:
    files = {name: text.encode() for name, text in texts.items()} | dict(pictures or {})
    for name, content in files.items():
        with replacing(folder / name) as part:
            part.write_bytes(content)
    return [folder / name for name in files]
