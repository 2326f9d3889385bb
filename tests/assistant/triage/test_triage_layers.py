"""The layers that only raise: measured values, poisoning, self-harm; and what is set aside."""

from __future__ import annotations

import time

import pytest

from galenic.assistant.triage.raising.layers import RAISING
from galenic.assistant.triage.raising.values import thresholds
from galenic.assistant.triage.tiers import Tier, rank
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.babies import baby_months
from galenic.assistant.triage.words.measures import measure
from galenic.assistant.triage.words.numerals import as_digits

BY_RULES = tuple(name for name in RAISING if name != "classifier")


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("thirty-eight point five", "38.5"),
        ("a hundred and two", "102"),
        ("one oh two point four", "102.4"),
        ("one hundred and three", "103"),
        ("five sixty", "five sixty"),
        ("there is none", "there is none"),
    ],
)
def test_number_words(said: str, digits: str) -> None:
    assert as_digits(said) == digits


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("pulse ox says 86 and I have covid", "oxygen", 86),
        ("her sats are down to 89%", "oxygen", 89),
        ("80/40 and I feel faint", "systolic", 80),
        ("blood pressure is 168 over 112", "diastolic", 112),
        ("resting pulse 190", "pulse", 190),
        ("HR 38", "pulse", 38),
        ("he breathes 62 times a minute", "breathing", 62),
        ("temp one oh three", "temperature", pytest.approx(39.44, abs=0.01)),
        ("day 9, 100.9F", "temperature", pytest.approx(38.28, abs=0.01)),
        ("38,9 °C", "temperature", 38.9),
        ("sugar 41 mg/dl", "glucose", pytest.approx(2.28, abs=0.01)),
        ("blood glucose of 29.4", "glucose", 29.4),
        ("potassium 6.9 on my portal", "potassium", 6.9),
        ("haemoglobin of 6.2", "haemoglobin", 62),
        ("INR was 8.4", "inr", 8.4),
        ("my A1c is 53 mmol/mol", "hba1c", pytest.approx(7.0, abs=0.05)),
        ("lithium level 2.1", "lithium", 2.1),
    ],
)
def test_values_are_read(text: str, kind: str, value: float) -> None:
    assert (kind, value) in [(one.kind, one.value) for one in measure(text)]


@pytest.mark.parametrize(
    "text",
    [
        "I weigh 38.5 kg", "c section at 39 weeks", "58M with pain for 40/60", "29F, well", "24/7",
        "I am 40 today", "two sugars in my tea", "30 sertraline 50 mg",
        "my oxygen bar was 12 pounds",
        "the pressure of 40 years of work", "it hit 220/120 in 2017",
    ],
)  # fmt: skip
def test_other_numbers_are_no_values(text: str) -> None:
    assert measure(text) == []


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("pulse ox says 86 and I have covid", "emergency"),
        ("sats 93 with a cough", "today"),
        ("80/40 and I feel faint", "emergency"),
        ("my 7 week old is 38.3", "emergency"),
        ("10 wks. 38.6. feeding ok", "emergency"),
        ("he is twelve weeks old and 37.6", "unknown"),
        ("potassium 6.9 on my portal", "emergency"),
        ("potassium 6.2 on my portal", "today"),
        ("resting pulse 190", "emergency"),
        ("pulse was 185 on the treadmill", "days"),
        ("on FOLFOX chemo, day 9, 100.9F", "emergency"),
        ("home reading 186/104, I feel fine", "today"),
        ("186/124 and blurred vision", "emergency"),
        ("34 weeks pregnant and 162/100", "emergency"),
        ("glucose 1.9", "emergency"),
        ("INR 6.1, no bleeding", "today"),
    ],
)
def test_thresholds(text: str, tier: Tier) -> None:
    assert triage(text, layers=BY_RULES).tier == tier


def test_thresholds_are_sourced_and_reachable() -> None:
    file = thresholds()
    used = {band.source for bands in file.values.values() for band in bands}
    assert used == set(file.sources)
    for kind, bands in file.values.items():
        for band in bands:
            assert band.at_least is not None or band.at_most is not None, kind


def test_ages_of_babies_in_short() -> None:
    assert baby_months("10 wks. 39.1") == [pytest.approx(2.3)]
    assert baby_months("12/52 feeding well") == [pytest.approx(2.76)]
    assert baby_months("5 months, 38.6, she is grizzly") == [5.0]
    assert baby_months("I'm 12 weeks pregnant") == []
    assert baby_months("he has had a cough for 3 weeks") == []


