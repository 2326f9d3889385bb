"""Notes and health records that come with a question."""

from __future__ import annotations

import json
from datetime import date

import pytest

from assistant.fhir_bundle import BUNDLE
from galenic.assistant.record.person import Person, read_person
from galenic.assistant.triage.triage import triage
from galenic.errors import UserError

TODAY = date(2026, 11, 25)


def test_nothing_given_is_nothing_known() -> None:
    assert read_person("  \n") == Person()


def test_notes_are_the_persons_own_words() -> None:
    person = read_person("Monday: fever of 39.\n\nI am 34 weeks pregnant.")
    assert person.said.startswith("Monday")
    assert person.about == ""
    assert [one.text for one in person.passages] == [
        "Monday: fever of 39.\nI am 34 weeks pregnant."
    ]
    assert person.passages[0].place == "line 1 to line 3"


def test_a_record_tells_whom_it_is_about() -> None:
    person = read_person(json.dumps(BUNDLE), TODAY)
    assert person.said == ""
    assert "aged 65 years" in person.about
    assert "Secretname" not in person.about
    found = triage("burning when I pee", about=person.about)
    assert {"diabetes", "older_adult"} <= set(found.populations)
    assert found.tier == "today"
    assert triage("burning when I pee").tier == "days"


def test_what_a_record_names_is_no_complaint() -> None:
    condition = {"resourceType": "Condition", "code": {"text": "Chest pain"}}
    about = read_person(json.dumps(condition)).about
    assert "Chest pain" in about
    assert triage("my knee hurts", about=about).tier == triage("my knee hurts").tier


def test_what_is_over_does_not_count() -> None:
    pregnant = {"resourceType": "Condition", "code": {"text": "Pregnant"}}
    over = {**pregnant, "abatementDateTime": "2020-01-01"}
    assert "pregnant" in triage("x", about=read_person(json.dumps(pregnant)).about).populations
    assert triage("x", about=read_person(json.dumps(over)).about).populations == ()


@pytest.mark.parametrize(
    ("born", "age"), [("1961-03-04", 65), ("1961-12-01", 64), ("1961", 65), ("2026-01-01", None)]
)
def test_ages(born: str, age: int | None) -> None:
    patient = {"resourceType": "Patient", "birthDate": born}
    about = read_person(json.dumps(patient), TODAY).about
    assert (f"aged {age} years" in about) if age else ("aged" not in about)


@pytest.mark.parametrize("text", ['{"a": 1}', "{", '{"resourceType": 3}', "{" * 5000])
def test_other_json_is_explained(text: str) -> None:
    with pytest.raises(UserError, match="FHIR"):
        read_person(text)
