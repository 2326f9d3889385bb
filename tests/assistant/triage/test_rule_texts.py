"""Each rule has a text that fires it, with its tier: changing a tier by one step fails here.

``data/rule_texts.jsonl`` is to be read by people: rule, tier, text. The first limits of age and of
denial stand here too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import Tier
from galenic.assistant.triage.triage import triage

TEXTS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data/rule_texts.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one["rule"])
def test_the_text_fires_the_rule_with_its_tier(one: dict[str, str]) -> None:
    fired = {finding.id: finding.tier for finding in triage(one["text"], layers=()).findings}
    assert fired.get(one["rule"]) == one["tier"], one["text"]


def test_every_rule_has_a_text_of_its_own() -> None:
    assert [one["rule"] for one in TEXTS] == [rule.id for rule in prepared().rules.rules]


@pytest.mark.parametrize(
    ("age", "tier"),
    [("64 years old", "days"), ("65 years old", "today"), ("66 years old", "today")],
)
def test_sixty_five_is_older(age: str, tier: Tier) -> None:
    assert triage(f"I am {age} and I have a fever", layers=()).tier == tier


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("no mild little odd small chest pain", "unknown"),
        ("no mild little odd small blunt chest pain", "unknown"),
        ("no mild little odd small blunt short chest pain", "emergency"),
    ],
)
def test_the_reach_of_a_denial(text: str, tier: Tier) -> None:
    assert triage(text, layers=()).tier == tier


@pytest.mark.parametrize(
    ("text", "fires"),
    [("a runny nose for two weeks", False), ("runny poo for two weeks", True)],
)
def test_a_nose_that_runs_is_no_diarrhoea(text: str, *, fires: bool) -> None:
    fired = {finding.id for finding in triage(text, layers=()).findings}
    assert ("diarrhoea-long" in fired) == fires
