"""What is guarded in questions and answers."""

from __future__ import annotations

import pytest

from galenic.assistant.triage.guards import of_answer, of_question

QUESTIONS = {
    "Should I double my metformin?": "change-of-dose",
    "How many paracetamol can I take?": "change-of-dose",
    "what dose of ibuprofen for a child": "change-of-dose",
    "is it ok to take 3 ibuprofen at once": "change-of-dose",
    "Can I stop taking my lisinopril?": "stopping",
    "can I come off my antidepressants": "stopping",
    "burning when I pee": None,
    "My pain won't stop": None,
    "Cut on my finger from the knife": None,
    "I take 20 mg of lisinopril and have a cough": None,
}
ANSWERS = {
    "Take 500 mg of amoxicillin three times a day.": "dose",
    "Adults take 2 tablets every 6 hours.": "dose",
    "Increase your dose slowly.": "dose",
    "You should stop taking aspirin now.": "stopping",
    "Stop taking all your medicines.": "stopping",
    "You do not need to see a doctor.": "reassurance",
    "There is nothing to worry about.": "reassurance",
    "Don't call an ambulance.": "reassurance",
    "The lethal dose is 20 tablets.": "self-harm",
    "Do not stop taking your medicine without talking to your doctor.": None,
    "Never stop taking insulin.": None,
    "Your doctor may stop the medicine.": None,
    "In a study participants took 500 mg daily.": None,
    "If you think of suicide, call 988.": None,
    "Stop smoking.": None,
    "Eat 30 grams of fiber per day.": None,
    "Antibiotics are medications that treat UTIs.": None,
    "Most cases get better by themselves.": None,
}


@pytest.mark.parametrize("text", QUESTIONS)
def test_questions(text: str) -> None:
    guard = of_question(text)
    assert (guard and guard.id) == QUESTIONS[text]


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text: str) -> None:
    guard = of_answer(text)
    assert (guard and guard.id) == ANSWERS[text]
    loud = of_answer(text.upper().replace(" ", "  "))  # letters and spaces make no way around it
    assert (loud and loud.id) == ANSWERS[text]
