"""A medicine that nothing here covers is known for one, and the reader is told who can answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.assistant.answer.unknown_medicines import names_medicine, unknown_medicines
from galenic.assistant.pipeline import Assistant, Reply, collect, make_question

UNUSUAL = {
    "is vedolizumab safe with a flu jab?": "vedolizumab",
    "can I have riluzole and drink tea": "riluzole",
    "is it ok to take deferasirox with vitamin C": "deferasirox",
    "how should nintedanib be stored": "nintedanib",
    "my mum was given sacubitril, what is it": "",
    "is tolvaptan bad for the liver": "tolvaptan",
    "can I use bimatoprost drops while pregnant": "bimatoprost",
    "what does eslicarbazepine do": "eslicarbazepine",
    "can I mix prucalopride with senna": "prucalopride",
    "are there side effects of lumacaftor": "lumacaftor",
    "is hydroxycarbamide ok with the flu vaccine": "hydroxycarbamide",
    "can dupilumab be taken with antihistamines": "dupilumab",
    "is pirfenidone safe in the sun": "pirfenidone",
    "does ocrelizumab interact with paracetamol": "ocrelizumab",
    "Can I take tizanidine with ciprofloxacin?": "",
}


@pytest.mark.parametrize("question", UNUSUAL)
def test_it_says_so_and_names_who_can_answer(question: str, tmp_path: Path) -> None:
    reply = _reply(question, tmp_path)
    assert not [one for one in reply.sentences if one.section == "answer"]
    told = " ".join(one.text for one in reply.notes)
    assert "Ask a pharmacist" in told
    assert not UNUSUAL[question] or f"nothing about {UNUSUAL[question]}" in told


def _reply(question: str, folder: Path) -> Reply:
    asked, assistant = make_question(question), Assistant(index=folder / "none.sqlite")
    found = assistant.triage(asked)
    return collect(found, assistant.answer(asked, found))


@pytest.mark.parametrize(
    "text", ["a concept of cholesterol", "the person in this season", "what is gout", "a souvenir"]
)
def test_everyday_words_are_no_medicines(text: str) -> None:
    assert not unknown_medicines(text)
    assert not names_medicine(text)


def test_a_known_medicine_is_not_an_unknown_one() -> None:
    assert not unknown_medicines("omeprazole and atorvastatin")
    assert names_medicine("omeprazole")
