"""Sentences, what they are worth, and where they are from; against loops and by properties."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo import EchoRuntime, echo_logprob
from galenic.assistant.answer.appointment import to_ask, to_watch
from galenic.assistant.answer.extract import Choice, choose
from galenic.assistant.answer.order import order, undecided
from galenic.assistant.answer.sentences import SentenceCutter, cut_sentences, trim
from galenic.assistant.answer.support import carried, stems, wanted
from galenic.assistant.answer.write import write_answer
from galenic.assistant.search.retrieve import Passage, Snippet
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage

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
    ("sentence", "shown"),
    [
        ("You may have - Pain when you go - Fever", "You may have: Pain when you go; Fever."),
        ("Signs of it include: - one - two.", "Signs of it include: one; two."),
        ("It is caused by germs [12].", "It is caused by germs."),
        ("Is it caused by germs?", ""),
        ("These are its symptoms:", ""),
        ("fever - pain when you go - chills", ""),  # the rest of a list that began elsewhere
        ("Too short.", ""),
        (f"Long {'word ' * 60}", ""),
    ],
)
def test_what_is_shown_of_a_sentence(sentence: str, shown: str) -> None:
    assert trim(sentence) == shown


@given(TEXT)
def test_trimming_leaves_out_and_adds_no_word(text: str) -> None:
    kept, given_words = stems(trim(text)), iter(stems(text))
    assert all(word in given_words for word in kept)  # in the same order


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


@pytest.mark.parametrize(
    ("sentence", "text", "share"),
    [
        ("Germs cause infections.", "Infections are caused by germs.", 1.0),
        ("Germs cause dreadful infections.", "Infections are caused by germs.", 0.75),
        ("It lasts 10 days.", "It lasts 7 days.", 0.0),  # a number that is not there
        ("It lasts 7 days.", "It lasts 7 days.", 1.0),
        ("And so it is.", "And so it is.", 0.0),  # nothing that counts
    ],
)
def test_what_a_passage_carries(sentence: str, text: str, share: float) -> None:
    assert carried(sentence, text) == pytest.approx(share)


# Choosing and ordering


def test_sentences_are_chosen_by_the_question_and_not_twice() -> None:
    passages = [
        passage("Zorb comes with quax and blim. Cats are not dogs at all.", "Zorb"),
        passage("Zorb comes with quax and blim.", "Zorb again"),
        passage("Only the frop is in this one here.", "Frop"),
    ]
    want = wanted("zorb quax blim", lambda _: 3, 100)
    chosen = choose(want, "zorb quax blim", passages)
    assert chosen[0] == Choice("Zorb comes with quax and blim.", 0, 0, chosen[0].worth)
    assert all("Cats" not in one.text and "frop" not in one.text for one in chosen)
    assert choose(want, "zorb", []) == []


def test_what_is_asked_of_it_counts() -> None:
    texts = ("Zorb is known to many people.", "Zorb is met with rest and water.")
    kinds = ("What is (are) Zorb ?", "What are the treatments for Zorb ?")
    passages = [passage(text, "Zorb", kind) for text, kind in zip(texts, kinds, strict=True)]
    want = wanted("how do I treat zorb", lambda _: 2, 100)
    assert choose(want, "how do I treat zorb", passages)[0].passage == 1


def test_the_model_orders_only_what_words_hold_for_equal() -> None:
    clear = [Choice("One.", 0, 0, 1.0), Choice("Two.", 1, 0, 0.94), Choice("Three.", 2, 0, 0.99)]
    assert undecided(clear) == [clear[:1]]
    near = [Choice("One.", 0, 0, 0.96), Choice("Also.", 0, 1, 0.1), Choice("Two.", 1, 0, 1.0)]
    far = Choice("Far.", 2, 0, 0.5)
    assert undecided([*near, far]) == [near[:2], near[2:]]
    ordered = order(EchoRuntime(), "why so", [*near, far], [near[:2], near[2:]])
    assert ordered[3] == far
    assert sorted(one.passage for one in ordered[:3]) == [0, 0, 1]


def test_the_model_orders_by_the_likelihood_of_the_question() -> None:
    runtime = EchoRuntime()
    chosen = [Choice(f"Sentence number {at} is this.", at // 2, at, 1.0) for at in range(6)]
    ordered = order(runtime, "why  so", chosen, undecided(chosen))
    expected = []
    for at in range(3):
        text = " ".join(one.text for one in chosen if one.passage == at)
        path = [0, *f"{text}\nQuestion:".encode()]
        total = 0.0
        for token in b" why so":
            total += echo_logprob(path, token)
            path.append(token)
        expected.append((-total, at))
    assert [one.passage for one in ordered] == [at for _, at in sorted(expected) for _ in range(2)]
    assert order(runtime, "why", chosen[:2], [chosen[:2]]) == chosen[:2]


def test_what_a_model_writes_is_traced_to_its_passages() -> None:
    said = "Germs cause infections. " * 2 + "It lasts 9 weeks. The moon is made of cheese."
    runtime = EchoRuntime(answer=said)
    passages = [passage("It lasts 9 weeks in all."), passage("Infections are caused by germs.")]
    found = list(write_answer(runtime, "why", passages))
    assert [(one.text, one.passages) for one in found] == [
        ("Germs cause infections.", (1,)),
        ("It lasts 9 weeks.", (0,)),
        ("The moon is made of cheese.", ()),
    ]


# Watching and asking


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


def test_questions_for_the_appointment_without_an_index() -> None:
    assert len(to_ask(None, "")) == 3
    assert "zorb disease" in to_ask(None, "Zorb disease")[0].text
    assert all(one.passage is None for one in to_ask(None, "Zorb disease"))


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
