"""What counts as an answer in a generated text."""

from __future__ import annotations

import pytest

from galenic.evaluation.scoring.generate import Generate, parse_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: C", "C"),
        ("**Answer:** (B)", "B"),
        ("I think A first. Later: the answer is D.", "D"),
        ("Answer: A\nWait, no.\nAnswer: B", "B"),
        ("C", "C"),
        ("(c)", None),
        (" D. ", "D"),
        ("A patient comes in", None),
        ("Answer: A or B", None),
        ("Answer: Aspirin", None),
        ("The answer is a matter of taste", None),
        ("Answer: F", None),
        ("", None),
        ("A. Sertraline is the first choice.", "A"),
        ("B) because iron is low\nSo it is clear.", "B"),
        ("A. Neostigmine\nB. Dantrolene\nC. Ketamine", None),
        ("A. Neostigmine\nB. Dantrolene\nThe answer is B.", "B"),
        ("no idea, I would say B", None),
    ],
)
def test_letters(text: str, expected: str | None) -> None:
    assert parse_answer(text, "ABCD") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: Yes.", "yes"),
        ("So the answer is maybe", "maybe"),
        ("Yes", "yes"),
        ("No, the trial found no difference.", "no"),
        ("Yes and no", None),
        ("There is no answer", None),
        ("Answer: nobody knows", None),
    ],
)
def test_words(text: str, expected: str | None) -> None:
    assert parse_answer(text, ("yes", "no", "maybe")) == expected


def test_the_instruction_replaces_the_answer_line() -> None:
    text = Generate.instruct("Question: x\nA. 1\nB. 2\nAnswer:", "Answer:", "AB")
    assert text.startswith("Question: x\nA. 1\nB. 2\nThink step by step")
    assert text.endswith("Reasoning:")
    assert "A, B" in text
