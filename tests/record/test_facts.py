"""Facts of a record follow its status fields, and never the words of its names or narrative."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.assistant.handbook.interactions import warnings
from galenic.assistant.triage.known import CONCEPTS
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.record.against import said_against
from galenic.record.traits import traits
from record.resources import allergy, condition, facts_of, order, person, statement

FEVER = "I have a fever of 38.6 since yesterday"

HOLDING = ["active", "recurrence", "relapse"]
OVER = ["inactive", "remission", "resolved"]
PROSE = [
    "ended", "resolved", "inactive", "in remission", "refuted", "entered-in-error", "not taken",
    "stopped", "no longer", "Extended Release", "not in remission", "unresolved", "suspended",
    "amended", "active", "confirmed", "ongoing", "current",
]  # fmt: skip
"""Words that say a status, and words that hold one."""

narratives = st.fixed_dictionaries(
    {
        "status": st.just("generated"),
        "div": st.sampled_from(PROSE).map("<div>It is {}</div>".format),
    }
)
after = st.sampled_from(PROSE)


def holds(resource: dict[str, Any]) -> set[str]:
    return {trait for fact in facts_of(resource) for trait in fact.traits}


@settings(max_examples=60, deadline=None)
@given(after, narratives, st.sampled_from(HOLDING), st.sampled_from(["confirmed", "provisional"]))
def test_a_condition_holds_by_its_fields(words: str, text: Any, status: str, sure: str) -> None:
    for name in (f"Acute leukemia, {words}", f"{words} acute leukemia"):
        notes = [{"text": f"This is {words}."}]
        one = condition(name, status, sure, text=text, note=notes)
        assert "immunosuppressed" in holds(one)


@settings(max_examples=60, deadline=None)
@given(after, narratives, st.sampled_from(OVER))
def test_a_condition_is_over_by_its_fields(words: str, text: Any, status: str) -> None:
    name = f"Acute leukemia, {words}"
    assert holds(condition(name, status, text=text)) == set()
    for verified in ("refuted", "entered-in-error"):
        assert holds(condition(name, "active", verified, text=text)) == set()


@settings(max_examples=60, deadline=None)
@given(after, narratives)
def test_a_medicine_is_taken_by_its_fields(words: str, text: Any) -> None:
    name = f"Tacrolimus {words} capsule"
    for status in ("active", "on-hold", "unknown"):
        assert "immune-medicine" in holds(order(name, status, text=text))
    for one in (
        order(name, "stopped"),
        order(name, "cancelled"),
        order(name, "entered-in-error"),
        order(name, doNotPerform=True),
        order(name, intent="proposal"),
        statement(name, "not-taken"),
        statement(name, "intended"),
        statement(name, effectivePeriod={"start": "2020-01-01", "end": "2020-02-01"}),
    ):
        assert holds({**one, "text": text}) == set(), one


@pytest.mark.parametrize(
    ("abated", "over"),
    [
        ({"abatementDateTime": "2020-01-01"}, True),
        ({"abatementPeriod": {"start": "2019-01-01", "end": "2020"}}, True),
        ({"abatementString": "as a child"}, True),
        ({"abatementAge": {"value": 12, "unit": "a"}}, True),
        ({"abatementBoolean": True}, True),
        ({"abatementBoolean": False}, False),
        ({"abatementDateTime": "2027-01-01"}, False),
        ({}, False),
    ],
)
def test_without_a_status_an_end_decides(abated: dict[str, Any], over: bool) -> None:
    one = {"resourceType": "Condition", "code": {"text": "HIV infection"}, **abated}
    assert holds(one) == (set() if over else {"immunosuppressed"})


def test_active_and_ended_is_taken_as_active_and_said() -> None:
    who = person(condition("HIV infection", abatementDateTime="2020-01-01"))
    assert who.facts[0].traits == ("immunosuppressed",)
    assert any("both active and ended" in note for note in who.notes)


@pytest.mark.parametrize(
    ("resource", "trait"),
    [
        (condition("Unintended pregnancy"), "pregnancy"),
        (condition("Pregnancy", recordedDate="2024-01-01"), None),
        (condition("Not pregnant"), None),
        (condition("Normal pregnancy", "resolved", abatementDateTime="2026-11-01"), "postpartum"),
        (condition("Normal pregnancy", "resolved", abatementDateTime="2026-01-01"), None),
        (condition("Chronic kidney disease stage 3"), "kidney-disease"),
        (condition("Prediabetes"), None),
        (condition("Diabetes insipidus"), None),
        (condition("Family history of diabetes mellitus"), None),
        (condition("Hives"), None),
        (condition("History of breast cancer"), None),
        (condition("Congestive heart failure"), "heart-failure"),
        (condition("x", code={"coding": [{"system": "http://snomed.info/sct", "code": "84114007"}]}), "heart-failure"),  # noqa: E501
        (condition("x", code={"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E119"}]}), "diabetes"),  # noqa: E501
        (condition("Addison's disease"), "adrenal"),
        (order("Apixaban 5 MG Oral Tablet [Eliquis]"), "anticoagulant"),
        (order("Phenelzine 15 mg"), "maoi"),
        (order("NovoRapid FlexPen"), "insulin"),
        (order("FOLFOX"), "cancer-therapy"),
        (order("Tacrolimus 0.1% ointment"), None),
        (order("x", medicationCodeableConcept={"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AD02"}]}), "immune-medicine"),  # noqa: E501
        ({"resourceType": "Procedure", "status": "completed", "code": {"text": "Total hip replacement"}, "performedDateTime": "2026-11-01"}, "surgery"),  # noqa: E501
        ({"resourceType": "Procedure", "status": "completed", "code": {"text": "Total hip replacement"}, "performedDateTime": "2019-11-01"}, None),  # noqa: E501
        ({"resourceType": "Procedure", "status": "not-done", "code": {"text": "Kidney transplant"}}, None),  # noqa: E501
        ({"resourceType": "Procedure", "status": "completed", "code": {"text": "Kidney transplant"}, "performedDateTime": "2009"}, "immune-lasting"),  # noqa: E501
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)  # fmt: skip
def test_traits(resource: dict[str, Any], trait: str | None) -> None:
    found = holds(resource)
    assert trait in found if trait else not found


def test_every_trait_for_triage_is_known_and_its_concept_too() -> None:
    assert set(CONCEPTS) - {"male"} <= set(traits())
    concepts = {name for names in CONCEPTS.values() for name in names}
    ready = prepared()
    assert concepts <= set(ready.rules.concepts)
    for rule in ready.rules.rules:  # what a record says alone makes no rule fire
        assert not {*rule.all_of, *rule.any_of} <= concepts, rule.id


def observation(loinc: str, day: str, **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "effectiveDateTime": day,
        **value,
    }


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": unit}}


def test_weeks_of_pregnancy_are_counted_to_today() -> None:
    pregnant = condition("Pregnancy")
    measured = observation("18185-9", "2026-10-28", **quantity(24, "wk"))  # four weeks ago
    due = observation("11778-8", "2026-10-01", valueDateTime="2027-02-17")  # 12 weeks to go
    for found in (facts_of(pregnant, measured), facts_of(measured), facts_of(due)):
        [fact] = [one for one in found if "pregnancy" in one.traits]
        assert fact.detail == "28 weeks"
    status = {"valueCodeableConcept": {"coding": [{"code": "60001007"}], "text": "Not pregnant"}}
    assert holds(observation("82810-3", "2026-11-01", **status)) == set()
    ended = facts_of(pregnant, observation("82810-3", "2026-11-01", **status))
    assert not any(one.traits for one in ended)
    due = observation("11778-8", "2026-01-01", valueDateTime="2026-08-01")
    born = facts_of(condition("Pregnancy", recordedDate="2026-02-01"), due)
    assert not any("pregnancy" in one.traits for one in born)
    again = facts_of(condition("Pregnancy", recordedDate="2026-10-01"), due)
    assert any("pregnancy" in one.traits for one in again)


@pytest.mark.parametrize(
    ("values", "detail"),
    [([90, 44], "stage 3b"), ([29], "stage 4"), ([9], "stage 5"), ([44, 61], None), ([59], "3a")],
)
def test_the_newest_egfr_says_the_stage(values: list[float], detail: str | None) -> None:
    every = [
        observation("33914-3", f"2026-0{at + 1}-01", **quantity(value, "mL/min"))
        for at, value in enumerate(values)
    ]
    found = [one for one in facts_of(*reversed(every)) if one.traits]
    assert [detail in one.detail for one in found] == ([True] if detail else [])
    wrong = [{**one, "status": "entered-in-error"} for one in every]
    assert facts_of(condition("Acne"), *wrong)[0].name == "Acne"
    assert len(facts_of(condition("Acne"), *wrong)) == 1


def test_what_the_record_denies_is_told() -> None:
    who = person(
        allergy("Penicillin", verified="refuted"),
        allergy("Latex", verified="entered-in-error"),
        allergy("Peanut", reaction=[{"manifestation": [{"text": "Hives"}, {"text": "Wheeze"}]}]),
        statement("Aspirin", "not-taken"),
        order("Ibuprofen", doNotPerform=True),
        order("Warfarin"),
    )
    [said, left_out] = who.told()
    assert "Penicillin: no allergy" in said
    assert "Latex" not in said
    assert "allergy to Peanut (Hives, Wheeze)" in said
    assert "does not take: Aspirin" in said
    assert "not to be given: Ibuprofen" in said
    assert "Warfarin: takes a blood thinner" in said
    assert "entered in error" in left_out


@pytest.mark.parametrize("name", ["No known allergies", "NKDA", "No Known Drug Allergies"])
def test_no_known_allergies(name: str) -> None:
    [fact] = facts_of(allergy(name))
    assert (fact.state, fact.text) == ("denied", "no known allergies")


def test_warnings_follow_the_fields() -> None:
    def warned(question: str, *resources: Any) -> bool:
        facts = facts_of(*resources)
        return bool(warnings(question, "", facts) or list(said_against(question, facts)))

    question = "Can I take ibuprofen for my back?"
    assert not warned(question, condition("Acne"))
    assert warned(question, order("Warfarin sodium 5 MG"))
    assert warned(question, condition("Chronic kidney disease"))
    assert warned(question, order("Ibuprofen", doNotPerform=True))
    assert warned(question, allergy("Naproxen"))
    assert not warned(question, order("Warfarin", "stopped"))
    assert not warned(question, statement("Warfarin", "not-taken"))
    assert not warned(question, order("Warfarin", doNotPerform=True))
    assert not warned(question, condition("Chronic kidney disease", verified="refuted"))
    amoxicillin = "Can I take amoxicillin?"
    assert warned(amoxicillin, allergy("Penicillin"))
    assert not warned(amoxicillin, allergy("Penicillin", verified="refuted"))
    assert not warned(amoxicillin, allergy("Penicillin", clinical="resolved"))
    codeine = "Is codeine ok for me?"
    assert warned(codeine, allergy("Codeine phosphate"))
    assert not warned(codeine, allergy("Peanut"))
    assert warned("Can I take sertraline?", order("Phenelzine"))


TEXTS = [
    FEVER, "my knee hurts", "burning when I pee", "pulse 130", "what is a good diet?", "x",
    "calf is swollen and hot", "vomiting since yesterday", "my toddler has a pulse of 130",
]  # fmt: skip
RECORDS = [
    condition("Pregnancy"), condition("Heart failure"), condition("Addison's disease"),
    order("Methotrexate"), order("Warfarin"), order("Insulin"), condition("Breast cancer"),
    {"resourceType": "Patient", "birthDate": "2023-01-01", "gender": "male"},
    {"resourceType": "Patient", "birthDate": "1940"},
    {"resourceType": "Patient", "birthDate": "2018-05-05"},
]  # fmt: skip


def test_a_record_never_lowers_the_tier() -> None:
    alone = {text: triage(text) for text in TEXTS}
    for text, resource in itertools.product(TEXTS, RECORDS):
        with_record = triage(text, facts=facts_of(resource))
        assert rank(with_record.tier) >= rank(alone[text].tier), (text, resource)
        assert {f.id for f in alone[text].findings if f.layer != "classifier"} <= {
            f.id for f in with_record.findings
        }
