"""Plots of accuracy over a cost, with the Pareto front."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from galenic.reports.plots import BASELINE, GRID, MODEL, new_figure

__all__ = ["Panel", "Point", "front", "pareto_picture", "pareto_plot"]

_PLACES = [
    (x, y, side)
    for y in (0, 9, -9, 18, -18, 27, -27, 36, -36)
    for x, side in ((6, "left"), (-6, "right"))
]
"""Candidate positions of a label relative to its marker, in points, best first."""
NEAR = 10
"""A label further above or below its marker (in points) is joined to it by a line."""
FOREIGN = 10
"""A label nearer than this (in points) to another's marker seems to be that one's."""
NARROW = 3
"""Costs that differ by less than this factor get evenly spaced marks."""


@dataclass(frozen=True)
class Point:
    """One model in the plot.

    Attributes:
        name: label of the marker.
        cost: size, time or speed.
        value: accuracy.
        low, high: interval of the accuracy.
        collapsed: whether nearly all answers are the same, so that accuracy means nothing.
    """

    name: str
    cost: float
    value: float
    low: float
    high: float
    collapsed: bool = False


def front(points: Sequence[Point], *, more: bool) -> list[Point]:
    """Return the Pareto front of cost and accuracy, best cost first, without collapsed models.

    Args:
        points: all models.
        more: True if a higher cost value is better, as for tokens per second.
    """
    order = sorted(points, key=lambda one: (-one.cost if more else one.cost, -one.value))
    best: list[Point] = []
    for one in order:
        if not one.collapsed and (not best or one.value > best[-1].value):
            best.append(one)
    return best


@dataclass(frozen=True)
class Panel:
    """Contents of one plot.

    Attributes:
        title: benchmark and scoring.
        points: all models.
        x_label: label of the cost axis.
        more: as for `front`.
    """

    title: str
    points: Sequence[Point]
    x_label: str
    more: bool = False


def pareto_plot(panel: Panel) -> str:
    """Draw one plot as SVG; a line joins the `front`, hollow markers are collapsed models."""
    with new_figure((4.9, 3.6), layout="constrained") as (figure, done):
        _draw(figure, [(figure.add_subplot(), panel)])
        spoken = "; ".join(
            f"{one.name} {one.cost:g}, {one.value:.3f}{' collapsed' * one.collapsed}"
            for one in panel.points
        )
        return done(f"{panel.title}: {spoken}")


def pareto_picture(panels: Sequence[Panel]) -> bytes:
    """Draw several plots as a PNG, at most two in a row: pages show it 900 pixels wide or less."""
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    with new_figure((4.9 * columns, 3.9 * rows), layout="constrained") as (figure, _):
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for one, panel in zip(axes, panels, strict=False):
            one.set_title(panel.title)
        for one in axes[len(panels) :]:
            one.remove()
        _draw(figure, list(zip(axes, panels, strict=False)))
        for text in (text for one in axes for text in one.texts):  # lines end at the letters
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        return buffer.getvalue()


def _draw(figure: Figure, panels: Sequence[tuple[Any, Panel]]) -> None:
    labels: dict[str, Any] = {}
    for axes, panel in panels:
        _axes(axes, panel)
        labels |= {
            label: mark for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
    figure.legend(labels.values(), labels, loc="outside upper center", ncols=len(labels))
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # computes the positions of what is drawn so far
    for axes, panel in panels:
        _names(figure, axes, panel)


def _axes(axes: Any, panel: Panel) -> None:
    for collapsed, label in ((False, "model"), (True, "collapsed to one answer")):
        shown = [one for one in panel.points if one.collapsed == collapsed]
        if shown:
            _marks(axes, shown, label, fill="none" if collapsed else MODEL)
    if best := front(panel.points, more=panel.more):
        line = ([one.cost for one in best], [one.value for one in best])
        axes.plot(*line, color=BASELINE, lw=1.2, label="Pareto front", zorder=1)
    axes.set_xscale("log")
    costs = [one.cost for one in panel.points]
    near = max(costs) < NARROW * min(costs)  # then marks of a logarithmic scale would be too few
    axes.xaxis.set_major_locator(MaxNLocator(5) if near else LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel("accuracy")
    axes.grid(color=GRID, alpha=0.2, lw=0.5)
    axes.margins(x=0.22, y=0.08)


def _marks(axes: Any, points: Sequence[Point], label: str, fill: str) -> None:
    below = [one.value - one.low for one in points]
    above = [one.high - one.value for one in points]
    axes.errorbar(
        [one.cost for one in points], [one.value for one in points], yerr=[below, above], fmt="o",
        ms=5, color=MODEL, mfc=fill, ecolor=GRID, elinewidth=0.8, capsize=2, label=label,
    )  # fmt: skip


def _names(figure: Any, axes: Any, panel: Panel) -> None:
    """Place each label where it covers no marker, no label and little else."""
    points, lines = panel.points, _lines(axes, panel)
    renderer = figure.canvas.get_renderer()
    per_point = figure.dpi / 72
    marks = [axes.transData.transform((one.cost, one.value)) for one in points]
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in marks]
    frame = axes.get_window_extent(renderer)
    for at in sorted(range(len(points)), key=lambda at: -marks[at][1]):
        text = axes.annotate(
            points[at].name, (points[at].cost, points[at].value), (0, 0),
            textcoords="offset points", fontsize=8, va="center",
        )  # fmt: skip
        size = text.get_window_extent(renderer)
        foreign = [one for one in marks if abs(one[0] - marks[at][0]) > 3 * per_point]
        boxes = [_box(marks[at], place, size, per_point) for place in _PLACES]
        costs = [
            4 * sum(box.overlaps(other) for other in taken)
            + sum(any(box.overlaps(part) for part in line) for line in lines)
            + 3 * sum(_near(box, other, FOREIGN * per_point) for other in foreign)
            + 8 * (not (frame.x0 < box.x0 and box.x1 < frame.x1))
            + 8 * (not (frame.y0 < box.y0 and box.y1 < frame.y1))
            for box in boxes
        ]
        best = costs.index(min(costs))
        x, y, side = _PLACES[best]
        text.set_position((x, y))
        text.set_horizontalalignment(side)
        if abs(y) > NEAR:
            _join(axes, points[at], (x, y))
        taken.append(boxes[best].padded(4, 0))  # names beside each other stay apart


def _near(box: Bbox, mark: Any, distance: float) -> bool:
    """Whether a marker lies within a distance of a box, in pixels."""
    x = max(box.x0 - mark[0], mark[0] - box.x1, 0)
    y = max(box.y0 - mark[1], mark[1] - box.y1, 0)
    return bool(x * x + y * y < distance * distance)


def _lines(axes: Any, panel: Panel) -> list[list[Bbox]]:
    """Return the intervals and the parts of the front, each as boxes along it, in pixels."""
    best = front(panel.points, more=panel.more)
    ends = [((one.cost, one.low), (one.cost, one.high)) for one in panel.points]
    ends += [((a.cost, a.value), (b.cost, b.value)) for a, b in pairwise(best)]
    found = []
    for start, end in ends:
        (x0, y0), (x1, y1) = axes.transData.transform((start, end))
        steps = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / 4))
        places = [
            (x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps) for n in range(steps + 1)
        ]
        found.append([Bbox.from_extents(x - 2, y - 2, x + 2, y + 2) for x, y in places])
    return found


def _join(axes: Any, point: Point, place: tuple[int, int]) -> None:
    """Draw a thin line from a label to its marker."""
    axes.annotate(
        "", (point.cost, point.value), place, textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.6, "shrinkA": 0, "shrinkB": 3},
    )  # fmt: skip


def _box(mark: Any, place: tuple[int, int, str], size: Bbox, per_point: float) -> Bbox:
    """Return the bounding box of a label at a candidate position, in pixels."""
    x, y, side = place
    left = mark[0] + x * per_point - (size.width if side == "right" else 0)
    middle = mark[1] + y * per_point
    return Bbox.from_extents(
        left, middle - size.height / 2, left + size.width, middle + size.height / 2
    )
