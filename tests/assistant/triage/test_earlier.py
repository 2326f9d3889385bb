"""Long messages are read whole; of what was said before, dates say what is old."""

from __future__ import annotations

from datetime import date

import pytest

from galenic.assistant.triage import earlier
from galenic.assistant.triage.earlier import bounded, last_of, recent
from galenic.assistant.triage.triage import triage

TODAY = date(2026, 11, 25)
PAIN = "I have crushing chest pain and I am sweating."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("chest pain", "chest pain"),
        ("2014: chest pain", ""),
        ("2026-11-20 chest pain", "2026-11-20 chest pain"),
        ("2026-03-01 chest pain", ""),
        ("2026-03-01 chest pain, still there", "2026-03-01 chest pain, still there"),
        ("12.03.2014 chest pain, worse", ""),
        ("March 2014 chest pain", ""),
        ("12th of March, 2014: pain\nand fever\n\nknee hurts", "knee hurts"),
        ("Letter of 12 March 2014\n\nAdmitted with pain.\n\nToday pain.", "Today pain."),
        ("chest pain since March 2014", "chest pain since March 2014"),
        ("11/12/26 pain", "11/12/26 pain"),
        ("99/99/2014 pain", "99/99/2014 pain"),
        ("due in 2031", "due in 2031"),
    ],
)
def test_dates_of_history_count(text: str, kept: str) -> None:
    assert recent(text, TODAY) == kept


def test_symptoms_of_old_do_not_count_and_illness_for_life_does() -> None:
    letter = "Hospital letter of 12 March 2014\n\nCrushing chest pain, sweating. Had a transplant."
    found = triage("I have a runny nose", history=[letter])
    assert found.tier != "emergency"
    assert "chest-pain" not in {one.id for one in found.findings}
    assert "immunocompromised" in found.populations
    assert triage("I have a runny nose", history=[PAIN]).tier == "emergency"


def test_a_cry_in_an_earlier_message_still_counts() -> None:
    for cry in ("I want to kill myself", "I took 30 sertraline", "Mi padre no respira"):
        assert triage("what should I eat?", history=[cry]).tier == "emergency", cry


@pytest.mark.slow
def test_length_lowers_no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    filler = "Then we went on to my aunt and had tea with her and the neighbours. " * 300
    for text in (f"{PAIN} {filler}", f"{filler} {PAIN}", f"{filler} {PAIN} {filler}"):
        assert triage(text).tier == "emergency"
    assert triage(PAIN, history=[filler] * 4).tier == "emergency"
    monkeypatch.setattr(earlier, "MOST_CHARACTERS", 5_000)
    found = triage(f"{PAIN} {filler}")
    assert found.tier == "emergency"
    assert not found.notes or "between" in found.notes[0]


def test_bounds() -> None:
    text, notes = bounded(" ".join(f"word{at}" for at in range(120_000)))
    assert len(text) <= earlier.MOST_CHARACTERS + earlier.MOST_BETWEEN + 4
    assert "only some sentences" in notes[0]
    assert bounded("a" * earlier.MOST_CHARACTERS) == ("a" * earlier.MOST_CHARACTERS, ())
    assert bounded("We had tea. " * 90_000) == ("We had tea. ", ())


@pytest.mark.slow
def test_what_matters_is_read_in_the_middle_of_a_megabyte() -> None:
    filler = [f"Then on day {at} we went on to aunt {at * 7} and had tea. " for at in range(18_000)]
    text = "".join([*filler[:9_000], PAIN, " ", *filler[9_000:]])
    assert len(text) > 900_000
    assert triage(text).tier == "emergency"

    kept, notes = last_of(["old " * 60_000, "new"])
    assert (len(kept[0]), kept[1]) == (earlier.MOST_EARLIER - 3, "new")
    assert notes
    assert last_of(["one", " ", "two"]) == (["one", "two"], ())
