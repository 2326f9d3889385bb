"""What removes false alarms, and what must not be removed by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galenic.assistant.triage.reading import read
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.wording import sentences

DATA = Path(__file__).parent / "data" / "development"


def dealt(name: str, half: str) -> list[str]:
    lines = (DATA / f"dealt_{name}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["text"] for row in rows if row["half"] == half]


@pytest.mark.slow
@pytest.mark.parametrize("half", ["tune", "held-out"])
def test_dealt_texts(half: str) -> None:
    found = [triage(text).tier for text in dealt("emergency", half)]
    assert found.count("emergency") >= 0.95 * len(found)
    assert sum(rank(tier) < rank("today") for tier in found) <= 0.02 * len(found)
    for name, most in (("lookalike", 0.15), ("worried", 0.1)):
        calm = [triage(text).tier for text in dealt(name, half)]
        assert calm.count("emergency") <= most * len(calm)


def test_the_classifier_reads_what_was_written() -> None:
    text = "He can't breathe! Is it 38.5°C? No cough."
    assert [one.written for one in sentences(text)] == [
        "He can't breathe!", "Is it 38.5°C?", "No cough.",
    ]  # fmt: skip
    assert read(text, prepared()).counted[0] == "He can't breathe!"


def test_nothing_is_left_of_what_is_denied() -> None:
    text = "I don't have any chest pain but my left knee is rather swollen since yesterday"
    assert read(text, prepared()).counted == ["but my left knee is rather swollen since yesterday."]


@pytest.mark.parametrize(
    ("text", "calm"),
    [
        ("My cat is having trouble breathing and the vet is shut", True),
        ("My cat bit me and my throat is closing", False),
        ("The kids are going to be the death of me", True),
        ("Stabbed in the back and he is breathing funny", False),
        ("My boss stabbed me in the back", True),
        ("How serious is coughing up blood?", True),
        ("Is this chest pain serious?", False),
        ("My dad had a stroke. What should I do?", False),
        ("My sister had a heart attack last spring. What should I know about insurance?", True),
        ("The nurse listed chest pain and a drooping face. I have none of these.", True),
    ],
)
def test_frames(text: str, calm: bool) -> None:
    assert (triage(text).tier != "emergency") == calm


def test_a_general_question_is_asked_about_first() -> None:
    found = triage("how serious is coughing up blood")
    assert found.questions[0].id == "happening-now"
    assert not found.final
    for answer in ("yes", "not sure"):
        again = triage("how serious is coughing up blood", answers={"happening-now": answer})
        assert rank(again.tier) > rank(found.tier)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("he will kill me if I leave", "threat-to-life"),
        ("my boyfriend had his hands round my throat last night", "threat-to-life"),
        ("I have heart failure and can't lie flat tonight", "heart-failure-worse"),
        ("I take phenelzine and have a pounding headache, my heart is racing", "maoi-crisis"),
        ("coughed up about half a cup of bright red blood", "coughing-much-blood"),
    ],
)
def test_rules_for_what_was_missed(text: str, rule: str) -> None:
    found = triage(text, layers=())
    assert found.tier == "emergency"
    assert rule in [finding.id for finding in found.findings]


def test_a_threat_is_no_wish_to_die() -> None:
    found = triage("he will kill me if I leave")
    assert not any(finding.layer == "self-harm" for finding in found.findings)
    assert triage("my wife will kill me when she sees the bill").tier == "unknown"


def test_ordinary_words_stay_as_they_are() -> None:
    mend = prepared().speller.mend
    for word in ("housing", "breeding", "selling", "delicious", "streaming", "mourning"):
        assert mend(word) == word
    assert mend("chset") == "chest"
    assert mend("breadth") == "breath"  # "short of breadth"


@pytest.mark.parametrize(
    ("text", "tiers"),
    [
        ("how do you help someone who can't breathe?", {"emergency"}),
        ("What do I do for somebody who has just collapsed?", {"emergency"}),
        ("How can you help someone who has had a stroke?", {"unknown"}),
        ("kill me please now", {"emergency"}),
        ("my new heels are killing me", {"unknown"}),
        ("im gona jmup", {"emergency"}),
        ("our month-old has a fever", {"emergency"}),
        ("a month-old rash on my arm", {"days", "unknown", "self-care"}),
        ("not yet two months: fever of 38.6", {"emergency"}),
    ],
)
def test_who_what_and_whom(text: str, tiers: set[str]) -> None:
    assert triage(text).tier in tiers


@pytest.mark.parametrize(
    "text",
    ["ugh just kill me, maths again", "I'm going to jump in the shower", "shoot me an email"],
)
def test_an_act_that_harms_nobody_is_no_cry(text: str) -> None:
    assert triage(text, layers=["self-harm"]).tier == "unknown"


def test_harmless_messages_before_it_change_nothing() -> None:
    before = ["Which vitamins are good in winter?", "How long does a cold last?"]
    assert triage("now it burns when I pee", history=before).tier == "days"
