"""Notes and health records that come with a question."""

from __future__ import annotations

import json
from datetime import date

import pytest

from galenic.assistant.triage.triage import triage
from galenic.errors import UserError
from galenic.record.person import Person, read_person
from record.fhir_bundle import BUNDLE

TODAY = date(2026, 11, 25)


def test_nothing_given_is_nothing_known() -> None:
    assert read_person("  \n") == Person()


def test_notes_are_the_persons_own_words() -> None:
    person = read_person("Monday: fever of 39.\n\nI am 34 weeks pregnant.")
    assert person.said.startswith("Monday")
    assert person.facts == ()
    assert person.told() == []
    assert [one.text for one in person.passages] == [
        "Monday: fever of 39.\nI am 34 weeks pregnant."
    ]
    assert person.passages[0].place == "line 1 to line 3"


def test_a_record_tells_whom_it_is_about() -> None:
    person = read_person(json.dumps(BUNDLE), TODAY)
    assert person.said == ""
    assert "Secretname" not in str(person)
    found = triage("burning when I pee", facts=person.facts)
    assert {"diabetes", "older_adult"} <= set(found.populations)
    assert "diabetes (your record: Type 2 diabetes mellitus" in "; ".join(found.people)
    assert "older_adult" not in str(found.people)
    assert found.tier == "today"
    assert triage("burning when I pee").tier == "days"


def test_what_a_record_names_is_no_complaint() -> None:
    condition = {"resourceType": "Condition", "code": {"text": "Chest pain"}}
    facts = read_person(json.dumps(condition)).facts
    assert facts[0].name == "Chest pain"
    assert triage("my knee hurts", facts=facts) == triage("my knee hurts")


@pytest.mark.parametrize(
    ("born", "ages"),
    [
        ("1961-03-04", [65]),
        ("1961-12-01", [64]),
        ("1961", [64, 65]),
        ("2026-10-10", [0]),
        ("2026", [0]),
        ("1961-13-77", []),
    ],
)
def test_ages(born: str, ages: list[int]) -> None:
    patient = {"resourceType": "Patient", "birthDate": born}
    [fact] = read_person(json.dumps(patient), TODAY).facts
    assert sorted({int(months / 12) for months in fact.months}) == ages


def test_a_baby_in_the_record_makes_a_fever_urgent() -> None:
    patient = {"resourceType": "Patient", "birthDate": "2026-10-10"}
    facts = read_person(json.dumps(patient), TODAY).facts
    assert triage("temperature of 38.3", facts=facts).tier == "emergency"


@pytest.mark.parametrize("text", ["[x] bought plasters", "- {note}", "<ClinicalDocument/>"])
def test_notes_with_brackets_are_notes(text: str) -> None:
    assert read_person(text).said == text


@pytest.mark.parametrize("text", ['{"a": 1}', "{", '{"resourceType": 3}', "{" * 5000])
def test_other_json_is_explained(text: str) -> None:
    with pytest.raises(UserError, match="FHIR"):
        read_person(text)


@pytest.mark.parametrize("text", ["asthma\x00", "\x00", "\ufffd" * 3 + "\x00" * 9])
def test_binary_notes_are_explained(text: str) -> None:
    with pytest.raises(UserError, match=r"the context is binary\..*plain text"):
        read_person(text)
