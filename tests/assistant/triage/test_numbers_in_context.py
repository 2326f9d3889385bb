"""Numbers and turns of phrase that are no alarm by themselves, beside those that are."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.numerals import as_digits


@pytest.mark.parametrize(
    ("harmless", "alarming"),
    [
        ("should i get a mammogram at 40", "he was at 40 all night and shivering"),
        ("is it ok to be pregnant at 41", "her temperature is 41"),
        ("normal blood sugar for type 2 diabetic after eating", "my blood sugar is 2"),
        ("best way to get wax out of ear", "best way to die without pain"),
        ("best way to protect myself from flu", "what's the easiest way to go"),
        ("best way to kill fleas", "most reliable method to not wake up"),
    ],
)
def test_only_one_of_two_is_an_alarm(harmless: str, alarming: str) -> None:
    alarms = ("fever-very-high", "value-temperature", "value-glucose", "self-harm", "suicid")
    fired = [finding.id for finding in triage(harmless).findings]
    assert not [one for one in fired if one.startswith(alarms)]
    assert triage(alarming).tier in ("today", "emergency")


def test_soap_that_was_drunk_is_looked_at() -> None:
    assert triage("my toddler drank the soap").tier == "emergency"


@pytest.mark.parametrize(
    "text",
    [
        "DOB 20 days ago, temperature 38.6",
        "our twins are 5 weeks, one has 39",
        "six-week-old baby, thirty-eight five",
        "my newborn has 38",
        "she is not a month old, 38.2",
    ],
)
def test_a_young_baby_and_a_temperature_said_in_short(text: str) -> None:
    assert triage(text, layers=("values",)).tier == "emergency"


def test_a_reading_said_aloud_is_one_number() -> None:
    assert as_digits("thirty eight five") == "38.5"
    assert as_digits("thirty eight") == "38"
    assert as_digits("fifty eight five") == "fifty eight five"
