"""What is asked before a tier is relied on, and what answers lead to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.assistant.triage import questions
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import ANSWERS, Answer, Triage, triage
from galenic.errors import UserError

COMPLAINTS = (
    "I have a runny nose", "my calf hurts", "burning when I pee", "a headache since Monday",
    "blargh", "What are the symptoms of a stroke?", "my back aches", "heartburn after dinner",
)  # fmt: skip


def all_asked(text: str, answer: str) -> Triage:
    """Answer all that is asked with the same word."""
    replies: dict[str, str] = {}
    found = triage(text)
    for _ in range(4):
        replies |= {question.id: answer for question in found.questions}
        found = triage(text, answers=replies)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("text", COMPLAINTS)
def test_self_care_and_unknown_are_not_final_before_the_questions(text: str) -> None:
    found = triage(text)
    assert found.final == (rank(found.tier) >= rank("days"))
    assert 1 <= len(found.questions) <= 5
    assert found.general or len(found.questions) >= 2
    asked = all_asked(text, "no")
    assert asked.final and not asked.questions and asked.tier == found.tier


@pytest.mark.parametrize("text", COMPLAINTS)
def test_yes_raises_and_not_sure_is_careful(text: str) -> None:
    before = rank(triage(text).tier)
    yes, unsure = all_asked(text, "yes"), all_asked(text, "not sure")
    assert rank(yes.tier) > before and rank(unsure.tier) >= before
    assert rank(unsure.tier) >= rank("today") or triage(text).general


def test_a_new_complaint_gets_questions_of_its_own() -> None:
    """Five answers to the first one do not use up those of the second."""
    replies: dict[str, Answer] = {}
    earlier = ["my calf hurts", "a headache since Monday"]
    for text in earlier:
        while open_ones := [q.id for q in triage(text, answers=replies, layers=()).questions]:
            replies |= dict.fromkeys(open_ones, "no")
    assert len(replies) >= questions.MOST
    found = triage("now it burns when I pee", history=earlier, answers=replies, layers=())
    asked = {one.id for one in found.questions}
    assert len(asked) >= 2 and not asked & set(replies)
    assert asked & {one.id for one in triage("now it burns when I pee").questions}


def test_an_emergency_asks_nothing() -> None:
    found = triage("crushing chest pain")
    assert found.tier == "emergency" and found.questions == () and found.final


def test_what_is_said_or_denied_is_not_asked() -> None:
    assert "any-chest" in {q.id for q in triage("blargh").questions}
    assert "any-chest" not in {q.id for q in triage("blargh, no chest pain").questions}


def test_a_general_question_that_is_happening_counts() -> None:
    text = "What causes a heart attack?"
    found = triage(text)
    assert found.general and [q.id for q in found.questions] == [questions.HAPPENING]
    assert triage(text, answers={questions.HAPPENING: "yes"}).tier == "emergency"
    assert triage(text, answers={questions.HAPPENING: "no"}).final


@given(st.sampled_from(COMPLAINTS), st.data())
@settings(deadline=None, max_examples=40)
def test_answers_never_lower_the_tier(text: str, data: st.DataObject) -> None:
    found = triage(text)
    replies = {q.id: data.draw(st.sampled_from(ANSWERS)) for q in found.questions}
    assert rank(triage(text, answers=replies).tier) >= rank(found.tier)


@pytest.mark.parametrize(
    ("replies", "message"),
    [({"any-chest": "maybe"}, "not sure"), ({"nonsense": "yes"}, "nonsense")],
)
def test_answers_that_are_none(replies: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        triage("blargh", answers=replies)  # type: ignore[arg-type]


def test_the_file_names_what_there_is() -> None:
    ready, file = prepared(), questions._file()
    known = set(ready.rules.concepts)
    asked = [*file.anyone, file.general, *(q for c in file.complaints for q in c.ask)]
    assert set(file.concepts) <= known
    assert {name for complaint in file.complaints for name in complaint.concepts} <= known
    for one in asked:
        assert set(one.concepts) <= known, one.id
        assert set(one.people) <= set(ready.rules.populations), one.id
        assert one.source in ready.rules.sources, one.id
    assert len({one.id for one in asked}) == len(asked)
