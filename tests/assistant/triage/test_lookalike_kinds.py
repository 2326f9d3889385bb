"""Kinds of harmless texts with alarming words, and the emergencies in the words beside them."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.raising.layers import RAISING
from galenic.assistant.triage.triage import triage

READABLE = [name for name in RAISING if name != "classifier"]
"""What people can read: rules and the layers beside them."""


def alarmed(text: str) -> bool:
    return triage(text, layers=READABLE).tier == "emergency"


@pytest.mark.parametrize(
    ("harmless", "urgent"),
    [
        # An animal that suffers, and a person.
        ("koi floating sideways and gasping at the pump", "lying sideways and gasping at the pump"),
        ("kitten swallowed a button battery, she seems ok", "she swallowed a button battery"),
        ("the puppy swallowed a battery", "the puppy was there when my son swallowed a battery"),
        ("goose lying on the bank, not breathing", "lying on the bank, not breathing"),
        # An old letter that gives its date in the next sentence.
        (
            'My notes read "PE excluded, home". June 2011. What does PE mean?',
            "My notes read PE. June 2011. Now the same stab when I breathe in, coughing blood.",
        ),
        (
            "An old letter of 4 May 2008. Dear Dr Rao, she was admitted with crushing chest pain.",
            "An old letter of 4 May 2008. Dear Dr Rao, I have crushing chest pain tonight.",
        ),
        # Somebody who may fall ill, and somebody who has.
        (
            "what do I do if somebody near me has a seizure",
            "what do I do, somebody near me is having a seizure",
        ),
        ("lost our gran to a clot on the lung in May", "gran has a clot on the lung, she is grey"),
        ("nightmares about drowning since that film", "she nearly drowned in the pool"),
        ("Name two causes of a severe asthma attack", "she has a severe asthma attack"),
        # Objects of wishes to end, leave and stop.
        ("I want out of this phone contract", "I want out of this life"),
        ("thinking of ending my gym membership", "thinking of ending my life"),
        ("ready to say goodbye to dairy", "ready to say goodbye to everyone, it is tonight"),
        ("I can't face another winter with this cough", "I can't face another winter alive"),
        ("I can't go on like this with my commute", "I can't go on like this"),
        ("dont want to be here, I mean this town", "dont want to be here, I mean alive"),
        ("my own life jacket leaks, I'll take my own life jacket", "I'll take my own life"),
        ("starving myself until dinner, any snack?", "starving myself, I deserve it"),
        ("scratched my arms on the brambles, again", "scratched my arms with a razor, again"),
        # Words with two meanings.
        ("gasping for a cuppa", "gasping for air"),
        ("is that mud mask stuff rubbish", "dad is talking rubbish since lunch"),
        ("stabbed the potatoes", "stabbed in the belly"),
        ("my baby's floppy sunhat", "my baby's floppy"),
        ("nervous before my speech", "my speech is slurred"),
        ("slept on my arm, it was dead, fine again", "my arm is dead since I woke"),
    ],
)
def test_pairs(harmless: str, urgent: str) -> None:
    assert not alarmed(harmless)
    assert alarmed(urgent)


def test_rabies_is_for_today_and_its_advice_says_so() -> None:
    found = triage("A stray dog bit me on holiday in Thailand two days ago", layers=())
    [rabies] = [one for one in found.leading if one.id == "rabies"]
    assert (found.tier, rabies.tier) == ("today", "today")
    assert "today" in rabies.do and "emergency department now" not in rabies.do
    assert "hpsc.ie" in rabies.source.url
