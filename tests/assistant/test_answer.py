"""Sentences, what they are worth, and where they are from; against loops and by properties."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo import EchoRuntime
from galenic.assistant.answer.appointment import to_watch
from galenic.assistant.answer.entail import entails, refusal
from galenic.assistant.answer.pages import of_own, of_pages
from galenic.assistant.answer.sentences import (
    SentenceCutter,
    cut_sentences,
    plain,
    whole_sentences,
)
from galenic.assistant.answer.support import stems, wanted
from galenic.assistant.answer.write import write_answer
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.retrieval.retrieve import Passage, Snippet

if TYPE_CHECKING:
    from galenic.models.encoders.entailment import EntailmentModel

DATA = Path(__file__).parent / "data"
TEXT = st.text(alphabet="abAB .!?:;-\n(1", max_size=80)


def passage(text: str, title: str = "", question: str = "") -> Passage:
    return Passage(
        "id", text, Snippet(text, ()), title, question, "c", "d", "p", "s", "l", "", "http://x", 1.0
    )


# Sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there!", ["One is here.", "Two is there!"]),
        ("Dr. Li of the U.S. Army. He knows.", ["Dr. Li of the U.S. Army.", "He knows."]),
        ("Some, e.g. Fever, pass. All do.", ["Some, e.g. Fever, pass.", "All do."]),
        ("A dose of 2.5 mg. Then rest.", ["A dose of 2.5 mg.", "Then rest."]),
        ("You may have - pain - fever. Call.", ["You may have - pain - fever.", "Call."]),
        ("It ends. - Symptoms may be: - pain", ["It ends.", "- Symptoms may be: - pain"]),
        ("A line\nand another", ["A line", "and another"]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences_end_where_they_end(text: str, sentences: list[str]) -> None:
    assert cut_sentences(text) == sentences


@given(TEXT)
def test_no_word_is_lost_or_made(text: str) -> None:
    assert " ".join(cut_sentences(text)).split() == text.split()


@given(TEXT, st.lists(st.integers(0, 80), max_size=6))
def test_pieces_give_the_sentences_of_the_whole(text: str, cuts: list[int]) -> None:
    cutter = SentenceCutter()
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    found = [one for a, b in pairwise(at) for one in cutter.add(text[a:b])]
    assert [*found, *cutter.rest()] == cut_sentences(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Signs include:\n- fever\n- chills.",
            ["Signs include:\n- fever\n- chills."],
        ),  # a list stays one
        ("Signs include:\nfever\nchills", []),  # no marks: where it ends nobody knows
        ("You may have - Pain - Fever", []),  # a list run into a line
        ("It is caused by germs [12].", ["It is caused by germs."]),
        ("Is it caused by germs? It is.", []),
        (
            "Metformin is for those who are younger than 60 and have",
            [],
        ),  # broken off: not completed
        ("and so it goes on.", []),
        ("Germs cause it.\nCauses\nWater helps many.", ["Germs cause it.", "Water helps many."]),
        (f"Long {'word ' * 70}.", []),
    ],
)
def test_only_whole_sentences_and_lists_are_shown(text: str, shown: list[str]) -> None:
    assert whole_sentences(text) == shown


@given(TEXT)
def test_every_shown_sentence_stands_whole_in_its_text(text: str) -> None:
    for sentence in whole_sentences(text):
        assert plain(sentence) in plain(text)


# Support


def test_weights_and_share_by_hand() -> None:
    having = {"zorbs": 9, "quax": 0}
    want = wanted("My zorbs and the quax, please", lambda phrase: having[phrase], 19)
    zorb, quax = math.log(1 + 10.5 / 9.5), math.log(1 + 19.5 / 0.5)
    assert want.weights == pytest.approx({("zorb",): zorb, ("quax",): quax})
    assert want.total == pytest.approx(zorb + quax)
    assert want.share([stems("a zorb")]) == pytest.approx(zorb / (zorb + quax))
    assert want.share([["zorb"], ["quax"]]) == pytest.approx(1)
    assert want.share([stems("nothing of it")]) == 0


def test_words_of_medicine_count_as_what_was_said() -> None:
    want = wanted("it burns when I pee", lambda _: 5, 100)
    assert want.share([stems("Dysuria is common.")]) == pytest.approx(1)
    assert 0 < want.share([stems("Burning skin")]) < 1
    assert wanted("please help me today doctor", lambda _: 1, 9).share([stems("doctor")]) == 0


# Pages


def test_a_page_needs_its_whole_title_and_what_was_asked() -> None:
    zorb = passage(
        "Zorb is a fever of frops. It lasts a week.", "Zorb fever", "What is Zorb fever ?"
    )
    other = passage("Fever is heat.", "Fever of quax", "What is Fever of quax ?")
    question = "What is zorb fever?"
    want = wanted(question, lambda _: 1, 10)
    found = of_pages(question, (), want, [other, zorb])
    assert [one.text for one in found] == ["Zorb is a fever of frops.", "It lasts a week."]
    assert {one.passage for one in found} == {zorb}
    assert of_pages("What is fever?", (), wanted("What is fever?", lambda _: 1, 10), [zorb]) == []


def test_a_leaflet_gives_the_one_sentence_that_was_asked_for() -> None:
    leaflet = passage("We are near the park. Our clinic opens at eight on weekdays.", "Leaflet")
    knee = passage(
        "Rest the knee for two days after the injection. Do not swim for five days.",
        "After your knee injection",
    )
    swim = wanted("When can I swim after my knee injection?", lambda _: 1, 10)
    assert [one.text for one in of_own(swim, [knee])] == ["Do not swim for five days."]
    want = wanted("When does our clinic open?", lambda _: 1, 10)
    assert [one.text for one in of_own(want, [leaflet])] == [
        "Our clinic opens at eight on weekdays."
    ]
    surgery = passage("Welcome to our surgery. The surgery is open from eight.", "Leaflet")
    assert [one.text for one in of_own(want, [surgery])] == ["The surgery is open from eight."]


# What a model may write


@pytest.mark.parametrize(
    ("source", "claim", "holds"),
    [
        ("Rest helps a sprain.", "Rest helps a sprain.", True),
        ("Fever is usually caused by germs.", "Germs usually cause fever.", True),
        ("Do not drink alcohol with metformin.", "Drink alcohol with metformin.", False),
        ("Colds last 7 days.", "Colds last 9 days.", False),
        ("Rest may help a sprain.", "Rest always helps a sprain.", False),
        ("Call a doctor if the rash spreads.", "Call a doctor if the rash is dry.", False),
        ("Rest helps a sprain.", "Rest helps a sprain and a burn.", False),
        (
            "A sprain is of a ligament, while a strain is of a muscle.",
            "A strain is of a ligament.",
            False,
        ),
    ],
)
def test_what_a_sentence_entails(source: str, claim: str, holds: bool) -> None:
    assert entails(source, claim) is holds


def test_no_altered_claim_of_the_test_set_passes() -> None:
    rows = [json.loads(line) for line in (DATA / "claims.jsonl").read_text("utf-8").splitlines()]
    altered = [row for row in rows if row["label"] != "entailed"]
    assert len(altered) == 200
    assert [row["id"] for row in altered if entails(row["source"], row["claim"])] == []
    same = {row["source"] for row in rows}
    assert sum(entails(source, source) for source in same) >= 0.9 * len(same)


def test_leaving_out_a_qualifier_or_turning_a_relation_round_is_refused() -> None:
    text = (DATA / "development/claims.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    passed = [row["label"] for row in rows if entails(row["source"], row["claim"])]
    assert set(passed) == {"entailed"}
    assert len(passed) >= 15  # passives, fronted clauses, single clauses


def test_a_small_word_that_is_changed_or_moved_is_refused_and_a_restatement_is_not() -> None:
    text = (DATA / "development/claims_near.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    passed = [row for row in rows if entails(row["source"], row["claim"])]
    assert len(rows) == 224
    assert [row for row in passed if row["label"] == "altered"] == []
    assert len(passed) >= 29  # of 45


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("A cut causes pain and swelling.", True),
        ("A cut causes swelling.", True),
        ("Swelling is caused by a cut.", True),
        ("Pain causes a cut.", False),
        ("A cut causes pain and fever.", False),
    ],
)
def test_items_of_a_list_may_be_left_out(claim: str, holds: bool) -> None:
    assert entails("A cut causes pain, swelling and bleeding.", claim) is holds


def test_safety_in_pregnancy_and_the_like_is_never_claimed() -> None:
    assert refusal("Is it safe to take ibuprofen while pregnant?", "Yes, ibuprofen is safe.")
    assert refusal("Can my baby have it?", "It may be given.")
    assert not refusal("Does rest help a sprain?", "Rest is fine.")


def test_a_model_shows_only_what_is_entailed_or_nothing() -> None:
    sources = [("Germs often cause a UTI.", (passage("a"),)), ("Water helps.", (passage("b"),))]
    runtime = EchoRuntime(answer="Germs often cause a UTI. The moon is made of cheese.")
    written = write_answer(runtime, "why", sources)
    assert written.said == [sources[0]]
    assert written.note == ""
    runtime = EchoRuntime(answer="Cheese is good. Tea is good. Water helps.")
    assert write_answer(runtime, "why", sources).said == []
    assert write_answer(runtime, "why", sources).note


def test_numbers_before_sentences_do_not_count() -> None:
    sources = [("Germs often cause a UTI.", (passage("a"),)), ("Water helps.", (passage("b"),))]
    runtime = EchoRuntime(answer="1. Germs often cause a UTI.\n2. It is blue.\n3.\n4.")
    assert write_answer(runtime, "why", sources).said == [sources[0]]
    runtime = EchoRuntime(answer="Sentence 2: Water helps.")
    assert write_answer(runtime, "why", sources).said == [sources[1]]


class Judge:
    """Supports what has "thirst", contradicts what has "cheese"."""

    def judge(self, source: str, claim: str) -> tuple[float, float]:
        return float("thirst" in claim), float("cheese" in claim)


def test_a_model_for_entailment_adds_paraphrases_and_overrules() -> None:
    sources = [("Water helps.", (passage("a"),)), ("Eat cheese.", (passage("b"),))]
    runtime = EchoRuntime(answer="It quells thirst. Eat cheese. It is wet and blue.")
    judged = write_answer(runtime, "why", sources, judge=cast("EntailmentModel", Judge()))
    assert judged.said == []  # one of three is too few
    runtime = EchoRuntime(answer="It quells thirst. Eat cheese.")
    assert write_answer(runtime, "why", sources).said == [sources[1]]
    judged = write_answer(runtime, "why", sources, judge=cast("EntailmentModel", Judge()))
    assert [text for text, _ in judged.said] == ["It quells thirst."]
    runtime = EchoRuntime(answer="It quells thirst in 3 days.")
    judged = write_answer(runtime, "why", sources, judge=cast("EntailmentModel", Judge()))
    assert judged.said == []  # a number that no source has


# Watching


@pytest.mark.parametrize("text", ["burning when I pee", "I have a headache", "a cough", "zorb"])
def test_what_to_watch_for_is_more_urgent(text: str) -> None:
    found = triage(text)
    reasons = {rule.reason: rule for rule in _rules()}
    watched = [sentence for sentence, _ in to_watch(found)]
    for sentence in watched[:-1]:
        tier, _, reason = sentence.partition(": ")
        assert rank(reasons[reason].tier) > rank(found.tier)
        assert tier in ("Emergency", "The same day", "Soon")
    assert "emergency number" in watched[-1]
    if "pee" in text:
        assert any("flank" in sentence for sentence in watched)


def _rules() -> list:  # type: ignore[type-arg]
    from galenic.assistant.triage.rules import prepared

    return prepared().rules.rules


def test_rules_of_ones_own_are_watched(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "sources: {here: {name: N, url: 'https://example.org'}}\n"
        "concepts: {spots: {say: [green spots]}, fever: {say: [fever]}}\n"
        "rules:\n"
        "- {id: a, tier: days, all_of: [spots], reason: R1., do: D., source: here}\n"
        "- {id: b, tier: today, all_of: [spots, fever], reason: R2., do: D., source: here}\n"
    )
    found = triage("green spots", rules)
    assert next(iter(to_watch(found, rules)))[0] == "The same day: R2."
