"""What counts as an answer in a generated text."""

from __future__ import annotations

import time

import pytest

from galenic.evaluation.scoring.generate import Generate
from galenic.evaluation.scoring.parse import parse_answer


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


STATEMENTS = (
    "Answer: {}", "**Answer:** {}", "Answer: **{}**", "Answer: ({})", "### Answer\n{}",
    "Answer - {}", "ANSWER: {}", "The answer is therefore option {}.",
    "The best answer would be {}.",
    "The answer is most likely {}", "Answer: $\\boxed{{{}}}$", "So \\boxed{{\\text{{{}}}}}",
    "Correct option: {}", "The correct choice is {}.", "Option {} is correct.",
    "{} is the right answer.", "I would choose option {}.", "Answer: {} because of the fever",
    "The answer to this question is `{}`",
)  # fmt: skip
WORDS_ONLY = (
    "Answer: {} cells are counted", "The answer is {}-reactive protein", "Answer: {}12 deficiency",
    "Answer: {}. coli", "Answer: not {}", "Answer: {} is wrong", "Answer: {}?", "Answer: {} or A",
    "Answer: {}/A", "Answer: {} and A are possible", "<think>Answer: {}", "Answer: {}.5 mg",
)  # fmt: skip


@pytest.mark.parametrize("label", "BCE")
@pytest.mark.parametrize("form", STATEMENTS)
def test_ways_to_state_an_answer(form: str, label: str) -> None:
    said = form.format(label)
    assert parse_answer(said, "ABCDE") == label
    assert parse_answer(f"<think>Answer: A</think>First I thought (D).\n{said}", "ABCDE") == label
    assert parse_answer(f"{said}\n\nQuestion: And then?\nAnswer: D", "ABCDE") == label


@pytest.mark.parametrize("label", "BCE")
@pytest.mark.parametrize("form", WORDS_ONLY)
def test_a_label_that_is_a_word_or_denied_or_not_alone(form: str, label: str) -> None:
    assert parse_answer(form.format(label), "ABCDE") is None


def test_texts_of_the_options_tell_names_from_answers() -> None:
    bacteria = {"A": "S. aureus", "B": "E. coli", "C": "H. pylori", "D": "metformin", "E": "it"}
    assert parse_answer("Answer: E. coli", bacteria) is None
    assert parse_answer("Answer: D. metformin", bacteria) == "D"
    assert parse_answer("Answer: B E. coli", bacteria) == "B"
    assert parse_answer("Answer: C. they live there", bacteria) == "C"
    assert parse_answer("The answer is Metformin (D).", bacteria) == "D"
    assert parse_answer("Answer: **E. coli** (option B)", bacteria) == "B"
    assert parse_answer("Answer: E. coli (not B)", bacteria) is None
    assert parse_answer("Answer: metformin (B)", bacteria) is None


@pytest.mark.parametrize(
    "said",
    [
        "Option B: Beta blocker",
        "(Option B)",
        "Letter: B",
        "B\nBeta blocker",
        "B - Beta blocker",
        '{"answer": "B"}',
        "Ans. B",
        "__Answer__: B",
        "I'd go with option B.",
        "My final choice is B",
        "The best choice here is B: beta blocker",
        "A is wrong, C is wrong. Therefore B.",
        "Thus B is the most appropriate next step.",
        "The answer is B and C is wrong.",
        "It fits the history, which makes **B** the best option.",
        "The answer is not A; it is B.",
        "We can rule out A, C and D. That leaves B.",
        "A is incorrect. B is correct. C is incorrect.",
        "Step 1: fever.\nStep 2: a cough.\n#### B",
        "B is the answer.",
        "I'm going with B here.",
        "The right answer would therefore be: B",
        "Correct: B",
        "Selected option: B",
        "Answer： B",
        "The most appropriate choice is B.",
        "Therefore, B is correct.",
        "Hence option B.",
        "Therefore: (B).",
        "Answer: b",
        "Answer: B\nExplanation: The answer A is a common mistake.",
        "Answer: B. Explanation: option A is correct only in children.",
        "Final answer → B",
        "✅ B",
        "While A is tempting, the answer is B.",
        "The answer is B rather than A.",
        "A and C are out, so it must be B.",
        "The answer is B. If the answer was A, there would be fever.",
        "The answer is B. Students often think that the answer is A.",
    ],
)
def test_clear_ways_that_models_write(said: str) -> None:
    assert parse_answer(said, "ABCD") == "B"


