"""Write a report: Markdown, HTML and JSON, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from galenic.cache import replacing
from galenic.errors import UserError
from galenic.report.document import build_report
from galenic.report.html import to_html
from galenic.report.markdown import to_markdown
from galenic.report.runs import Run

__all__ = ["write_report"]


def write_report(runs: Sequence[Run], folder: Path, *, examples: int = 3) -> list[Path]:
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"-o {folder}: cannot make this folder ({error.strerror}). Name another."
        ) from error
    report = build_report(runs)
    texts = {
        "report.md": to_markdown(report),
        "report.html": to_html(report, runs, examples=examples),
        "report.json": report.model_dump_json(indent=2) + "\n",
    }
    for name, text in texts.items():
        with replacing(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
