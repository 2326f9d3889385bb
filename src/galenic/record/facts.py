"""Facts about a person, derived from the fields of a health record.

The state of a fact comes from status fields, its traits from names and codes. Denials are facts as
well: "no penicillin allergy", "does not take aspirin".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from galenic.record.fields import Fields, as_date
from galenic.record.status import State
from galenic.record.traits import is_past, traits, traits_of

__all__ = ["Fact", "Kind", "settle", "with_traits"]

Kind = Literal["person", "condition", "allergy", "medicine", "procedure", "value"]
"""What a fact is about."""
PREGNANT_DAYS = 315
"""Maximum length of a pregnancy in days (45 weeks); an older entry no longer counts."""
TERM_DAYS = 280
"""Days from the last menstrual period to the due date."""
LATE_DAYS = 21
"""Days after the due date from which a pregnancy counts as over."""
NONE_KNOWN = frozenset(
    {"716186003", "409137002", "429625007", "428607008", "428197003", "no-known-allergies"}
)
"""SNOMED CT codes for no known allergy: general, to drugs, foods, the environment, latex,
insects.
"""


@dataclass(frozen=True)
class Fact:
    """A statement of a health record about the person.

    Attributes:
        kind: What it is about.
        name: Name of the condition, substance or procedure in the record.
        state: Whether it holds, from status fields; see `galenic.record.status`.
        traits: Traits that it implies, as keys of ``traits.yaml``; empty if it no longer applies.
        since: First day as in the record (``2020``, ``2020-03`` or ``2020-03-04``); empty if
            unknown.
        until: Last day, in the same form; empty if unknown.
        detail: Further details in words: reactions, stage, weeks of pregnancy, age.
        names: All names that the record uses for it.
        months: Age in months, for the kind ``person``; two values if the birth date is imprecise.
    """

    kind: Kind
    name: str
    state: State = "holds"
    traits: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    detail: str = ""
    names: tuple[str, ...] = ()
    months: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """Return a description for the reader, such as "allergy to Penicillin (hives)"."""
        more = f" ({self.detail})" if self.detail else ""
        if self.kind == "allergy":
            what = "no known allergies" if not self.name else f"{self.name}: no allergy"
            return what if self.state == "denied" else f"allergy to {self.name}{more}"
        if self.kind == "medicine" and self.state == "denied":
            return f"{self.detail or 'does not take'}: {self.name}"
        if self.state == "denied":
            return f"not so: {self.name}"
        return f"{self.name}{more}"


def with_traits(fact: Fact, kind: str, codes: Iterable[tuple[str, str]], today: date) -> Fact:
    """Return a fact with the traits that it implies.

    Traits are omitted if the fact is denied or too old. A pregnancy that ended recently implies
    ``postpartum``.

    Args:
        fact: The fact.
        kind: FHIR resource type that it comes from.
        codes: Pairs of a coding system and a code.
        today: The current date.
    """
    if fact.state not in ("holds", "over"):
        return fact
    found = traits_of(kind, fact.names or (fact.name,), list(codes))
    kept = [name for name in found if _counts(fact, name, today)]
    ended = as_date(fact.until, last=True)
    after = fact.state == "over" and ended is not None and "pregnancy" in found
    if after and 0 <= (today - (ended or today)).days <= (traits()["postpartum"].days or 0):
        kept.append("postpartum")
    return replace(fact, traits=tuple(dict.fromkeys(kept)))


def _counts(fact: Fact, name: str, today: date) -> bool:
    """Check whether a trait of a fact still applies today."""
    trait = traits()[name]
    if trait.lasting:
        return True
    if fact.state == "over" or is_past(fact.name):
        return False
    began = as_date(fact.until or fact.since, last=True)
    ongoing = fact.kind == "medicine"
    return trait.days is None or ongoing or began is None or (today - began).days <= trait.days


def settle(facts: Iterable[Fact], resources: Iterable[Fields], today: date) -> tuple[Fact, ...]:
    """Reconcile facts with observations of pregnancy and kidney function.

    A "not pregnant" or an exceeded due date removes the trait ``pregnancy``; weeks of pregnancy and
    reduced kidney function (eGFR) are added.

    Args:
        facts: Facts of the individual resources.
        resources: All resources that were not entered in error.
        today: The current date.
    """
    found = list(facts)
    seen = list(resources)
    begun, said = _begun(seen), _pregnant(seen)
    days = (today - begun).days if begun else -1
    if begun and days > TERM_DAYS + LATE_DAYS:
        born = begun + timedelta(days=TERM_DAYS + LATE_DAYS)
        found = [_without(one, "pregnancy", born.isoformat()) for one in found]
    if said is not None and not said[1]:  # "not pregnant" ends pregnancies that began before it
        found = [_without(one, "pregnancy", said[0]) for one in found]
    is_so = said is not None and said[1] and _recent(said[0], today)
    weeks = days // 7 if 0 <= days <= TERM_DAYS + LATE_DAYS else None
    has = any("pregnancy" in one.traits for one in found)
    if not has and (is_so or (weeks is not None and (said is None or said[1]))):
        found.append(Fact("condition", "Pregnancy", traits=("pregnancy",), names=("pregnant",)))
    if weeks is not None:
        text = f"{weeks} weeks"
        found = [replace(f, detail=text) if "pregnancy" in f.traits else f for f in found]
    if kidney := _kidney(seen):
        found.append(kidney)
    return tuple(found)


def _without(fact: Fact, trait: str, day: str) -> Fact:
    """Return a fact without a trait, unless the fact begins after the given day."""
    later = fact.since > day
    return fact if later else replace(fact, traits=tuple(t for t in fact.traits if t != trait))


def _recent(day: str, today: date) -> bool:
    """Check whether a day is at most `PREGNANT_DAYS` ago, or unknown."""
    found = as_date(day, last=True)
    return found is None or (today - found).days <= PREGNANT_DAYS


_GESTATION = {"18185-9", "11884-4", "11885-1", "49051-6", "11887-7"}
"""LOINC codes of observations of gestational age."""
_DUE = {"11778-8", "11779-6", "11780-4"}
"""LOINC codes of the estimated delivery date."""
_PERIOD = {"8665-2"}
"""LOINC code of the last menstrual period."""
_STATUS = {"82810-3"}
"""LOINC code of the pregnancy status."""
_EGFR = {
    "33914-3", "48642-3", "48643-1", "50044-7", "50210-4", "50384-7", "62238-1", "69405-9",
    "70969-1", "77147-7", "88293-6", "88294-4", "94677-2", "98979-8", "98980-6", "102097-3",
}  # fmt: skip
"""LOINC codes of the estimated glomerular filtration rate."""
_FIRST_DAYS = (
    (_DUE, "delivery date estimated", TERM_DAYS),
    (_PERIOD, "last menstrual period", 0),
)
"""Observations of a date from which the start of a pregnancy follows: their codes, a name, and the
number of days from the start to that date.
"""


def _observed(resources: Iterable[Fields], codes: set[str], *words: str) -> list[Fields]:
    """Return the observations that have one of the codes or names, oldest first."""
    found = [
        one
        for one in resources
        if one.text("resourceType") == "Observation"
        and (
            any(code in codes for _, code in one.codes("code"))
            or any(word in name.lower() for name in one.names("code") for word in words)
        )
    ]
    return sorted(found, key=_day)


def _day(resource: Fields) -> str:
    """Return the date of an observation."""
    return resource.day("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued")


def _begun(seen: list[Fields]) -> date | None:
    """Return the day from which weeks of pregnancy are counted, by the latest observation."""
    begun: list[tuple[str, date]] = []
    for one in _observed(seen, _GESTATION, "gestational age"):
        value, day = one.number("valueQuantity", "value"), as_date(_day(one))
        unit = one.text("valueQuantity", "unit") + one.text("valueQuantity", "code")
        if value is not None and day is not None and 0 <= value < 320:
            days = value if unit.lower().startswith("d") else value * 7
            begun.append((_day(one), day - timedelta(days=days)))
    for codes, word, before in _FIRST_DAYS:
        for one in _observed(seen, codes, word):
            if day := as_date(one.value()):
                begun.append((_day(one), day - timedelta(days=before)))
    return max(begun)[1] if begun else None


def _pregnant(seen: list[Fields]) -> tuple[str, bool] | None:
    """Return the date and value of the latest pregnancy status; None if there is none."""
    for one in reversed(_observed(seen, _STATUS, "pregnancy status")):
        codes = {code for _, code in one.codes("valueCodeableConcept")}
        said = one.value().lower()
        if "60001007" in codes or said.startswith(("not", "no", "negative")):
            return _day(one), False
        if "77386006" in codes or said.startswith(("pregnan", "yes", "positive")):
            return _day(one), True
    return None


def _kidney(seen: list[Fields]) -> Fact | None:
    """Return a fact of kidney disease with its KDIGO 2012 stage if the latest eGFR is below 60.

    The unit is mL/min/1.73 m².
    """
    measured = [
        (one, value)
        for one in _observed(seen, _EGFR, "egfr", "glomerular filtration")
        if (value := one.number("valueQuantity", "value")) is not None
    ]
    if not measured or measured[-1][1] >= 60:
        return None
    one, value = measured[-1]
    stage = next(name for limit, name in _STAGES if value >= limit)
    detail = ", ".join(part for part in (f"stage {stage}", f"eGFR {value:g}", _day(one)) if part)
    return Fact(
        "value", "reduced kidney function", traits=("kidney-disease",), since=_day(one),
        detail=detail, names=("kidney disease",),
    )  # fmt: skip


_STAGES = ((45, "3a"), (30, "3b"), (15, "4"), (float("-inf"), "5"))
"""Lower limits of the eGFR in mL/min/1.73 m² and the names of the KDIGO stages."""
