"""The texts that the rules were written from: shares that must not fall.

They say nothing of new texts: see results/triage.md for those.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from galenic.assistant.triage.tiers import Tier, rank
from galenic.assistant.triage.triage import triage

DATA = Path(__file__).parent / "data" / "development"


def tiers_of(name: str, golds: Sequence[str]) -> list[Tier]:
    rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return [triage(row["text"]).tier for row in rows if row["tier"] in golds]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["emergencies", "cries_and_poison", "others", "check", "fourth"])
def test_emergencies_stay_emergencies(name: str) -> None:
    found = tiers_of(name, ["emergency"])
    assert found.count("emergency") >= 0.97 * len(found)
    assert sum(rank(tier) < rank("today") for tier in found) <= 0.02 * len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lookalikes", "others", "check", "fourth"])
def test_the_harmless_are_rarely_called_an_emergency(name: str) -> None:
    found = tiers_of(name, ["general", "self-care", "days"])
    assert found.count("emergency") <= 0.1 * len(found)
