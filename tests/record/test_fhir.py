"""Records in every form they are exported in, their references, values and lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.record.fhir import HealthRecord, read_record
from galenic.record.fields import Fields
from record.resources import TODAY, allergy, condition, order, person, statement

CASES = Path(__file__).parents[3] / "shared" / "cases" / "11-fhir" / "bundle.json"


def read(*resources: Any, kind: str = "collection") -> HealthRecord:
    entries = [one if "resource" in one else {"resource": one} for one in resources]
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    return read_record(json.dumps(bundle).encode(), "r", TODAY)


def lines(*resources: Any) -> list[str]:
    return [line.text for line in read(*resources).document.lines]


@pytest.mark.skipif(not CASES.is_file(), reason="the shared cases are not here")
def test_the_shared_case() -> None:
    record = read_record(CASES.read_bytes(), "r", TODAY)
    text = "\n".join(line.text for line in record.document.lines)
    for words in ("Latex", "Methotrexate", "13.9"):
        assert words not in text
    assert text.count("Metformin") == 3
    for words in (
        "Hives and Anaphylaxis, severity severe", "Rivaroxaban 20 mg", "Lisinopril", "Warfarin",
        "not to be given: Ibuprofen", "does not take: Aspirin", "10 U once a day", "1:640",
        "70 to 180 mg/dL", "no value (Sample haemolysed)", "Troponin: 0 ng/L",
        "Immunization not done", "Family history, not the person: mother: Breast cancer",
        "Allergy refuted", "Condition refuted",
    ):  # fmt: skip
        assert words in text, words
    assert record.document.notes["medication not named"] == 1
    holding = {one.name for one in record.facts if one.state == "holds"}
    assert not holding & {"Penicillin", "Pulmonary embolism", "Ibuprofen", "Aspirin"}


METFORMIN = {"resourceType": "Medication", "id": "m", "code": {"text": "Metformin"}}


@pytest.mark.parametrize(
    "reference",
    ["Medication/m", "Medication/m/_history/7", "https://x.org/fhir/Medication/m", "urn:uuid:9"],
)
def test_references(reference: str) -> None:
    asked = order("", medicationReference={"reference": reference})
    del asked["medicationCodeableConcept"]
    held = {"fullUrl": "urn:uuid:9", "resource": METFORMIN}
    assert "Metformin" in lines(held, asked)[0]


def test_ingredients_and_contained_resources() -> None:
    parts = {"resourceType": "Medication", "id": "p", "ingredient": [
        {"itemCodeableConcept": {"text": "Warfarin"}},
        {"itemReference": {"reference": "#s"}},
    ], "contained": [{"resourceType": "Substance", "id": "s", "code": {"text": "Aspirin"}}]}  # fmt: skip # noqa: E501
    asked = order("Combination", medicationReference={"reference": "#p"}, contained=[parts])
    [fact] = read(asked).facts
    assert fact.names == ("Combination", "Warfarin", "Aspirin")
    assert "anticoagulant" in fact.traits


def test_single_resources_arrays_bulk_files_and_parameters() -> None:
    one, two = condition("Asthma"), order("Warfarin")
    forms: list[Any] = [
        "\n".join(map(json.dumps, (one, two))) + "\n",
        "\r\n".join(map(json.dumps, (one, two))),
        json.dumps([one, two]),
        json.dumps({"resourceType": "Parameters", "parameter": [{"resource": one}, {"resource": two}]}),  # noqa: E501
        json.dumps({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Bundle", "entry": [{"resource": one}]}}, {"resource": two}]}),  # noqa: E501
        json.dumps({"resourceType": "List", "contained": [one, two], "entry": []}),
    ]  # fmt: skip
    for text in forms:
        found = read_record(text.encode(), "r", TODAY)
        assert [fact.name for fact in found.facts] == ["Asthma", "Warfarin"], text
    [fact] = read_record(json.dumps(one).encode(), "r", TODAY).facts
    assert fact.traits == ("asthma",)
    one["note"] = [{"text": "first\u2028second\x85third"}]
    rows = [json.dumps(row, ensure_ascii=False) for row in (one, two)]
    found = read_record("\n".join(rows).encode(), "r", TODAY)
    assert [fact.name for fact in found.facts] == ["Asthma", "Warfarin"]
    assert not found.document.notes
    broken = read_record((json.dumps(one) + '\n{"resourceType": "Cond').encode(), "r", TODAY)
    assert broken.document.notes == {"lines that are damaged JSON": 1}


def test_lists_that_only_name_their_items() -> None:
    listed = {
        "resourceType": "List", "status": "current",
        "code": {"coding": [{"code": "10160-0"}], "text": "Medications"},
        "entry": [
            {"item": {"display": "Warfarin 5 mg"}},
            {"item": {"reference": "MedicationStatement/gone"}},
            {"item": {"display": "Methotrexate"}, "deleted": True},
        ],
    }  # fmt: skip
    record = read(listed)
    assert [fact.traits for fact in record.facts] == [("anticoagulant",)]
    assert record.document.notes == {"items of lists that are not in the record": 1}
    empty = {"resourceType": "List", "title": "Allergies", "emptyReason": {"coding": [{"code": "nilknown"}]}}  # fmt: skip # noqa: E501
    assert read(empty).facts[0].text == "no known allergies"
    assert read({**listed, "status": "entered-in-error"}, condition("Acne")).facts[0].name == "Acne"


def test_versions_and_copies_count_once() -> None:
    old = {**condition("Asthma"), "id": "c", "meta": {"versionId": "1"}}
    new = {**condition("Asthma", verified="refuted"), "id": "c", "meta": {"versionId": "2"}}
    for every in ((old, new), (new, old)):
        [fact] = read(*every, kind="history").facts
        assert fact.state == "denied"
    twice = [{**allergy("Penicillin"), "id": "1"}, {**allergy("Latex"), "id": "1"}]
    assert len(read(*twice).facts) == 2  # one id by mistake: nothing is lost
    assert len(read(twice[0], twice[0]).facts) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"valueQuantity": {"value": 0, "unit": "ng/L"}}, "0 ng/L"),
        ({"valueQuantity": {"value": 5, "comparator": "<", "unit": "mg"}}, "<5 mg"),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 640}}}, "1:640"),
        ({"valueRatio": {"numerator": {"value": 5, "unit": "mg"}, "denominator": {"value": 1, "unit": "mL"}}}, "5 mg / 1 mL"),  # noqa: E501
        ({"valueRange": {"low": {"value": 70, "unit": "mg/dL"}, "high": {"value": 180, "unit": "mg/dL"}}}, "70 to 180 mg/dL"),  # noqa: E501
        ({"valueRange": {"high": {"value": 9, "unit": "g"}}}, "up to 9 g"),
        ({"valueBoolean": False}, "no"),
        ({"valueInteger": 0}, "0"),
        ({"valueCodeableConcept": {"coding": [{"display": "Positive"}]}}, "Positive"),
        ({"valuePeriod": {"start": "2024-01-01", "end": "2024-02-01"}}, "2024-01-01 to 2024-02-01"),
        ({"dataAbsentReason": {"text": "not done"}}, "no value (not done)"),
        ({"valueQuantity": {"unit": "mg"}}, ""),
    ],
)  # fmt: skip
def test_values(value: dict[str, Any], text: str) -> None:
    assert Fields(value).value() == text


@pytest.mark.parametrize(
    ("dose", "text"),
    [
        ({"text": "as told"}, "as told"),
        ({"doseAndRate": [{"doseQuantity": {"value": 10, "unit": "U"}}], "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}, "10 U once a day"),  # noqa: E501
        ({"doseAndRate": [{"doseRange": {"low": {"value": 1}, "high": {"value": 2}}}], "timing": {"repeat": {"frequency": 1, "period": 8, "periodUnit": "h"}}, "route": {"text": "by mouth"}}, "1 to 2 every 8 hours by mouth"),  # noqa: E501
        ({"timing": {"repeat": {"frequency": 3, "period": 1, "periodUnit": "wk"}}}, "3 times a week"),  # noqa: E501
        ({"timing": {"code": {"text": "BID"}}, "asNeededBoolean": True}, "BID as needed"),
        ({"asNeededCodeableConcept": {"text": "pain"}}, "as needed for pain"),
    ],
)  # fmt: skip
def test_doses(dose: dict[str, Any], text: str) -> None:
    assert Fields(dose).dose() == text


def test_what_cannot_be_read_is_counted_and_told() -> None:
    who = person(
        condition("Asthma"),
        {**condition(""), "code": {}},
        order("", medicationCodeableConcept={}),
        {"resourceType": "Observation", "status": "cancelled", "code": {"text": "Sodium"}},
        {"resourceType": "Encounter"},
        {**statement("Warfarin"), "modifierExtension": [{"url": "x"}]},
        {"resourceType": "Patient", "gender": "male"},
        {"resourceType": "Patient", "gender": "female"},
    )
    told = who.told()[-1]
    for words in (
        "conditions without a name: 1", "medication not named: 1", "(Observation): 1",
        "unknown type (Encounter): 1", "modifier extension", "patients besides the first",
    ):  # fmt: skip
        assert words in told, words
