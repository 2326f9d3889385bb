"""Derive from the status fields of a FHIR resource whether what it says holds.

Only coded fields are used. Words in a name or narrative ("Extended Release", "not in remission")
have no influence here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Literal

from galenic.record.fields import Fields, as_date

__all__ = ["STATES", "State", "state_of"]

State = Literal["holds", "over", "planned", "denied", "wrong"]
"""Whether what a resource says holds at present.

``denied``: the record says that it is not so (refuted, not taken, not to be given, not done).
``wrong``: entered in error or cancelled, so that it says nothing.
"""

_NOT_DONE = ("not-done", "not-taken")
_WRONG = ("entered-in-error",)
GIVEN_DAYS = 90
"""Days for which a medicine that was dispensed or administered counts as taken."""


def state_of(resource: Fields, today: date) -> State:
    """Return the state of a resource, by the fields of its type.

    A Condition with ``clinicalStatus`` "resolved" is ``over``.

    Args:
        resource: A FHIR resource.
        today: The current date.
    """
    return STATES.get(resource.text("resourceType"), _event)(resource, today)


def _condition(resource: Fields, today: date) -> State:
    """Return the state of a Condition."""
    verified = resource.status("verificationStatus")
    if verified in _WRONG:
        return "wrong"
    if verified == "refuted":
        return "denied"
    clinical = resource.status("clinicalStatus")
    if clinical in ("inactive", "resolved", "remission"):
        return "over"
    if clinical in ("active", "recurrence", "relapse"):
        return "holds"
    return "over" if _abated(resource, today) else "holds"


def _abated(resource: Fields, today: date) -> bool:
    """Check whether a condition has ended; an end in the future does not count."""
    end = resource.end("abatementDateTime", "abatementPeriod")
    if end:
        return (as_date(end) or today) <= today
    if resource.has("abatementPeriod") or resource.content.get("abatementBoolean") is False:
        return False
    return resource.has("abatementAge", "abatementRange", "abatementString", "abatementBoolean")


def _allergy(resource: Fields, _: date) -> State:
    """Return the state of an AllergyIntolerance."""
    verified = resource.status("verificationStatus")
    if verified in _WRONG or resource.status("status") in _WRONG:
        return "wrong"
    if verified == "refuted" or resource.status("status") == "refuted":
        return "denied"
    over = resource.status("clinicalStatus") in ("inactive", "resolved")
    return "over" if over else "holds"


def _request(resource: Fields, today: date) -> State:
    """Return the state of a MedicationRequest, which may be a prohibition (``doNotPerform``)."""
    status, intent = resource.status("status"), resource.status("intent")
    if status in _WRONG:
        return "wrong"
    if resource.is_true("doNotPerform"):
        return "over" if status in ("stopped", "cancelled", "completed") else "denied"
    if status in ("stopped", "completed", "ended"):
        return "over"
    if status in ("cancelled", "draft") or intent in ("proposal", "option"):
        return "planned"
    ends = [dose.part("timing").part("repeat").end("boundsPeriod")
            for dose in resource.parts("dosageInstruction")]  # fmt: skip
    return "over" if ends and all(_past(end, today) for end in ends) else "holds"


def _statement(resource: Fields, today: date) -> State:
    """Return the state of a MedicationStatement: what the person reportedly takes."""
    status = resource.status("status")
    if status in _WRONG:
        return "wrong"
    if status in _NOT_DONE or resource.text("taken") in ("n", "no"):
        return "denied"
    if resource.part("adherence").status("code") == "not-taking":
        return "denied"
    if status in ("stopped", "completed") and not _ends_later(resource, today):
        return "over"
    if status in ("intended", "draft"):
        return "planned"
    return "over" if _past(resource.text("effectivePeriod", "end"), today) else "holds"


def _given(resource: Fields, today: date) -> State:
    """Return the state of a dispensed or administered medicine; it counts for some time."""
    status = resource.status("status")
    if status in _WRONG:
        return "wrong"
    if status in (*_NOT_DONE, "declined"):
        return "denied"
    if status in ("cancelled", "preparation", "in-preparation"):
        return "planned"
    when = resource.end(
        "whenHandedOver", "whenPrepared", "effectiveDateTime", "effectivePeriod",
        "occurenceDateTime",
    )  # fmt: skip
    days = max(resource.number("daysSupply", "value") or 0, GIVEN_DAYS)
    day = as_date(when, last=True)
    return "over" if status == "stopped" or (day and (today - day).days > days) else "holds"


def _event(resource: Fields, _: date) -> State:
    """Return the state of anything done or found: observations, procedures, vaccines, reports."""
    status = resource.status("status")
    if status in (*_WRONG, "cancelled"):
        return "wrong"
    if status in _NOT_DONE or resource.content.get("notGiven") is True:
        return "denied"
    return "planned" if status in ("preparation", "planned") else "holds"


def _past(day: str, today: date) -> bool:
    """Check whether a day is in the past."""
    found = as_date(day, last=True)
    return found is not None and found < today


def _ends_later(resource: Fields, today: date) -> bool:
    """Check whether the effective period of a resource ends in the future."""
    end = as_date(resource.text("effectivePeriod", "end"))
    return end is not None and end > today


STATES: Mapping[str, Callable[[Fields, date], State]] = {
    "Condition": _condition,
    "AllergyIntolerance": _allergy,
    "MedicationRequest": _request,
    "MedicationStatement": _statement,
    "MedicationDispense": _given,
    "MedicationAdministration": _given,
}
"""Function for the state by resource type; `_event` handles all other types."""
