"""The report of a study as a self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from galenic.reports import plots
from galenic.reports.document import DISCLAIMER, READING, READING_STUDY
from galenic.reports.html import label_cells, page_template
from galenic.reports.meaning import clearest_scoring, meaning_of_study
from galenic.reports.pareto import Panel, Point, pareto_picture, pareto_plot
from galenic.reports.study import SIGNIFICANT, Answers, StudyReport, TableRow
from galenic.reports.text import count, stored
from galenic.units import format_size

__all__ = ["study_html"]


BYTES = "MB of the file, as it is stored"
"""Label of the axis of sizes."""


@dataclass(frozen=True)
class Plot:
    """A plot with its heading."""

    title: str
    svg: Markup


def study_html(report: StudyReport) -> str:
    """Render the page; the template escapes everything except our own SVG."""
    page = page_template("study.html.jinja").render(
        report=report,
        meaning=meaning_of_study(report),
        significant=SIGNIFICANT,
        facts=report.facts,
        rows=report.rows,
        names=[report.name_of(row) for row in report.rows],
        sizes=["–" if row.size is None else format_size(row.size["file_bytes"])
               for row in report.rows],
        stored=[stored(row.size or {}) for row in report.rows],
        memory=[_memory(row) for row in report.rows],
        collapsed=_collapsed(report),
        bytes_plots=_pareto(report, BYTES, _megabytes),
        speed_plots=_pareto(report, "new tokens a second", _tokens_per_second, more=True),
        reliability=_reliability(report),
        kinds={
            key
            for row in report.rows
            for key, found in row.answers.items()
            if found.kinds or found.subjects
        },
        disclaimer=DISCLAIMER,
        reading=READING,
        reading_study=READING_STUDY,
    )  # fmt: skip
    return label_cells(page)


def _memory(row: TableRow) -> str:
    if row.speed is None:
        return "–"
    return format_size(int(row.speed["model"]["measures"]["peak_rss"]["median"]))


def _megabytes(row: TableRow) -> float | None:
    return None if row.size is None else row.size["file_bytes"] / 1e6


def _tokens_per_second(row: TableRow) -> float | None:
    if row.speed is None:
        return None
    return float(row.speed["model"]["measures"]["decode"]["median"])


def study_picture(report: StudyReport) -> bytes | None:
    """Plot accuracy over file size as PNG, for the scoring with the fewest collapsed models.

    None if fewer than two models can be compared.
    """
    panels = _panels(report, BYTES, _megabytes)
    scorings = [clearest_scoring(report), *report.scorings]
    drawn = [found for one in scorings if (found := [p for name, p in panels if name == one])]
    return pareto_picture(drawn[0]) if drawn else None


def _pareto(
    report: StudyReport,
    label: str,
    cost: Callable[[TableRow], float | None],
    *,
    more: bool = False,
) -> list[Plot]:
    return [
        Plot(panel.title, Markup(pareto_plot(panel)))  # noqa: S704, our own SVG
        for _, panel in _panels(report, label, cost, more=more)
    ]


def _panels(
    report: StudyReport,
    label: str,
    cost: Callable[[TableRow], float | None],
    *,
    more: bool = False,
) -> list[tuple[str, Panel]]:
    """Build plots of accuracy over a cost per scoring and benchmark with two or more models."""
    found = []
    for scoring in report.scorings:
        for benchmark, title in report.benchmarks.items():
            points = list(_points(report.rows, (benchmark, scoring), cost))
            if len(points) > 1:
                name = f"{title} · {scoring}, {_asked(report, (benchmark, scoring))}"
                found.append((scoring, Panel(name, points, label, more)))
    return found


def _asked(report: StudyReport, key: tuple[str, str]) -> str:
    """Number of questions behind each point, such as ``n 300``; a range where it differs."""
    numbers = sorted({row.answers[key].row.n for row in report.rows if key in row.answers})
    return "n " + " to ".join(count(one) for one in dict.fromkeys((numbers[0], numbers[-1])))


def _points(
    rows: Sequence[TableRow], key: tuple[str, str], cost: Callable[[TableRow], float | None]
) -> Iterator[Point]:
    for row in rows:
        answers, value = row.answers.get(key), cost(row)
        if answers is not None and value:
            one = answers.row
            yield Point(
                name=row.cell.variant,
                cost=float(value),
                value=one.accuracy,
                low=one.low,
                high=one.high,
                collapsed=bool(one.collapse),
            )


def _collapsed(report: StudyReport) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """List collapsed answers by benchmark and scoring: answer, number of models, of how many."""
    found = []
    for scoring in report.scorings:
        for benchmark, title in report.benchmarks.items():
            asked = [
                answers.row
                for row in report.rows
                if (answers := row.answers.get((benchmark, scoring)))
            ]
            counts = Counter(row.collapse[0] for row in asked if row.collapse)
            if counts:
                shown = [(label, number, len(asked)) for label, number in counts.most_common()]
                found.append((f"{title}, {scoring}", shown))
    return found


def _reliability(report: StudyReport) -> list[Plot]:
    """Draw a reliability plot for each model and benchmark, for the last scoring."""
    found = []
    for row in report.rows:
        drawn = [(answers, plots.reliability_plot(answers.row)) for answers in _first(report, row)]
        for answers, svg in drawn:
            if svg:
                name = f"{row.cell.title} · {answers.row.title}"
                found.append(Plot(name, Markup(svg)))  # noqa: S704, our own SVG
    return found


def _first(report: StudyReport, row: TableRow) -> list[Answers]:
    keys = [(benchmark, report.scorings[-1]) for benchmark in report.benchmarks]
    return [row.answers[key] for key in keys if key in row.answers]
