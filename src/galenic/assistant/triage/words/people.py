"""Extract the ages of people from tokens."""

from __future__ import annotations

from collections.abc import Sequence

from galenic.assistant.triage.words.wording import word_set

__all__ = ["ages_in_months"]

_DAYS = word_set("day days")
_WEEKS = word_set("week weeks wk wks weeek weeks")
_MONTHS = word_set("month months mth mths mo mos mnth mnths")
_YEARS = word_set("year years yr yrs y")
_CHILD = word_set(
    "baby babys babies son daughter infant newborn grandson granddaughter twin twins shes hes "
    "toddler kid child boy girl"
)
_LESS = word_set("under than nearly almost below")
_OF_THINGS = word_set(
    "cough rash wound injury cut scar bruise burn tattoo problem fracture pain piercing"
)
_OTHER_UNITS = word_set(
    "weeks week wks days day months month hours hour minutes mins kg kgs lb lbs pounds stone kilos "
    "percent cm feet ft inches in times st nd rd th am pm mg ml"
)
_SEX = word_set("f m female male man woman lady")
_NO_AGE = word_set("temp temperature fever grade stage")
_ELDEST = 120


def ages_in_months(tokens: Sequence[str]) -> list[tuple[int, float]]:
    """Return the ages that tokens state, as pairs of token index and age in months.

    ``["my", "son", "is", "3", "years", "old"]`` gives ``[(3, 36.0)]``.
    """
    found = []
    for at, token in enumerate(tokens):
        if not token[0].isdecimal():
            continue
        try:
            number = float(token)
        except ValueError:  # digits that float does not parse, such as "²"
            continue
        months = _age(number, tokens[max(0, at - 4) : at], tokens[at + 1 : at + 7])
        if months is not None and 0 <= months <= 12 * _ELDEST:
            under = at > 0 and tokens[at - 1] in _LESS
            found.append((at, max(0.0, months - 0.1) if under else months))
    return found


def _age(number: float, before: Sequence[str], after: Sequence[str]) -> float | None:
    if list(after[:3]) == ["and", "a", "half"]:
        number, after = number + 0.5, after[3:]
    unit, rest = (after[0] if after else ""), list(after[1:])
    per = _months(unit)
    last = before[-1] if before else ""
    if per is not None and rest[:1] in (["old"], ["olds"], ["o"]):
        return None if set(rest[1:2]) & _OF_THINGS else number * per
    if (
        per is not None
        and per < 12
        and last in ("is", "was", "s", *_CHILD)
        and set(before) & _CHILD
    ):
        return (
            None
            if set(rest[:1]) & {"pregnant", "late", "ago", "early", "premature"}
            else number * per
        )
    if unit == "yo" or (unit in _SEX and number in range(1, 100) and not set(before) & _NO_AGE):
        return number * 12
    if last in ("age", "aged") or before[-2:] == ["age", "of"]:
        return number * (per or 12)
    if last in ("im", "hes", "shes") or list(before[-2:]) in (
        ["i", "am"],
        ["she", "is"],
        ["he", "is"],
    ):
        return number * 12 if unit not in _OTHER_UNITS and (unit in _YEARS or per is None) else None
    return None


def _months(unit: str) -> float | None:
    for units, months in (
        (_DAYS, 12 / 365.25),
        (_WEEKS, 84 / 365.25),
        (_MONTHS, 1.0),
        (_YEARS, 12.0),
    ):
        if unit in units:
            return months
    return None
