"""Alarms are doubted where two readings of a message say that nobody is ill now, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.assistant.triage.questions import HAPPENING
from galenic.assistant.triage.raising.classifier import urgent_odds
from galenic.assistant.triage.raising.second import RULES, reads_harmless
from galenic.assistant.triage.reading import read
from galenic.assistant.triage.result import Answer
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage

THINGS = (
    "The stroke weight in the logo is too thin, our printer says 2 pt, is there an icon set?",
    "They said on the radio that 12 people were poisoned by carbon monoxide at a campsite, how do "
    "those alarms work",
    "six years since my brain bleed, signed off, back at work full time. What charity runs are "
    "there for survivors?",
)


@pytest.mark.parametrize("text", THINGS)
def test_what_is_said_of_things_and_news_is_asked_about(text: str) -> None:
    found = triage(text)
    assert found.tier != "emergency" and found.general
    assert found.questions[0].id == HAPPENING


@pytest.mark.parametrize("text", THINGS)
@pytest.mark.parametrize("answer", ["yes", "not sure"])
def test_an_answer_restores_the_alarm(text: str, answer: Answer) -> None:
    assert rank(triage(text, answers={HAPPENING: answer}).tier) >= rank("today")


@pytest.mark.parametrize(
    "text",
    [
        "The postman has collapsed at our gate",
        "Is my stroke coming back?",
        "stroke?? left side droopy",
        "My lodger was poisoned by the boiler fumes and is slumped in the hall",
        "My lovely Doreen had a stroke an hour ago",
    ],
)
def test_somebody_in_trouble_is_never_doubted(text: str) -> None:
    assert triage(text).tier == "emergency"


def test_a_harmless_sentence_hides_none_beside_it() -> None:
    beside = " ".join(one if one[-1] == "?" else f"{one}." for one in THINGS)
    for text in ("Dad has collapsed and is grey", "My tongue is swelling up"):
        reading = read(f"{beside} {text}.", prepared(None))
        assert not reads_harmless(reading, RULES)
        assert triage(f"{beside} {text}.").tier == "emergency"


def test_symptoms_are_hidden_from_the_second_reading() -> None:
    ready = prepared(None)
    assert read("Crushing chest pain at the gym?", ready).masked == ["xx xx at the gym ?"]
    assert read("It is quiet.", ready).masked == ["it is quiet ."]
    assert read("Crushing chest pain", ready, happening=True).masked == []


def test_both_readings_count() -> None:
    grave, idle = "she is grey and not answering me", "which film shall we watch"
    assert urgent_odds(grave, grave) > urgent_odds(grave, idle) > urgent_odds(idle, idle)
    mean = (urgent_odds(grave, grave) + urgent_odds(idle, idle)) / 2
    assert urgent_odds(grave, idle) == pytest.approx(mean)


SMALL = """
sources: {here: {name: A guide, url: "https://example.org"}}
concepts:
  purple: {say: [purple toes]}
rules:
  - id: purple
    tier: emergency
    all_of: [purple]
    reason: Purple.
    do: Call.
    source: here
"""


def test_questions_are_judged_by_the_given_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL, encoding="utf-8")
    asked = "Do purple toes ever go away on their own?"
    judged: list[tuple[str, bool]] = []

    def spy(text: str, is_idle: object) -> None:
        judged.append((text, is_idle("My chest is crushed and I cannot breathe?")))  # type: ignore[operator]

    monkeypatch.setattr("galenic.assistant.triage.triage.without_idle_questions", spy)
    triage(asked, path)
    triage("I sneeze")
    assert judged == [(asked, True), ("I sneeze", False)]
