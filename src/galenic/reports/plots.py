"""Plots as SVG text for one page: no embedded fonts, unique ids, colours that follow the page.

Lines and text use the page's text colour (``currentColor``), so that a plot is readable on light
and dark backgrounds.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galenic.reports.rows import Row
from galenic.reports.text import count, proportion, shorten, span

__all__ = [
    "BASELINE",
    "GRID",
    "MODEL",
    "accuracy_plot",
    "confusion_plot",
    "histogram_plot",
    "new_figure",
    "reliability_plot",
    "risk_coverage_plot",
]

INK = "#010203"
"""Placeholder for the page's text colour in matplotlib; replaced in the SVG."""
MODEL = "#3b82c4"
BASELINE = "#c9822b"
GRID = "#8a8f98"

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

PIXELS = 4 / 3
"""CSS pixels per point."""

WIDEST_NAME = 48
"""Characters of the name of an exam or a run beside a plot."""
PANEL = (3.1, 2.5)
"""Width and height of a small panel in inches."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "galenic",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # dollar signs in names are not math
}


def accuracy_plot(rows: Sequence[Row]) -> str:
    """Plot accuracy with its interval and the majority baseline, one line per row."""
    _need(rows)
    names = _row_names(rows)
    with new_figure((9.2, 1.0 + 0.27 * len(rows)), layout="constrained") as (figure, done):
        axes = figure.add_subplot()
        places = range(len(rows))[::-1]
        axes.barh(
            places,
            [row.high - row.low for row in rows],
            left=[row.low for row in rows],
            height=0.34,
            color=MODEL,
            alpha=0.35,
            label="95 % interval",
        )
        axes.plot(
            [row.accuracy for row in rows], places, "o", ms=4.5, color=MODEL, label="accuracy"
        )
        axes.plot(
            [row.baselines.majority for row in rows],
            places,
            "|",
            ms=11,
            mew=2,
            color=BASELINE,
            label="majority class",
        )
        axes.set_yticks(list(places), names)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(0, 1)
        axes.set_xlabel("accuracy")
        axes.grid(axis="x", color=GRID, alpha=0.25, lw=0.5)
        axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1.0))
        said = [
            f"{name} {proportion(row.accuracy)} ({span(row.low, row.high)}), "
            f"majority {proportion(row.baselines.majority)}"
            for name, row in zip(names, rows, strict=True)
        ]
        return done(f"Accuracy and 95 % interval: {'; '.join(said)}")


def _row_names(rows: Sequence[Row]) -> list[str]:
    """Return labels of rows: benchmark and method, and the run if there are several."""
    several = len({row.run for row in rows}) > 1
    return [
        shorten(f"{row.title} · {row.method}, n {count(row.n)}", WIDEST_NAME)
        + (f" · {shorten(row.run, WIDEST_NAME)}" if several else "")
        for row in rows
    ]


def reliability_plot(row: Row) -> str | None:
    """Plot accuracy against confidence in ten bins; None without probabilities."""
    if row.calibration is None:
        return None
    filled = [
        (mean, share, count)
        for _, _, count, mean, share in row.calibration.bins
        if mean is not None and share is not None
    ]
    with new_figure(PANEL) as (figure, done):
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "--", color=GRID, lw=0.8)
        axes.bar(
            [low for low, *_ in row.calibration.bins],
            [entry[2] / row.n for entry in row.calibration.bins],
            width=0.1,
            align="edge",
            color=GRID,
            alpha=0.3,
        )
        means, shares, _ = zip(*filled, strict=True)
        axes.plot(means, shares, "o-", ms=3.5, color=MODEL)
        _unit_axes(axes, "confidence", "accuracy")
        return done(
            f"Reliability of {row.benchmark} {row.method}: calibration error "
            f"{proportion(row.calibration.ece)}. "
            + "; ".join(
                f"confidence {proportion(mean)}: accuracy {proportion(share)} of {count}"
                for mean, share, count in filled
            )
        )


def risk_coverage_plot(row: Row) -> str | None:
    """Plot error rate against coverage; None without probabilities."""
    if row.calibration is None:
        return None
    with new_figure(PANEL) as (figure, done):
        axes = figure.add_subplot()
        coverage = [point[0] for point in row.calibration.curve]
        risks = [point[1] for point in row.calibration.curve]
        axes.axhline(1 - row.accuracy, color=GRID, lw=0.8, ls="--")
        axes.fill_between(coverage, risks, color=MODEL, alpha=0.12, lw=0)
        axes.plot(coverage, risks, color=MODEL, lw=1.4)
        _unit_axes(axes, "share answered", "error rate")
        selective = ", ".join(
            f"{float(at):.0%} answered: accuracy {proportion(value)}"
            for at, value in row.calibration.selective.items()
        )
        return done(
            f"Risk against coverage of {row.benchmark} {row.method}: area "
            f"{proportion(row.calibration.aurc)}; {selective}"
        )


def histogram_plot(row: Row) -> str:
    """Plot how often each label was predicted and how often it was correct."""
    counts = row.counts
    names = [*counts.labels, *(["unparsed"] if counts.unparsed else [])]
    predicted = [*counts.predicted.values(), *([counts.unparsed] if counts.unparsed else [])]
    gold = [*counts.gold.values(), *([0] if counts.unparsed else [])]
    with new_figure(PANEL) as (figure, done):
        axes = figure.add_subplot()
        places = range(len(names))
        axes.bar(
            [p - 0.2 for p in places], gold, 0.38, color=GRID, alpha=0.55, label="right answer"
        )
        axes.bar([p + 0.2 for p in places], predicted, 0.38, color=MODEL, label="predicted")
        axes.set_xticks(list(places), names)
        axes.margins(y=0.22)
        axes.set_ylabel("questions")
        axes.legend(loc="upper center", ncols=2)
        return done(
            f"Predictions of {row.benchmark} {row.method}: "
            + ", ".join(
                f"{name} predicted {p}, right {g}"
                for name, p, g in zip(names, predicted, gold, strict=True)
            )
        )


def confusion_plot(row: Row) -> str:
    """Plot the confusion matrix (rows: gold, columns: predicted), shaded by share of the row."""
    labels, matrix = row.counts.labels, [list(line) for line in row.counts.confusion]
    columns = [*labels, "unparsed"]
    if not row.counts.unparsed:
        columns, matrix = labels, [line[:-1] for line in matrix]
    with new_figure(PANEL) as (figure, done):
        axes = figure.add_subplot()
        for y, line in enumerate(matrix):
            for x, value in enumerate(line):
                share = value / max(sum(line), 1)
                axes.add_patch(
                    Rectangle(
                        (x - 0.47, y - 0.45), 0.94, 0.9, color=MODEL, alpha=0.08 + 0.6 * share, lw=0
                    )
                )
                weight = "bold" if columns[x] == labels[y] else "normal"
                axes.text(x, y, str(value), ha="center", va="center", fontsize=8, weight=weight)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="predicted", ylabel="right answer")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return done(
            f"Confusion matrix of {row.benchmark} {row.method}, a row a right answer: "
            + "; ".join(
                f"{label}: " + ", ".join(f"{c} {v}" for c, v in zip(columns, line, strict=True))
                for label, line in zip(labels, matrix, strict=True)
            )
        )


def _unit_axes(axes: Any, x: str, y: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x, ylabel=y)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set_xticks(ticks, ["0", ".25", ".5", ".75", "1"])
    axes.set_yticks(ticks, ["0", ".25", ".5", ".75", "1"])
    axes.grid(color=GRID, alpha=0.2, lw=0.5)


@contextmanager
def new_figure(
    inches: tuple[float, float], layout: Literal["constrained"] | None = None
) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """Yield a figure in our style, and a function that returns it as SVG with an ARIA label."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=inches, layout=layout)
        if layout is None:  # panels have labels of known size, so no layout pass is needed
            figure.subplots_adjust(left=0.21, right=0.96, bottom=0.19, top=0.96)
        yield figure, lambda label: _svg(figure, label)


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    return _for_page(buffer.getvalue(), label)


