"""Small complaints and questions on a building are not called urgent; trouble beside them is."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.framing import is_of_premises
from galenic.assistant.triage.mild import is_medicine_list, is_mild
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.wording import sentences


@pytest.mark.parametrize(
    "text",
    [
        "sick in the morning at 8 weeks pregnant",
        "my legs keep twitching",
        "baby got a flat spot on his head",
        "baby sneezes and sounds snuffly but no fever",
        "i grind my teeth at night everyone says",
        "How long does it take to get over a gallbladder removal?",
        "How many weeks does it take a broken wrist to heal?",
        "The doctor said my kidney number, the eGFR, is 52. Ought I to be worried?",
    ],
)
def test_a_small_complaint_is_no_emergency(text: str) -> None:
    assert rank(triage(text).tier) < rank("today")


@pytest.mark.parametrize(
    "text",
    [
        "sick in the morning at 8 weeks pregnant and bleeding heavily",
        "my legs keep twitching and I can't walk",
        "baby sneezes and sounds snuffly and won't wake up",
        "my 3 week old is snuffly and not feeding",
        "my baby of 3 weeks is sneezing and has a temperature of 38.5",
        "I grind my teeth at night and I want to kill myself",
        "how long does it take my family to get over it if I die",
        "how long does it take my kids to get over a suicide",
    ],
)
def test_trouble_beside_it_is_one(text: str) -> None:
    assert triage(text).tier == "emergency"


def test_one_other_word_and_it_is_not_mild() -> None:
    assert is_mild("My legs keep twitching at night.")
    assert not is_mild("My legs keep twitching at night and tremble.")
    assert not is_mild("at night")


@pytest.mark.parametrize(
    ("text", "of_premises"),
    [
        ("Where can I park?", True),
        ("Where is the nearest toilet?", True),
        ("Is there disabled parking?", True),
        ("When are you open on Saturdays?", True),
        ("How do I get to the clinic?", True),
        ("Where can I park? My chest hurts.", False),
        ("Where can I park, he is bleeding", False),
        ("How can I get to the bottom of this?", False),
    ],
)
def test_a_question_on_the_building_gets_no_red_flag_questions(
    text: str, of_premises: bool
) -> None:
    assert is_of_premises(sentences(text)) is of_premises
    if of_premises:
        assert triage(text).questions == ()


def test_two_medicines_and_nothing_else_are_no_emergency() -> None:
    for text in (
        "i take warfarin and the dentist gave me metronidazole",
        "I'm on warfarin and the doctor prescribed fluconazole, is it safe together?",
    ):
        assert is_medicine_list(text)
        assert rank(triage(text).tier) < rank("today")


@pytest.mark.parametrize(
    "text",
    [
        "my son took warfarin and metronidazole",
        "i take morphine and the doctor gave me diazepam and i cant wake up",
        "i take warfarin and the dentist gave me metronidazole and I am vomiting blood",
        "I took 30 warfarin and metronidazole",
    ],
)
def test_two_medicines_and_trouble_are(text: str) -> None:
    assert not is_medicine_list(text)
    assert triage(text).tier == "emergency"


def test_one_medicine_alone_is_no_list() -> None:
    assert not is_medicine_list("i take warfarin")


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("forgot my blood pressure pill this morning, take two tomorrow?", "days"),
        ("I forgot my pill last night and we had sex", "today"),
        ("missed 2 pills this week", "today"),
        ("I forgot to take the pill", "today"),
        ("forgot my contraceptive pill", "today"),
    ],
)
def test_only_the_contraceptive_pill_asks_for_emergency_contraception(text: str, tier: str) -> None:
    assert triage(text).tier == tier
