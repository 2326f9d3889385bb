"""Early stopping: choose the best validation on the held-out split, and decide when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.training.validation import Validation

__all__ = ["Decision", "Patience", "best_of", "judge"]


@dataclass(frozen=True)
class Patience:
    """When to stop early.

    Attributes:
        validations: stop after this many consecutive validations without improvement.
        collapses: stop after this many consecutive validations with collapsed predictions.
        rise: validations up to this step (the warmup) never count as collapsed.
        unit: what a step is called in messages: "step" or "round".
    """

    validations: int
    collapses: int
    rise: int = 0
    unit: str = "step"


@dataclass(frozen=True)
class Decision:
    """The reason to stop, in words (empty: continue), and whether predictions collapsed."""

    reason: str = ""
    collapsed: bool = False


def best_of(validations: Sequence[Validation]) -> Validation:
    """Return the validation whose weights are kept; the earliest if several are equally good.

    It is the one of lowest criterion (`Validation.judged`) among those that have not collapsed and
    are no worse than the first validation; if there are none, among all.

    Args:
        validations: at least one, in order of time.
    """

    def rank(validation: Validation) -> tuple[bool, float]:
        return bool(validation.collapsed()) or validation.judged > validations[
            0
        ].judged, validation.judged

    return min(validations, key=rank)


def judge(validations: Sequence[Validation], patience: Patience) -> Decision:
    """Decide whether to stop after the last of the given validations (at least one)."""
    best, last = best_of(validations), validations[-1]
    collapses = _trailing(
        [
            validation.step > patience.rise and bool(validation.collapsed())
            for validation in validations
        ]
    )
    if collapses >= patience.collapses:
        listed = ", ".join(f"{group}: {label!r}" for group, label in last.collapsed().items())
        return Decision(
            f"predictions have collapsed to one answer ({listed}) for {collapses} "
            f"{_plural(patience)} in a row. Lower --learning-rate, mix in other data, or balance "
            "the answers",
            collapsed=True,
        )
    since = len(validations) - 1 - validations.index(best)
    if since >= patience.validations:
        return Decision(
            f"nothing was better than {patience.unit} {best.step} (held-out loss "
            f"{best.loss:.4f}) for {since} {_plural(patience)} in a row"
        )
    return Decision()


def _plural(patience: Patience) -> str:
    return "rounds" if patience.unit == "round" else "validations"


def _trailing(flags: Sequence[bool]) -> int:
    return next((n for n, flag in enumerate(reversed(flags)) if not flag), len(flags))
