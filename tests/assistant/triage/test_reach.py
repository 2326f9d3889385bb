"""Borders: how far a denial reaches, and from which birthday on somebody is an older adult."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.triage import triage


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("I have no chest pain.", True),
        ("I have no sign at all of chest pain.", True),  # four words between
        ("I have no real trace at all of chest pain.", True),  # five
        ("I have no such clear sign of any chest pain.", True),
        ("I have no real big trace at all of chest pain.", False),  # six: it counts
        ("I have no such very clear sign of any chest pain.", False),
    ],
)
def test_a_denial_reaches_over_five_words(text: str, denied: bool) -> None:
    assert (triage(text).tier != "emergency") == denied


@pytest.mark.parametrize(("age", "older"), [(64, False), (65, True), (66, True)])
def test_older_adults_are_so_from_their_65th_birthday(age: int, older: bool) -> None:
    found = triage(f"I am {age} years old and have a headache.").populations
    assert ("older_adult" in found) == older
