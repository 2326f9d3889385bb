"""What the looks at the held-out split say: which is the best, and whether to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.training.validation import Look

__all__ = ["Patience", "Verdict", "best_of", "judge"]


@dataclass(frozen=True)
class Patience:
    """When to stop early.

    Attributes:
        looks: after so many looks in a row that are no better than an earlier one.
        collapses: after so many in a row whose predictions have collapsed.
        rise: looks up to this step do not count as collapsed: little was learnt before.
        unit: what steps are called: "step" or "round".
    """

    looks: int
    collapses: int
    rise: int = 0
    unit: str = "step"


@dataclass(frozen=True)
class Verdict:
    """Why to stop, for people, empty for no reason; and whether that is a collapse."""

    reason: str = ""
    collapsed: bool = False


def best_of(looks: Sequence[Look]) -> Look:
    """The look whose weights are kept, the earliest of equals.

    The lowest loss counts; but a look without collapse goes before those with one, as long as its
    loss is not above that of the first look, when nothing had been learnt.

    Args:
        looks: at least one, in their order.
    """

    def rank(look: Look) -> tuple[bool, float]:
        return bool(look.collapsed()) or look.judged > looks[0].judged, look.judged

    return min(looks, key=rank)


def judge(looks: Sequence[Look], patience: Patience) -> Verdict:
    """Whether to stop after the last of these looks, of which there is at least one."""
    best, last = best_of(looks), looks[-1]
    collapses = _trailing([look.step > patience.rise and bool(look.collapsed()) for look in looks])
    if collapses >= patience.collapses:
        listed = ", ".join(f"{group}: {label!r}" for group, label in last.collapsed().items())
        return Verdict(
            f"predictions have collapsed to one answer ({listed}) for {collapses} "
            f"{_plural(patience)} in a row. Lower --learning-rate, mix in other data, or balance "
            "the answers",
            collapsed=True,
        )
    since = len(looks) - 1 - looks.index(best)
    if since >= patience.looks:
        return Verdict(
            f"nothing was better than {patience.unit} {best.step} (held-out loss "
            f"{best.loss:.4f}) for {since} {_plural(patience)} in a row"
        )
    return Verdict()


def _plural(patience: Patience) -> str:
    return "rounds" if patience.unit == "round" else "looks"


def _trailing(flags: Sequence[bool]) -> int:
    return next((n for n, flag in enumerate(reversed(flags)) if not flag), len(flags))
