"""What is said first to a cry for help: calm, the same for every method, lines by country."""

from __future__ import annotations

import re
from datetime import date

import pytest

from galenic.assistant.triage.crisis import (
    OPENING,
    RETRACTED,
    Crisis,
    calls,
    country_of,
    crisis,
    described,
    lines,
)
from galenic.assistant.triage.result import Finding, Triage
from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.triage import triage

SOURCE = Source(name="x", url="https://example.org/")


def found(tier: str = "emergency", layer: str = "self-harm", name: str = "plain") -> Triage:
    one = Finding(name, tier, "r", "Do.", SOURCE, ("w",), layer)  # type: ignore[arg-type]
    return Triage(tier, (one,))  # type: ignore[arg-type]


def said(text: str, locale: str = "") -> Crisis:
    made = crisis(found(), text, locale)
    assert made is not None
    return made


def test_only_cries_for_help_are_answered() -> None:
    assert crisis(found(layer="concepts", name="chest-pain"), "my chest") is None
    assert crisis(Triage("unknown"), "hello") is None
    for name in ("suicidal", "classifier-self-harm", "language-suicide", "poisoning-many"):
        assert crisis(found(layer="concepts", name=name), "x") is not None
    assert crisis(triage("I want to kill myself"), "I want to kill myself") is not None
    assert crisis(triage("my knee hurts"), "my knee hurts") is None


def test_the_words_are_the_same_whatever_the_message_names() -> None:
    texts = (
        "I want to die",
        "I want to hang myself",
        "how many paracetamol would kill me",
        "x" * 999,
    )
    assert len({said(text).text for text in texts}) == 1
    assert "paracetamol" not in said(texts[2]).text
    assert said(texts[0]).text.startswith(OPENING)


@pytest.mark.parametrize(
    "text", ["I was joking", "just kidding lol", "I didn't mean it", "I'm ok now"]
)
def test_a_retraction_is_answered_in_words_and_the_lines_stay(text: str) -> None:
    made = said(f"I want to die. {text}")
    assert RETRACTED in made.text
    assert made.lines == said("I want to die").lines
    assert made.alone


def test_alone_only_when_a_life_may_be_in_danger() -> None:
    made = crisis(found("today"), "x")
    assert made is not None
    assert not made.alone


@pytest.mark.parametrize(
    ("locale", "country"),
    [
        ("en-GB,en;q=0.9", "GB"),
        ("en,de-AT;q=0.7", "AT"),
        ("de_CH.UTF-8", "CH"),
        ("FR", "FR"),
        ("zh-Hant-TW", "TW"),
        ("en", ""),
        ("", ""),
        ("*", ""),
        ("C.UTF-8", ""),
    ],
)
def test_countries(locale: str, country: str) -> None:
    assert country_of(locale) == country


def test_the_lines_of_the_country_or_the_common_ones() -> None:
    assert [one.number for one in said("x", "en-GB").lines] == ["116 123"]
    assert "999" in said("x", "en-GB").text
    everywhere = said("x").lines
    assert {"US", "GB", "IE", "CA", "AU", "IN"} <= {one.country for one in everywhere}
    assert said("x", "xx-QQ").lines == everywhere
    for one in everywhere:
        assert one.number in said("x").text


def test_every_line_has_a_number_and_a_page_that_was_looked_up() -> None:
    every = {
        one
        for country in (*["US", "CA", "GB", "DE", "FR", "ES", "PL", "UA"], "")
        for one in lines(country)
    }
    for one in every:
        assert re.search(r"\d", one.number)
        assert one.source.startswith("http")
        assert one.seen <= date.today()


def test_other_languages_come_in_the_language() -> None:
    one = Finding("language-suicide", "emergency", "r", "No está solo.", SOURCE, (), "languages")
    made = crisis(Triage("emergency", (one,)), "x")
    assert made is not None
    assert made.text.startswith("No está solo.")


@pytest.mark.parametrize(
    ("locale", "first"),
    [("en-GB", "999"), ("de-DE", "112"), ("en_US.UTF-8", "911"), ("en-NZ", "111"), ("", "112")],
)
def test_the_likely_emergency_number_comes_first(locale: str, first: str) -> None:
    numbers = [one["number"] for one in calls(locale)["numbers"]]
    assert numbers[0] == first
    assert {"112", "911", "999", "000"} <= set(numbers)


def test_a_cry_comes_before_all_else_in_json() -> None:
    told = described(triage("I want to kill myself"), "I want to kill myself", "en-GB")
    assert next(iter(told)) == "crisis"
    assert told["calls"]["numbers"][0]["number"] == "999"
    assert "crisis" not in described(triage("my knee hurts"), "my knee hurts")


@pytest.mark.parametrize(
    ("text", "cry"),
    [
        ("which bridge round here is high enough", True),
        ("Is there a roof near me that is tall enough?", True),
        ("is the bridge high enough for a lorry", False),
        ("is the car park high enough to get a van in", False),
    ],
)
def test_who_seeks_a_height_that_is_enough_is_heard(text: str, cry: bool) -> None:
    found = triage(text)
    assert (crisis(found, text) is not None) == cry
    assert (found.tier == "emergency") == cry