@pytest.mark.parametrize(
    "text",
    [
        "I took 30 sertraline", "swallowed about 20 paracetamol an hour ago",
        "my toddler got into grandma's amlodipine and ate one", "he drank some drain cleaner",
        "took the whole packet of ibuprofen", "I have taken 9 grams of paracetamol since noon",
        "injected 40 units of novorapid instead of lantus by mistake",
    ],
)  # fmt: skip
def test_poisoning(text: str) -> None:
    assert triage(text).tier == "emergency", text
    assert "poisoning" in {finding.layer for finding in triage(text).findings}


@pytest.mark.parametrize(
    "text",
    [
        "I take 2 paracetamol for my headache", "Took one multivitamin this morning",
        "Can I take ibuprofen with amoxicillin?", "I was prescribed 30 tablets of sertraline",
        "How does a hospital treat a paracetamol overdose? I am a nursing student",
    ],
)  # fmt: skip
def test_medicines_that_are_no_poisoning(text: str) -> None:
    assert rank(triage(text, layers=BY_RULES).tier) < rank("today"), text


@pytest.mark.parametrize(
    "text",
    [
        "I want to kill myself", "how many paracetamol would kill me",
        "I've been saving up my tablets", "everyone would be better off if I was gone",
        "I don't want to be here anymore",
        "I've written the letters and by the weekend it will be over",
        "my friend texted goodbye and isn't picking up", "what is the lethal dose of amitriptyline",
        "I wish I could fall asleep and never wake up", "there is no point in going on living",
        "I was going to end my life last night. Forget it, I was only joking.",
        "he keeps saying he wants to die", "I can't keep myself safe tonight",
        "cut my wrists on purpose", "nobody would even miss me if I died",
    ],
)  # fmt: skip
def test_cries_for_help(text: str) -> None:
    assert triage(text).tier == "emergency", text
    assert "self-harm" in {finding.layer for finding in triage(text).findings}


@pytest.mark.parametrize(
    "text",
    [
        "I'm dying to try the new diet", "These shoes are killing me", "my phone died again",
        "I nearly died laughing at that film", "she will kill me if I am late for dinner",
        "I attempted suicide in 2004. I'm well now and it is for my travel insurance form.",
        "he is not suicidal, only bored",
        "we ran suicide sprints at training, what stretches help?",
    ],
)  # fmt: skip
def test_figures_of_speech(text: str) -> None:
    assert triage(text).tier != "emergency", text
    assert "self-harm" not in {finding.layer for finding in triage(text).findings}


@pytest.mark.parametrize(
    "text",
    [
        "Is chest pain always serious?", "Is this mushroom toxic?", "How common are strokes at 30?",
        "For a novel: what happens when a character drowns?", "Do iron tablets turn stools black?",
        "Discharge summary of 12 March 2014: acute chest pain.\nNow I have a runny nose.",
    ],
)  # fmt: skip
def test_nobody_is_ill_now(text: str) -> None:
    assert rank(triage(text).tier) < rank("today"), text


@pytest.mark.parametrize(
    "text",
    [
        "Is chest pain always serious? I have it now.", "What causes my chest pain?",
        "How common are strokes at 30? My face is drooping.", "lol I cannot breathe",
        "Letter of 12 March 2014: runny nose.\nNow I have crushing chest pain.",
        "My novel is late and since this morning my chest is crushing",
    ],
)  # fmt: skip
def test_a_question_beside_an_emergency_does_not_hide_it(text: str) -> None:
    assert triage(text).tier == "emergency", text


def test_layers_can_be_left_out_and_only_raise() -> None:
    text = "resting pulse 190"
    assert triage(text, layers=()).tier == "days"
    assert triage(text, layers=("values",)).tier == "emergency"
    assert {f.layer for f in triage(text).findings} <= {*RAISING, "concepts", "questions"}


@pytest.mark.slow
def test_time_grows_with_the_length() -> None:
    def seconds(length: int) -> float:
        text = "I took 2 paracetamol for my sore back, temp 37.2, no point in worrying. " * length
        began = time.process_time()
        triage(text)
        return time.process_time() - began

    seconds(20)
    assert seconds(800) < 8 * max(0.02, seconds(200))


@pytest.mark.slow
@pytest.mark.parametrize("piece", [".", ",", " ", "1", "/", "1.", "1, "])
def test_a_long_run_of_signs_is_read_quickly(piece: str) -> None:
    """Where parts of a pattern could share the signs, 40,000 of them take minutes."""
    began = time.process_time()
    triage(piece * (40_000 // len(piece)))
    assert time.process_time() - began < 15


@pytest.mark.parametrize(
    "text", ["goin to hnag myslef", "im gona kil mysefl", "he wants to hrut himslef"]
)
def test_the_words_for_harming_oneself_are_known_misspelt(text: str) -> None:
    assert triage(text, layers=("self-harm",)).tier == "emergency"
