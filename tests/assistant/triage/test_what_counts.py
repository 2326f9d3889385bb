"""What is read from a text: what counts, what does not and why, ages, and what is left of it."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.reading import FEWEST_LEFT, Reading, populations, read
from galenic.assistant.triage.rules import Population, prepared

READY = prepared()


def reading(text: str, *, happening: bool = False) -> Reading:
    return read(text, READY, happening=happening)


def whys(text: str) -> list[tuple[str, str]]:
    return [(one.words, one.why) for one in reading(text).asides]


def test_what_is_denied_is_noted_and_does_not_count() -> None:
    found = reading("I have no chest pain but a rash on my arm.")
    assert (found.denied, found.here) == ({"chest_pain"}, {"rash"})
    assert whys("I have no chest pain but a rash on my arm.") == [("chest pain", "denied")]


def test_a_denial_of_a_denial_counts_once() -> None:
    found = reading("It is not true that I have no chest pain.")
    assert found.words["chest_pain"] == ["chest pain"]
    assert not found.denied


def test_what_is_asked_about_counts_where_something_happens() -> None:
    asked, happening = (reading("Is chest pain serious?", happening=h) for h in (False, True))
    assert (asked.general, asked.words, asked.counted) == (True, {}, [])
    assert [one.why for one in asked.asides] == ["question"]
    assert not happening.general
    assert happening.words["chest_pain"] == ["chest pain"]
    assert happening.counted == ["Is chest pain serious?"]
    assert happening.trouble


def test_one_general_sentence_does_not_make_a_text_general() -> None:
    found = reading("Is chest pain serious? I have a rash on my arm.")
    assert not found.general
    assert "rash" in found.here


def test_what_has_passed_counts_only_where_it_lasts() -> None:
    assert whys("I had chest pain last year.") == [("chest pain", "past")]
    found = reading("Five years ago I had a stroke.")
    assert ("stroke", "past") in whys("Five years ago I had a stroke.")
    assert found.words["heart_history"] == ["stroke"]  # a history is one


def test_what_is_masked_is_another_thing() -> None:
    found = reading("I have hay fever and a rash on my arm.")
    assert "fever" not in found.words
    assert found.here >= {"hay_fever", "rash"}


def test_phrases_are_kept_once_and_not_without_end() -> None:
    again = reading("I have chest pain. " * 3)
    assert again.words["chest_pain"] == ["chest pain"]
    kept = Reading()
    for number in range(25):
        kept.say("chest_pain", str(number), READY)
    assert kept.words["chest_pain"] == [str(number) for number in range(20)]
    assert "chest_pain" in kept.here
    gone = Reading()
    gone.say("chest_pain", "it went", READY, here=False)
    assert gone.words and not gone.here


def test_ages_are_those_of_who_is_ill_now() -> None:
    assert reading("My 3 month old has a fever.").months == [3]
    assert reading("I have a rash. My father is 80.").months == []
    assert reading("When I was 7 I had a rash.").months == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I don't have any chest pain but my left knee is swollen", []),  # three words of its own
        ("I don't have any chest pain but my left knee is rather swollen",
         ["but my left knee is rather swollen."]),
        ("My left knee is rather swollen and I have no fever.",
         ["my left knee is rather swollen and."]),
        ("I have a rash on my arm.", ["I have a rash on my arm."]),
        ("No chest pain.", []),
    ],
)  # fmt: skip
def test_the_classifier_reads_what_is_left(text: str, left: list[str]) -> None:
    assert FEWEST_LEFT == 4
    assert reading(text).counted == left


def group(months: float, **bounds: float) -> bool:
    return populations({"group": Population(**bounds)}, Reading(months=[months])) == ["group"]


def test_groups_by_age_begin_and_end_on_the_day() -> None:
    assert [group(m, under_months=3) for m in (0, 2.9, 3, 4)] == [True, True, False, False]
    assert [group(m, from_years=65) for m in (64.9 * 12, 65 * 12, 65.1 * 12)] == [False, True, True]
    both = {"under_months": 3, "from_years": 65}
    assert [group(m, **both) for m in (1, 400, 800)] == [True, False, True]
    assert not group(400)


def test_groups_by_what_is_said() -> None:
    known = {"one": Population(concepts=["baby", "child"]), "two": Population(concepts=["x"])}
    said, nothing = Reading(words={"child": ["child"]}), Reading()
    assert populations(known, nothing) == []
    assert populations(known, nothing, said) == ["one"]
    assert populations({"old": Population(from_years=60)}, Reading(months=[20, 900])) == ["old"]
