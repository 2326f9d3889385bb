"""Accuracy over a cost, and which models no other beats in both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from galenic.reports.plots import BASELINE, GRID, MODEL, new_figure

__all__ = ["Panel", "Point", "front", "pareto_picture", "pareto_plot"]

_PLACES = [
    (x, y, side)
    for y in (0, 9, -9, 18, -18, 27, -27, 36, -36)
    for x, side in ((6, "left"), (-6, "right"))
]
"""Where a name may stand, in points from its mark, best first."""
NEAR = 10
"""Points: a name that stands further above or below is joined to its mark by a line."""


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        name: beside the mark.
        cost: size, time or speed.
        value: accuracy.
        low, high: its interval.
        collapsed: nearly all answers are the same, so the accuracy says nothing.
    """

    name: str
    cost: float
    value: float
    low: float
    high: float
    collapsed: bool = False


def front(points: Sequence[Point], *, more: bool) -> list[Point]:
    """The models that no other beats in cost and accuracy, in order of cost; none that collapsed.

    Args:
        points: all models.
        more: whether more of the cost is better, as of tokens a second.
    """
    order = sorted(points, key=lambda one: (-one.cost if more else one.cost, -one.value))
    best: list[Point] = []
    for one in order:
        if not one.collapsed and (not best or one.value > best[-1].value):
            best.append(one)
    return best


@dataclass(frozen=True)
class Panel:
    """What one plot shows.

    Attributes:
        title: benchmark and scoring.
        points: all models.
        x_label: of the cost.
        more: as for `front`.
    """

    title: str
    points: Sequence[Point]
    x_label: str
    more: bool = False


def pareto_plot(panel: Panel) -> str:
    """Draw accuracy over a cost; a line joins the `front`, hollow marks have collapsed."""
    with new_figure((6.4, 4.0), layout="constrained") as (figure, done):
        _draw(figure, [(figure.add_subplot(), panel)])
        spoken = "; ".join(
            f"{one.name} {one.cost:g}, {one.value:.3f}{' collapsed' * one.collapsed}"
            for one in panel.points
        )
        return done(f"{panel.title}: {spoken}")


def pareto_picture(panels: Sequence[Panel]) -> bytes:
    """Draw several side by side, as a PNG for places that show no page."""
    with new_figure((5.4 * len(panels), 4.2), layout="constrained") as (figure, _):
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for one, panel in zip(axes, panels, strict=True):
            one.set_title(panel.title)
        _draw(figure, list(zip(axes, panels, strict=True)))
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
    figure.draw_without_rendering()  # places what is there so far
    for axes, panel in panels:
        _names(figure, axes, panel.points)


def _axes(axes: Any, panel: Panel) -> None:
    for collapsed, label in ((False, "answers"), (True, "collapsed to one answer")):
        shown = [one for one in panel.points if one.collapsed == collapsed]
        if shown:
            _marks(axes, shown, label, fill="none" if collapsed else MODEL)
    if best := front(panel.points, more=panel.more):
        line = ([one.cost for one in best], [one.value for one in best])
        axes.plot(*line, color=BASELINE, lw=1.2, label="not beaten in both", zorder=1)
    axes.set_xscale("log")
    for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", which="both", labelrotation=45)
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


def _names(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Write each name where it covers no mark and no other name, as far as there is room."""
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
        boxes = [_box(marks[at], place, size, per_point) for place in _PLACES]
        costs = [
            sum(box.overlaps(other) for other in taken)
            + 2 * (box.x1 > frame.x1 or box.x0 < frame.x0)
            for box in boxes
        ]
        best = costs.index(min(costs))
        x, y, side = _PLACES[best]
        text.set_position((x, y))
        text.set_horizontalalignment(side)
        if abs(y) > NEAR:
            _join(axes, points[at], (x, y))
        taken.append(boxes[best])


def _join(axes: Any, point: Point, place: tuple[int, int]) -> None:
    """A thin line from a name to its mark, so that they stay together."""
    axes.annotate(
        "", (point.cost, point.value), place, textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.6, "shrinkA": 0, "shrinkB": 3},
    )  # fmt: skip


def _box(mark: Any, place: tuple[int, int, str], size: Bbox, per_point: float) -> Bbox:
    """Where a text of a size would stand, in pixels."""
    x, y, side = place
    left = mark[0] + x * per_point - (size.width if side == "right" else 0)
    middle = mark[1] + y * per_point
    return Bbox.from_extents(
        left, middle - size.height / 2, left + size.width, middle + size.height / 2
    )
