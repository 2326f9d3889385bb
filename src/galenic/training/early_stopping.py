"""What the validations on the held-out split say: which is the best, and whether to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.training.validation import Validation

__all__ = ["Decision", "Patience", "best_of", "judge"]


@dataclass(frozen=True)
class Patience:
    """When to stop early.

    Attributes:
        validations: after so many validations in a row that are no better than an earlier one.
        collapses: after so many in a row whose predictions have collapsed.
        rise: validations up to this step do not count as collapsed: little was learnt before.
        unit: what steps are called: "step" or "round".
    """

    validations: int
    collapses: int
    rise: int = 0
    unit: str = "step"


@dataclass(frozen=True)
class Decision:
    """Why to stop, for people, empty for no reason; and whether that is a collapse."""

    reason: str = ""
    collapsed: bool = False


def best_of(validations: Sequence[Validation]) -> Validation:
    """The validation whose weights are kept, the earliest of equals.

    The lowest loss counts; but a validation without collapse goes before those with one, as long as
    its loss is not above that of the first validation, when nothing had been learnt.

    Args:
        validations: at least one, in their order.
    """

    def rank(validation: Validation) -> tuple[bool, float]:
        return bool(validation.collapsed()) or validation.judged > validations[
            0
        ].judged, validation.judged

    return min(validations, key=rank)


def judge(validations: Sequence[Validation], patience: Patience) -> Decision:
    """Whether to stop after the last of these validations, of which there is at least one."""
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
