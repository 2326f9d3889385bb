"""A teacher's answers: those of transformers' own greedy generation, each computed once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from galenic.data.calibration import QuestionAnswer
from galenic.errors import UserError
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.training.distill.answers import (
    STOP,
    AnswerBook,
    TeacherAnswer,
    answer_all,
    continue_greedily,
)
from galenic.training.distill.sequence import choose_prompts, learn_answers
from galenic.training.sources import TrainingSet
from tiny_hf import write_tiny_hf

PROMPTS = ["Question: the patient?\nAnswer:", "Question: why of the and?\nAnswer:", "no", "yes and"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_answers_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    """Alone and unpadded, token by token, against ours together and padded."""
    folder = write_tiny_hf(tmp_path / family, family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = TextEncoder(folder, "folder")
    found = continue_greedily(model, encoder, PROMPTS, 12)
    ends = {tokenizer.eos_token_id}
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        wanted: list[int] = []
        while len(wanted) < 12 and not (wanted and wanted[-1] in ends):
            with torch.no_grad():
                wanted.append(int(model(ids).logits[0, -1].argmax()))
            ids = torch.cat([ids, torch.tensor([[wanted[-1]]])], dim=1)
        text = tokenizer.decode(wanted, skip_special_tokens=True).partition(STOP)
        assert answer.text == text[0].strip()
        assert answer.finished == bool(wanted[-1] in ends or text[1])


def test_an_answer_ends_where_the_next_question_begins(tmp_path: Path) -> None:
    """A model that says ``\\nQuestion: the`` over and over."""
    folder = write_tiny_hf(tmp_path / "m", "qwen2")
    encoder = TextEncoder(folder, "folder")

    class Parrot:
        config = AutoModelForCausalLM.from_pretrained(folder).config
        generation_config = AutoModelForCausalLM.from_pretrained(folder).generation_config

        def generate(self, ids: torch.Tensor, **_: object) -> torch.Tensor:
            [said] = encoder.encode_batch([" yes\nQuestion: the"])
            return torch.cat([ids, torch.tensor([said])], dim=1)

    [answer] = continue_greedily(Parrot(), encoder, ["no"], 20)
    assert answer == TeacherAnswer("yes", True)


def test_a_prompt_too_long_for_the_teacher_is_an_error(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    longest = model.config.max_position_embeddings
    with pytest.raises(UserError, match="Lower --answer-tokens"):
        continue_greedily(model, TextEncoder(folder, "folder"), ["no"], longest)


def test_answers_are_given_once_and_kept(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(prompts: object) -> list[TeacherAnswer]:
        asked.extend(prompts)  # type: ignore[call-overload]
        if len(asked) > 4:
            raise KeyboardInterrupt
        return [TeacherAnswer(prompt.upper(), finished=True) for prompt in prompts]  # type: ignore[attr-defined]

    path, prompts = tmp_path / "answers.jsonl", ["ccc", "a", "bb", "a", "dddd", "eeeee"]
    book = AnswerBook(path, "t", 9)
    with pytest.raises(KeyboardInterrupt):
        answer_all(book, prompts, answer, 2, lambda _: None)
    assert asked == ["a", "bb", "ccc", "dddd", "eeeee"]
    with path.open("a") as handle:
        handle.write('{"id": "half a li')  # killed while it wrote
    again = AnswerBook(path, "t", 9)
    assert again.missing(prompts) == ["eeeee"]
    assert again.get("bb") == TeacherAnswer("BB", finished=True)
    again.add(["eeeee"], [TeacherAnswer("", finished=False)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 6
    assert rows[-1]["prompt"] == "eeeee"
    with pytest.raises(UserError, match="another teacher or another --answer-tokens"):
        AnswerBook(path, "t", 10)
    for text in ("my thesis\n", "[" * 9999 + "\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="holds no answers of a teacher"):
            AnswerBook(path, "t", 9)


def test_only_the_answer_is_learnt_and_its_end_if_it_has_one(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    encoder = TextEncoder(folder, "folder")
    answers = [
        TeacherAnswer("yes", True),
        TeacherAnswer("no the", False),
        TeacherAnswer("", True),
        TeacherAnswer("of", True),
    ]
    items = learn_answers(PROMPTS, answers, encoder, 40)
    decode = encoder.tokenizer.decode
    learnt = [decode(item.tokens[item.start :]) for item in items]
    assert learnt == [" yes<|im_end|>", " no the", " of<|im_end|>"]
    assert decode(items[0].tokens[: items[0].start]).endswith("Answer:")
    assert items[0].tokens[: len(encoder.start)] == tuple(encoder.start)


def test_prompts_are_chosen_once_each() -> None:
    def pair(number: int) -> QuestionAnswer:
        return QuestionAnswer(
            f"p{number}", ("d", str(number)), "t", f"What is {number % 20}?", "It."
        )

    rows = tuple(pair(number) for number in range(30))
    one = TrainingSet("medquad", "pairs", rows, rows[:7], None, 1.0, "")
    train = choose_prompts([one, one], 15, 3, heldout=False)
    assert len(train) == 15
    assert train == choose_prompts([one, one], 15, 3, heldout=False)
    assert train != choose_prompts([one, one], 15, 4, heldout=False)
    assert set(train) < {f"Question: What is {number}?\nAnswer:" for number in range(20)}
    assert len(choose_prompts([one], 5, 3, heldout=True)) == 5
    assert len(set(choose_prompts([one], 99, 3, heldout=False))) == 20
