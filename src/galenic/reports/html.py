"""The report as a self-contained HTML page without external resources.

Its only script searches the questions shown; the page's policy allows it by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from galenic.reports import plots
from galenic.reports.document import READING, ReportDocument
from galenic.reports.examples import Shown, pick_examples
from galenic.reports.meaning import meaning_of_rows
from galenic.reports.rows import Row
from galenic.reports.runs import LoadedRun
from galenic.reports.text import count, model_name, p_value, proportion, signed, span
from galenic.units import format_time

__all__ = ["label_cells", "page_template", "to_html"]


@dataclass(frozen=True)
class Figure:
    """A plot of one row; ``svg`` is None if there is nothing to plot."""

    row: Row
    svg: Markup | None


@dataclass(frozen=True)
class Gallery:
    """One kind of plot, for all rows that have it."""

    title: str
    note: str
    open: bool
    figures: list[Figure]


def to_html(report: ReportDocument, runs: Sequence[LoadedRun], *, examples: int = 3) -> str:
    """Render the page, with ``examples`` right and wrong answers per row; 0 needs no ``runs``.

    Questions and model names are untrusted: the template escapes everything except our own SVG,
    whose texts are escaped when drawn.
    """
    by_name = {run.name: run for run in runs}
    chosen = report.rows if examples else []
    shown = [(row, pick_examples(by_name[row.run], row, examples)) for row in chosen]
    page = page_template("report.html.jinja").render(
        report=report,
        meaning=meaning_of_rows(report.rows),
        rows=report.rows,
        several=len(report.runs) > 1,
        models=list(dict.fromkeys(model_name(run.model.model) for run in report.runs)),
        accuracy=Markup(plots.accuracy_plot(report.rows)),  # noqa: S704, our own SVG
        galleries=_galleries(report.rows),
        permuted=[row for row in report.rows if row.permutation],
        examples=_with_examples(shown),
        reading=READING,
    )
    return label_cells(page)


def page_template(name: str) -> Template:
    """Load a template of this folder with our filters; it escapes all but our own markup."""
    loader = FunctionLoader(_file)
    script = _file("search.js")
    digest = hashlib.sha256(script.encode()).digest()
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=loader)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        p=proportion, signed=signed, count=count, p_value=p_value, duration=format_time
    )
    environment.globals.update(
        span=span,
        inline_code=_inline_code,
        search_script=Markup(script),  # noqa: S704, our own
        search_hash=base64.b64encode(digest).decode(),
    )
    return environment.get_template(name)


def _file(name: str) -> str:
    return files("galenic.reports").joinpath(name).read_text(encoding="utf-8")


def label_cells(page: str) -> str:
    """Give each cell of a table the name of its column, which a phone shows before it."""
    return re.sub(r"<table>.*?</table>", _labelled, page, flags=re.DOTALL)


def _labelled(table: re.Match[str]) -> str:
    head, _, body = table[0].partition("</thead>")
    columns = [
        re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<th\b.*?</th>", head, re.DOTALL)
    ]

    def row(found: re.Match[str]) -> str:
        names = iter(columns)

        def cell(tag: re.Match[str]) -> str:
            label = next(names, "")
            return tag[0] if tag[1] == "th" else f'<td data-label="{label}"'

        return re.sub(r"<(td|th)\b", cell, found[0])

    return f"{head}</thead>{re.sub(r'<tr.*?</tr>', row, body, flags=re.DOTALL)}"


def _galleries(rows: Sequence[Row]) -> list[Gallery]:
    return [
        _gallery(
            "What was predicted",
            "Grey: how often each answer is right. Blue: how often the model gives it.",
            rows,
            plots.histogram_plot,
            opened=True,
        ),
        _gallery(
            "Confusion matrices",
            "A row is a right answer, a column what the model said; shaded by share of the row.",
            rows,
            plots.confusion_plot,
        ),
        _gallery(
            "Reliability",
            "On the dashed line confidence equals accuracy; below it the model is overconfident. "
            "Grey bars: share of the questions in each bin.",
            rows,
            plots.reliability_plot,
        ),
        _gallery(
            "Risk against coverage",
            "Error rate when only the most confident answers are given. Dashed: all answered. "
            "A flat curve means the confidence is worth nothing.",
            rows,
            plots.risk_coverage_plot,
        ),
    ]


def _gallery(
    title: str,
    note: str,
    rows: Sequence[Row],
    draw: Callable[[Row], str | None],
    *,
    opened: bool = False,
) -> Gallery:
    drawn = [(row, draw(row)) for row in rows]
    figures = [Figure(row, Markup(svg)) for row, svg in drawn if svg]  # noqa: S704, our own SVG
    return Gallery(title, note, opened, figures)


def _with_examples(found: list[tuple[Row, list[Shown]]]) -> list[tuple[Row, list[Shown]]]:
    return [(row, shown) for row, shown in found if shown]


def _inline_code(text: str) -> Markup:
    """Escape text and turn `backticked` words into code elements."""
    parts = text.split("`")
    pieces = [
        Markup("<code>{}</code>").format(part) if number % 2 else Markup.escape(part)
        for number, part in enumerate(parts)
    ]
    return Markup("").join(pieces)
