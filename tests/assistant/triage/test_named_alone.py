"""A danger that is only named is for today; who speaks of somebody's trouble now stays one."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.assistant.triage.concepts import IF_NOW
from galenic.assistant.triage.framing import TERSE, speaks_of_trouble
from galenic.assistant.triage.questions import HAPPENING
from galenic.assistant.triage.result import Answer
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.phrase import parse_phrase
from galenic.assistant.triage.words.wording import sentences

ODDS = "Two aunts on the Irish side, strokes and all that in their late seventies, is it my genes"


@pytest.mark.parametrize(
    "text",
    [
        ODDS,
        "A cousin posts that microwaves cause strokes and wifi rots the brain, any reply",
        "those two are poison together at every single family lunch, exhausting",
        "the museum shows foxglove, antifreeze and other things from crime novels",
    ],
)
def test_a_bare_name_is_for_today_and_its_advice_says_if(text: str) -> None:
    found = triage(text, layers=())
    assert found.tier == "today"
    assert all(one.do.startswith(IF_NOW) for one in found.leading)


@pytest.mark.parametrize("answer", ["yes", "not sure"])
def test_whether_it_is_happening_is_asked_first_and_believed(answer: Answer) -> None:
    assert triage(ODDS).questions[0].id == HAPPENING
    assert triage(ODDS, answers={HAPPENING: answer}).tier == "emergency"


@pytest.mark.parametrize(
    "text",
    [
        "stroke",
        "overdose, my son",
        "Am I having a stroke?",
        "My dad had a stroke. What should I do?",
        "I think my husband has sepsis and nobody at the surgery picks up the phone",
        "Mother, 81, who lives with us, has had another stroke and we are at home with her",
        "there was an adder on the path, her ankle is like a melon",
        "wild mushrooms for tea, all three of us vomiting since",
        "Carbon monoxide alarm sounding in the hall. Nobody feels ill yet.",
        "weedkiller was in that bottle, the little one licked the cap",
        "He has anaphylaxis to nuts and there were nuts in the cake he ate",
        "worried my neighbour has meningitis, she lies there with the blinds down",
    ],
)
def test_trouble_beside_the_name_keeps_the_alarm(text: str) -> None:
    assert triage(text).tier == "emergency"


def test_an_earlier_message_of_trouble_counts() -> None:
    assert triage(ODDS, history=["my lips are swelling up"]).tier == "emergency"


def test_a_short_text_says_too_little_to_doubt_it() -> None:
    said = " ".join(["word"] * (TERSE - 1))
    assert speaks_of_trouble(sentences(said))
    assert not speaks_of_trouble(sentences(f"{said} word"))


def test_every_name_is_one_that_a_rule_of_emergencies_rests_on() -> None:
    rules = prepared(None).rules
    for name in rules.names:
        for phrase in parse_phrase(name, rules.words):
            said = " ".join(
                sorted(step.words or step.prefixes)[0] for step in phrase if not step.gap
            )
            assert rank(triage(said).tier) == rank("emergency"), said


def test_rules_of_ones_own_may_have_none(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "sources: {a: {name: A, url: 'https://example.org'}}\n"
        "concepts: {stroke: {say: [stroke]}}\n"
        "rules:\n  - {id: one, tier: emergency, all_of: [stroke], reason: R., do: D., source: a}\n"
    )
    assert triage(ODDS.replace("strokes", "stroke"), file).tier == "emergency"
    file.write_text(f"names: [stroke]\n{file.read_text()}")
    assert triage(ODDS.replace("strokes", "stroke"), file).tier == "today"
