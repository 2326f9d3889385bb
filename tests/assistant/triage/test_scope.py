"""The windows of `Scope`, on sentences made of numbered words: each border on both of its sides."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.scope import Scope, undoubled
from galenic.assistant.triage.words.phrase import Mention
from galenic.assistant.triage.words.wording import TokenSentence

REACH, ITEM, NEAR, CLAUSE = 5, 5, 12, 40  # by hand, so that a changed border is noticed


def scope(
    tokens: list[str],
    marks: list[tuple[str, int, int]],
    pauses: tuple[int, ...] = (),
    symptoms: tuple[tuple[int, int], ...] = (),
    *,
    about_risk: bool = False,
    recurs: bool = False,
) -> Scope:
    """Marks are (part of the context, start, end); symptoms (start, end)."""
    held = tuple(at in pauses for at in range(len(tokens)))
    return Scope(
        TokenSentence(tuple(tokens), tuple(tokens), held),
        [Mention(*mark) for mark in marks],
        [Mention("pain", *place) for place in symptoms],
        about_risk=about_risk,
        recurs=recurs,
    )


def words(count: int) -> list[str]:
    return [f"w{n}" for n in range(count)]


def pain(start: int, end: int | None = None) -> Mention:
    return Mention("pain", start, start + 1 if end is None else end)


@pytest.mark.parametrize("between", [REACH, REACH + 1])
def test_a_denial_reaches_over_so_many_words(between: int) -> None:
    at = 1 + between
    found = scope(["no", *words(between), "pain"], [("negators", 0, 1)], symptoms=((at, at + 1),))
    assert found.status(pain(at)) == ("denied" if between <= REACH else "counts")


@pytest.mark.parametrize("between", [REACH + 3, REACH + 4])
def test_a_weak_denial_passes_bridges_only(between: int) -> None:
    at = 1 + between
    bridges = [("bridges", n, n + 1) for n in range(1, at)]
    tokens = ["not", *words(between), "pain"]
    found = scope(tokens, [("weak_negators", 0, 1), *bridges], symptoms=((at, at + 1),))
    assert found.status(pain(at)) == ("denied" if between <= REACH + 3 else "counts")
    strange = scope(tokens, [("weak_negators", 0, 1), *bridges[1:]], symptoms=((at, at + 1),))
    assert strange.status(pain(at)) == "counts"


@pytest.mark.parametrize("between", [35, 36])
def test_a_denial_is_looked_for_within_thirty_six_words(between: int) -> None:
    """Each "or" begins a new item, so that no item is too long."""
    tokens = ["no", *["or" if n % 4 == 3 else f"w{n}" for n in range(between)], "pain"]
    at = 1 + between
    found = scope(tokens, [("negators", 0, 1)], symptoms=((at, at + 1),))
    assert found.status(pain(at)) == ("denied" if between == 35 else "counts")


@pytest.mark.parametrize("between", [6, 7])
def test_a_weak_denial_goes_on_in_a_list_that_a_symptom_begins(between: int) -> None:
    """The last item of a list ends after six words, and with it what "not" denies."""
    at = 3 + between
    tokens = ["not", "fever", "or", *words(between), "pain"]
    found = scope(tokens, [("weak_negators", 0, 1)], symptoms=((1, 2), (at, at + 1)))
    assert found.status(pain(at)) == ("denied" if between == 6 else "counts")


@pytest.mark.parametrize("word", ["but", "however", "and"])
def test_a_denial_ends_at_words_that_break(word: str) -> None:
    found = scope(["no", "a", word, "pain"], [("negators", 0, 1)], symptoms=((3, 4),))
    assert found.status(pain(3)) == "counts"
    plain = scope(["no", "a", "b", "pain"], [("negators", 0, 1)], symptoms=((3, 4),))
    assert plain.status(pain(3)) == "denied"
    stopped = scope(
        ["no", "a", "b", "pain"], [("negators", 0, 1), ("stops", 2, 3)], symptoms=((3, 4),)
    )
    assert stopped.status(pain(3)) == "counts"
    first = scope(
        ["no", "b", "a", "pain"], [("negators", 0, 1), ("stops", 1, 2)], symptoms=((3, 4),)
    )
    assert first.status(pain(3)) == "denied"  # what follows the "no" at once ends nothing


def test_nothing_joins_a_second_symptom_to_the_denial() -> None:
    tokens = ["no", "fever", "pain"]
    found = scope(tokens, [("negators", 0, 1)], symptoms=((1, 2), (2, 3)))
    assert found.status(pain(1)) == "denied"
    assert found.status(pain(2)) == "counts"


def test_a_comma_ends_a_denial_unless_an_or_closes_the_list() -> None:
    marks, symptoms = [("negators", 0, 1)], ((1, 2), (2, 3), (4, 5))
    tokens = ["no", "fever", "cough", "or", "pain"]
    listed = scope(tokens, marks, pauses=(2,), symptoms=symptoms)
    assert [listed.status(pain(at)) for at in (1, 2, 4)] == ["denied"] * 3
    tokens = ["no", "fever", "cough", "x", "pain"]
    open_ = scope(tokens, marks, pauses=(2,), symptoms=symptoms)
    assert [open_.status(pain(at)) for at in (1, 2, 4)] == ["denied", "counts", "counts"]


@pytest.mark.parametrize("extra", [0, 1])
def test_an_item_of_a_list_has_so_many_words(extra: int) -> None:
    item = words(ITEM + extra)
    tokens = ["no", *item, "or", *words(ITEM), "pain"]
    pauses = (len(tokens) - 1,)
    found = scope(tokens, [("negators", 0, 1)], pauses=pauses)
    ends = {0: len(tokens) - 1, 1: 0}  # one word more, and it is no list
    assert found._find_list_end(1) == ends[extra]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_words_of_an_item_are_counted_from_its_comma(extra: int) -> None:
    tokens = ["no", "fever", *words(ITEM + extra), "or", "pain"]
    found = scope(tokens, [("negators", 0, 1)], pauses=(2,))
    assert found._find_list_end(1) == (0 if extra else len(tokens))


def test_the_last_item_of_a_list_ends_after_as_many_words() -> None:
    tokens = ["no", "fever", "or", *words(ITEM + 3)]
    assert scope(tokens, [("negators", 0, 1)])._find_list_end(1) == 3 + ITEM + 1


def test_somebody_new_ends_a_list() -> None:
    tokens = ["no", "fever", "or", "cough", "she", "pain"]
    assert scope(tokens, [], pauses=(4,))._find_list_end(1) == 4
    assert scope(["no", "fever", "she", "or", "pain"], [], pauses=(2,))._find_list_end(1) == 0


@pytest.mark.parametrize(
    ("tokens", "pauses", "denied"),
    [
        (["pain", "none"], (), True),
        (["pain", "none", "x"], (2,), True),
        (["pain", "none", "x"], (), False),
        (["pain", "none", "x", "y"], (3,), False),
        (["pain", "x"], (), False),
        (["pain"], (), False),
    ],
)
def test_an_answer_of_one_word_denies(
    tokens: list[str], pauses: tuple[int, ...], denied: bool
) -> None:
    found = scope(tokens, [], pauses=pauses, symptoms=((0, 1),))
    assert (found.status(pain(0)) == "denied") == denied


@pytest.mark.parametrize(("start", "denied"), [(1, True), (3, True), (4, False)])
def test_ruled_out_is_within_four_words_behind(start: int, denied: bool) -> None:
    found = scope(["pain", *words(8)], [("ruled_out", start, start + 2)], symptoms=((0, 1),))
    assert (found.status(pain(0)) == "denied") == (denied and start + 2 <= 5)


@pytest.mark.parametrize("gap", [3, 4])
def test_ruled_out_is_within_five_words_before(gap: int) -> None:
    tokens = ["x", "ruled", "out", *words(gap), "pain"]
    at = 3 + gap
    found = scope(tokens, [("ruled_out", 1, 3)], symptoms=((at, at + 1),))
    assert (found.status(pain(at)) == "denied") == (gap == 3)
    hadnt = scope(["not", *tokens[1:]], [("ruled_out", 1, 3)], symptoms=((at, at + 1),))
    assert hadnt.status(pain(at)) == "counts"


@pytest.mark.parametrize(("reach", "place"), [(0, 1), (NEAR, NEAR), (NEAR + 1, NEAR + 1)])
def test_a_phrase_that_begins_so_far_before_covers_the_token(reach: int, place: int) -> None:
    found = scope(words(NEAR + 3), [("topic_after", 0, NEAR + 3)])
    assert found.is_in("topic_after", place) == (reach <= NEAR)
    assert not found.is_in("lead", place)


def test_a_phrase_that_ends_before_does_not_cover() -> None:
    found = scope(words(4), [("lead", 0, 2)])
    assert [found.is_in("lead", place) for place in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("words_after", [NEAR - 2, NEAR - 1])
def test_what_is_gone_is_looked_for_in_so_many_words(words_after: int) -> None:
    tokens = ["pain", *words(words_after), "has", "gone"]
    at = 1 + words_after
    found = scope(tokens, [("gone", at, at + 2)])
    assert found.is_gone(pain(0)) == (at + 2 <= 1 + NEAR)
    still = scope(tokens, [("gone", at, at + 2), ("not_gone", at, at + 1)])
    assert not still.is_gone(pain(0))


@pytest.mark.parametrize("place", [1, 5, 6])
def test_a_year_at_the_very_beginning_counts_for_the_next_clause(place: int) -> None:
    tokens = [*words(place), "my", "pain"]
    found = scope(tokens, [("past", 0, 1)], pauses=(place,), symptoms=((place + 1, place + 2),))
    assert found.status(pain(place + 1)) == ("past" if place <= 5 else "counts")


@pytest.mark.parametrize("distance", [CLAUSE - 2, CLAUSE - 1])
def test_the_past_is_looked_for_in_so_many_words_behind(distance: int) -> None:
    tokens = ["pain", *words(distance), "years", "ago"]
    at = 1 + distance
    found = scope(tokens, [("past", at, at + 2)], symptoms=((0, 1),))
    assert found.status(pain(0)) == ("past" if at + 2 <= 1 + CLAUSE else "counts")
    assert scope(tokens, [("past", at, at + 2)], recurs=True).status(pain(0)) == "counts"


@pytest.mark.parametrize("distance", [CLAUSE - 1, CLAUSE, CLAUSE + 6])
def test_the_past_is_looked_for_in_so_many_words_before(distance: int) -> None:
    tokens = ["ago", *words(distance - 1), "pain"]
    found = scope(tokens, [("past", 0, 1)], symptoms=((distance, distance + 1),))
    assert found.status(pain(distance)) == ("past" if distance <= CLAUSE else "counts")


def test_the_present_goes_before_the_past() -> None:
    tokens = ["ago", "now", "pain"]
    assert scope(tokens, [("past", 0, 1), ("present", 1, 2)]).status(pain(2)) == "counts"


@pytest.mark.parametrize(
    ("pair", "breaks"),
    [
        (["and", "she"], True),
        (["so", "she"], True),
        (["and", "leg"], False),
        (["or", "she"], False),
        (["i", "have"], True),
        (["i", "had"], False),
        (["but", "x"], True),
    ],
)
def test_a_clause_breaks_where_somebody_new_begins(pair: list[str], breaks: bool) -> None:
    tokens = ["a", "b", "c", "d", "e", "f", "ago", *pair, "pain"]
    found = scope(tokens, [("past", 6, 7)])
    assert found.status(pain(9)) == ("counts" if breaks else "past")


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
def test_a_clause_ends_at_the_first_word_that_breaks(gap: int) -> None:
    behind = scope(["pain", *words(gap), "but", "years", "ago"], [("past", gap + 2, gap + 4)])
    assert behind.status(pain(0)) == "counts"
    before = scope([*words(6), "ago", "but", *words(gap), "pain"], [("past", 6, 7)])
    assert before.status(pain(8 + gap)) == "counts"


def test_the_last_word_of_a_sentence_breaks_nothing() -> None:
    tokens = ["pain", "and"]
    assert scope(tokens, [("past", 1, 2)]).status(pain(0)) == "past"


@pytest.mark.parametrize("gap", [NEAR - 1, NEAR])
def test_a_relative_is_looked_for_in_so_many_words(gap: int) -> None:
    tokens = ["dad", *words(gap), "pain"]
    at = 1 + gap
    marks = [("family", 0, 1), ("family_past", 1, 2), ("past", 2, 3)]
    assert scope(tokens, marks).status(pain(at)) == ("family" if at <= NEAR else "past")
    risk = scope(tokens, marks[:2], about_risk=True)
    assert risk.status(pain(at)) == ("family" if at <= NEAR else "counts")
    assert scope(tokens, marks[:2]).status(pain(at)) == "counts"  # it may be now
    always = scope(tokens, [("family_always", 0, 2)])
    assert always.status(pain(at)) == ("family" if at <= NEAR else "counts")
    now = scope(tokens, [("family_always", 0, 2), ("present", at - 1, at)])
    assert now.status(pain(at)) == "counts"


@pytest.mark.parametrize("said", ["i", "im", "ive"])
def test_the_writer_after_the_relative_is_meant(said: str) -> None:
    marks = [("family", 0, 1), ("family_past", 1, 2)]
    own = scope(["dad", "had", said, "pain"], marks, about_risk=True)
    assert own.status(pain(3)) == "counts"
    last = scope(["i", "dad", "had", "pain"], [("family", 1, 2), ("family_past", 2, 3)],
                 about_risk=True)  # fmt: skip
    assert last.status(pain(3)) == "family"


@pytest.mark.parametrize(("gap", "asked"), [(0, True), (1, True), (2, False)])
def test_prevention_is_asked_of_what_follows_within_a_word(gap: int, asked: bool) -> None:
    tokens = ["prevent", *words(gap), "pain"]
    found = scope(tokens, [("prevention", 0, 1)])
    assert (found.status(pain(1 + gap)) == "question") == asked


def test_a_question_is_general_unless_a_person_is_in_it() -> None:
    tokens = ["is", "pain", "bad", "in", "me"]
    lead = ("lead", 0, 1)
    assert scope(tokens, [lead]).status(pain(1)) == "question"
    assert scope(tokens, [("lead", 1, 2)]).status(pain(1, 3)) == "question"
    assert scope(tokens, [("lead", 2, 3)]).status(pain(1, 3)) == "counts"  # it begins behind
    assert scope(tokens, [lead, ("personal", 4, 5)]).status(pain(1)) == "counts"
    general = [lead, ("personal", 4, 5), ("not_personal", 3, 5)]
    assert scope(tokens, general).status(pain(1)) == "question"
    assert scope(tokens, [("topic_after", 2, 3)]).status(pain(1)) == "question"
    assert scope(tokens, [("topic_after", 3, 4)]).status(pain(1)) == "counts"
    assert scope(tokens, []).status(pain(1)) == "counts"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("not that i dont have pain", "not that i do have pain"),
        ("i am not not well", "i am not so well"),
        ("no it is not that i have no pain", "no it is not that i have some pain"),
        ("not that a b c d no pain", "not that a b c d some pain"),
        ("not that a b c d e no pain", None),
        ("not that it isnt no pain", "not that it is no pain"),
        ("not not well", "not so well"),
        ("i dont have pain", None),
        ("not that i have pain", None),
        ("that is not true", None),
        ("not not", None),
        ("", None),
    ],
)
def test_a_denial_of_a_denial_in_tokens(text: str, plain: str | None) -> None:
    assert undoubled(text.split()) == (plain and plain.split())