def _for_page(svg: str, label: str) -> str:
    """Prepare matplotlib's SVG for embedding in a page, at about a third of its size."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    width, height = (float(value) for value in box.groups())
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    # A style element would apply to the whole page; metadata and comments are useless.
    for unwanted in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<style.*?</style>"):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    body = re.sub(r">\s+<", "><", body)
    body = re.sub(r"<[^>]+>", lambda tag: _shortened(tag[0]), _own_ids(body))
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width * PIXELS:.0f}" '
        f'height="{height * PIXELS:.0f}" role="img" aria-label="{escape(label)}">{body}'
    )


def _shortened(tag: str) -> str:
    """Shorten a tag: one line, two decimals, the page's colour."""
    tag = re.sub(r"\s+", " ", tag).replace(INK, "currentColor")
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)


def _own_ids(svg: str) -> str:
    """Remove unused ids and make the others unique within the page."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    mark = hashlib.sha256(svg.encode()).hexdigest()[:8]

    def rename(match: re.Match[str]) -> str:
        return f' id="{mark}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r'\sid="([^"]+)"', rename, svg)
    svg = svg.replace("url(#", f"url(#{mark}-")
    return re.sub(r'(?:xlink:)?href="#', f'href="#{mark}-', svg)


def _need(rows: Sequence[Row]) -> None:
    if not rows:
        raise ValueError("no rows")