@pytest.mark.parametrize(
    "said",
    [
        "Vitamin B is the correct answer.",
        "Hepatitis B is the most likely diagnosis.",
        "It is due to lack of iron, therefore not vitamin B.",
        "Option A: Aspirin\nOption B: Beta blocker",
        "A - Aspirin\nB - Beta blocker",
        "A\nB\nC\nD",
        "The patient lacks sunlight. Vitamin D is correct to give.",
        "A is correct. B is correct. Both are.",
        "Statement A is correct. Statement B is not.",
        "Correct: A and C",
        "The most likely cause is A fib",
        "Conclusion: A randomized trial is needed",
        "So a patient must be seen",
        "the answer: it is b",
        "I would not go with B.",
        "Why is the answer B? Nobody knows.",
    ],
)
def test_names_and_lists_are_no_answers(said: str) -> None:
    assert parse_answer(said, "ABCD") is None


def test_words_before_a_dash_or_a_line_of_their_own() -> None:
    words = ("yes", "no", "maybe")
    assert parse_answer("Yes - the results show it", words) == "yes"
    assert parse_answer("no\n\nBecause the trial was small", words) == "no"
    assert parse_answer("Conclusion: yes", words) == "yes"
    assert parse_answer("Decision: no benefit", words) is None


@pytest.mark.parametrize("run", [" ", "\n", "- ", "\n\n- ", "* ", '"'])
def test_long_runs_of_blanks_and_marks_take_no_time(run: str) -> None:
    """Small models often go on like this; 80 blanks once took 20 seconds, 160 hours."""
    begin = time.process_time()
    for head in ("Answer", "Answer:", "The best option", ""):
        assert parse_answer(head + run * 1000 + "nothing", "ABCD") is None
    assert time.process_time() - begin < 8


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The correct answer is not B but C.", "C"),
        ("The answer is not option A, but rather option D.", "D"),
        ("The answer is not B.", None),
        (r"$\fbox{C}$", "C"),
        (r"\[ \boxed{\textbf{(C)}} \]", "C"),
        ("__Answer__: _C_", "C"),
        ("“B”", "B"),
        ("（B）", "B"),
        ('{"answer_idx": "B", "confidence": 0.9}', "B"),
        ('{"reasoning": "A is wrong", "final_answer": "D"}', "D"),
        ('{"answer": null}', None),
        ("Correct answer: c) Paracetamol", "C"),
        ("A: wrong. B: wrong. C: right. D: wrong.", None),
        ("(A): no; (B): yes", None),
        ("B: Ibuprofen", "B"),
        ("<think>A <think>Answer: B</think> or C</think>Answer: D", "D"),
        ("Die richtige Antwort ist B.", "B"),
        ("Die Antwort ist nicht B.", None),
        ("Antwort: **C**", "C"),
        ("Réponse : B", "B"),
        ("La bonne réponse est C.", "C"),
        ("La respuesta correcta es la B.", "B"),
        ("La risposta corretta è C.", "C"),
        ("Respuesta: D o C", None),
        ("Ответ: B", "B"),
        ("答案：B", "B"),
        ("正确答案是 D。", "D"),
        ("答案是B选项，因为", "B"),
        ("正解はC", "C"),
        ("정답은 D", "D"),
    ],
)
def test_more_forms_and_languages(text: str, label: str | None) -> None:
    options = {"A": "Aspirin", "B": "Ibuprofen", "C": "Paracetamol", "D": "None of the above"}
    assert parse_answer(text, options) == label
