"""Who suffers, and is it now? What is asked, told, supposed or long over does not count."""

from __future__ import annotations

import time

import pytest

from galenic.assistant.triage.framing import asides_of
from galenic.assistant.triage.raising.layers import RAISING
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.babies import baby_months
from galenic.assistant.triage.words.shorthand import written_out
from galenic.assistant.triage.words.wording import sentences

BY_RULES = tuple(name for name in RAISING if name != "classifier")


@pytest.mark.parametrize(
    "text",
    [
        "Is this mushroom poisonous?", "Do I need a rabies shot before going to Nepal?",
        "Can you get sepsis from a tattoo?", "What do doctors do first when they suspect sepsis?",
        "If I ever had chest pain at home alone, what should I do first?",
        "what if my son has a seizure at school one day, do they know what to do?",
        "Suppose you cut an artery, how much time have you got?",
        "I write thrillers, how long would my victim take to pass out from blood loss?",
        "Paramedic student here, revising chest pain protocols.",
        "I run a suicide prevention charity and need statistics for our leaflet",
        "My neighbour had a brain bleed last year, amazing recovery. How common is that?",
        "Had my appendix out in 2003, can sepsis come back?",
        "took an overdose when I was 16, I'm 41 now and happy. Must I declare it for insurance?",
        "last winter I had pneumonia with awful chest pain, fully recovered. Just a runny nose.",
        "That gas bill nearly gave me a heart attack, ha. Got a bit of a cold, what helps?",
        "I laughed so hard I nearly passed out", "My daughter is having a fit about broccoli",
        "Is it ok to pass out samples of cough syrup at our fair?",
        "Should I be worried about the stroke risk with the pill?",
        "Is the meningitis vaccine worth it for a fresher?",
        "Bit of a shot in the dark but can you recommend a good vitamin?",
    ],
)  # fmt: skip
def test_nobody_is_ill_now(text: str) -> None:
    assert rank(triage(text, layers=BY_RULES).tier) < rank("today"), text


@pytest.mark.parametrize(
    "text",
    [
        "Silly question but is it normal that my face has dropped on one side since this morning?",
        "What should I do, my father is not breathing?",
        "Is this chest pain serious?", "Should I call an ambulance for crushing chest pain?",
        "Is chest pain always serious? Mine started an hour ago.",
        "As a nurse I know that this is bad: my chest is crushing",
        "My novel is about a nurse. My oximeter says 84.",
        "My oximeter says 84. Probably just wind, lol.",
        "Vomiting blood, lots of it. I watched a film about a hospital last night.",
        "In the film he had a stroke. My mouth is drooping now and my arm is weak.",
        "I had a heart attack in 2018. The same crushing chest pain is back.",
        "I had a heart attack in 2019 and this feels exactly the same",
        "I had a stroke two years ago, it feels identical",
        "Had a stroke ten years ago. My arm's gone weak again, like before.",
        "My neighbour died of sepsis last year. I'm shivering, muddled and my skin is mottled.",
        "What is meningitis? He is hot, hates the light and cannot put his chin down.",
        "What if I am having a heart attack, my chest is tight?",
        "sight went in one eye as if somebody switched it off",
        "Letter of 3 May 2012: discharged.\n\nMy oximeter says 84.",
        "In 2009 I broke my wrist. I took 30 sertraline an hour ago.",
        "In 2009 I broke my wrist. I want to kill myself.",
    ],
)  # fmt: skip
def test_somebody_is(text: str) -> None:
    assert triage(text, layers=BY_RULES).tier == "emergency", text


@pytest.mark.parametrize(
    ("text", "emergency"),
    [
        ("It's not that my chest isn't hurting", True),
        ("I can't say I don't have chest pain", True),
        ("I'm not not having chest pains", True),
        ("It isn't true that I'm not short of breath, I'm gasping", True),
        ("I wouldn't say he isn't confused, his speech is slurred", True),
        ("I don't have chest pain", False),
        ("I can't say I have chest pain", True),  # in doubt it counts
    ],
)
def test_denials_of_denials(text: str, emergency: bool) -> None:
    assert (triage(text, layers=()).tier == "emergency") == emergency


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("62M CP, diaphoretic", "62M chest pain, sweating clammy"),
        ("My son has CP", "My son has CP"),  # cerebral palsy
        ("ha, that's funny", "ha, that's funny"),
        ("BRBPR x3, hx CVA", "bright red blood lots of blood from bottom x3, hx stroke"),
        ("Hematemesis", "vomiting blood"),
    ],
)
def test_shorthand_is_written_out(text: str, words: str) -> None:
    assert written_out(text) == words


@pytest.mark.parametrize(
    ("text", "months"),
    [
        ("baby born last Wednesday, 100.9", 0.25), ("he was born a month ago and is hot", 1.0),
        ("born a fortnight ago", None), ("she turned 5 weeks on Sunday", 1.15),
        ("a baby who's not even a month", 0.9), ("my daughter of five weeks is 38.4", 1.15),
        ("39 degrees, 2 months", 2.0), ("my cough is two months old", None),
        ("a temperature for 3 days", None), ("born in 1960, fever for 2 days", None),
    ],
)  # fmt: skip
def test_ages_of_babies(text: str, months: float | None) -> None:
    found = baby_months(text)
    assert (found[0] if found else None) == (months and pytest.approx(months, abs=0.02))


@pytest.mark.parametrize(
    "text",
    [
        "Do people always turn blue when they can't breathe?",
        "Why do adults keep choking on steak?",
        'The leaflet says "call for help if you have difficulty breathing". Is that usual?',
        "The consent form mentions a stroke. I have not started the treatment yet. Is it rare?",
        "The mare has colic and is sweating, the vet comes in an hour",
        "Our terrier swallowed a bone and is choking",
        "The drama group needs a poisoning scene, how do we stage the collapse?",
        "My brain is exploding with ideas, which vitamins are good?",
    ],
)
def test_nobody_is_ill_here(text: str) -> None:
    assert triage(text, layers=()).tier in ("unknown", "self-care")


@pytest.mark.parametrize(
    "text",
    [
        "Is a stiff neck with fever dangerous? Mine has both.",
        "Do people turn blue when they can't breathe? Because my dad is blue.",
        "The leaflet says call if you have crushing chest pain, and I have it",
        "The vet says the dog is fine, but I collapsed and my chest hurts",
        "The hospital wrote in 2012 that I had a heart attack, and now it is back",
        "lol just curious, her face has dropped on one side and she can't lift her arm",
        "funny story lol, I drank antifreeze",
        "My head is exploding, it came in a second, the worst headache ever",
    ],
)
def test_what_is_claimed_beside_it_counts(text: str) -> None:
    assert triage(text, layers=()).tier == "emergency"


def test_time_grows_with_the_number_of_sentences() -> None:
    def seconds(number: int) -> float:
        read = sentences("a?\n" * number)
        began = time.process_time()
        asides_of("", read, [()] * number, [False] * number)
        return time.process_time() - began

    seconds(10)
    assert seconds(16_000) < 8 * max(0.03, seconds(4_000))
