"""What a teacher answers, greedily: computed once, kept on disk, line by line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.jsonl import append_jsonl

__all__ = ["AnswerBook", "TeacherAnswer", "continue_greedily"]

STOP = "\nQuestion:"
"""Where a base model begins to ask the next question, its answer is over."""


@dataclass(frozen=True)
class TeacherAnswer:
    """A teacher's answer.

    Attributes:
        text: without the white space around it; may be empty.
        finished: False when ``answer_tokens`` cut it.
    """

    text: str
    finished: bool


class AnswerBook:
    """A file of answers, each known by its prompt. Answers are added as they come.

    Args:
        path: of the file, JSON lines; made when missing.
        teacher: hash of the teacher's weights.
        answer_tokens: most tokens of an answer.

    Raises:
        UserError: the file holds another teacher's answers, or something else.
    """

    def __init__(self, path: Path, teacher: str, answer_tokens: int) -> None:
        self.path = path
        self.answers: dict[str, TeacherAnswer] = {}
        self._head = {"teacher": teacher, "answer_tokens": answer_tokens}
        if path.exists():
            self._read()
        else:
            path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")

    def get(self, prompt: str) -> TeacherAnswer:
        """The answer to a prompt that is known."""
        return self.answers[_key(prompt)]

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """Prompts without an answer, each once."""
        return [one for one in dict.fromkeys(prompts) if _key(one) not in self.answers]

    def add(self, prompts: Sequence[str], answers: Sequence[TeacherAnswer]) -> None:
        """Write answers down."""
        given = list(zip(prompts, answers, strict=True))
        rows = (
            {"id": _key(p), "prompt": p, "answer": one.text, "finished": one.finished}
            for p, one in given
        )
        append_jsonl(self.path, rows)
        self.answers |= {_key(prompt): answer for prompt, answer in given}

    def _read(self) -> None:
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]  # a line behind it was killed while it was written
        try:
            head, *rows = [json.loads(line) for line in whole.splitlines()]
            found = {row["id"]: TeacherAnswer(row["answer"], row["finished"]) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} holds no answers of a teacher ({error}). Give another file with "
                "--answers, or delete it."
            ) from error
        if head != self._head:
            raise UserError(
                f"{self.path} holds answers of another teacher or another --answer-tokens. Give "
                "another file with --answers."
            )
        if len(whole) < len(raw):
            with self.path.open("r+b") as handle:
                handle.truncate(len(whole))
        self.answers = found


def answer_all(
    book: AnswerBook,
    prompts: Sequence[str],
    answer: Callable[[Sequence[str]], list[TeacherAnswer]],
    batch_size: int,
    advance: Callable[[int], None],
) -> None:
    """Let the teacher answer what is not in the book, prompts of like length together.

    Args:
        book: takes the answers as they come.
        prompts: all of them.
        answer: answers some prompts.
        batch_size: how many at once.
        advance: told how many are answered.
    """
    waiting = sorted(book.missing(prompts), key=lambda prompt: (len(prompt), prompt))
    done = len(set(prompts)) - len(waiting)
    for start in range(0, len(waiting), batch_size):
        batch = waiting[start : start + batch_size]
        book.add(batch, answer(batch))
        done += len(batch)
        advance(done)


def continue_greedily(
    model: Any, encoder: Any, prompts: Sequence[str], answer_tokens: int
) -> list[TeacherAnswer]:
    """Continue prompts by the model's own ``generate``, likeliest token after likeliest token.

    Args:
        model: from transformers, with its own attention.
        encoder: a `galenic.models.encoders.text_encoder.TextEncoder` of the model.
        prompts: at least one; shorter ones are padded at their beginning.
        answer_tokens: most new tokens.

    Raises:
        UserError: a prompt and its answer are longer than the model takes.
    """
    import torch

    encoded = encoder.encode_batch(list(prompts))
    width = max(len(ids) for ids in encoded)
    longest = int(model.config.max_position_embeddings)
    if width + answer_tokens > longest:
        raise UserError(
            f"a prompt has {width} tokens, and with --answer-tokens {answer_tokens} that is more "
            f"than the teacher takes: {longest}. Lower --answer-tokens."
        )
    end = _end_tokens(model, encoder)
    padding = end[0] if end else 0
    ids = torch.tensor([[padding] * (width - len(one)) + one for one in encoded])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in encoded])
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=answer_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,
            eos_token_id=end or None,
            pad_token_id=padding,
            stop_strings=[STOP],
            tokenizer=encoder.tokenizer,
        )
    return [_read(row, end, encoder) for row in out[:, width:].tolist()]


def _end_tokens(model: Any, encoder: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's, and those the model names."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return [token for token in dict.fromkeys([*encoder.end, *named]) if token is not None]


def _read(tokens: list[int], end: Sequence[int], encoder: Any) -> TeacherAnswer:
    ends = [place for place, token in enumerate(tokens) if token in end]
    own = tokens[: ends[0]] if ends else tokens
    text = str(encoder.tokenizer.decode(own, skip_special_tokens=True))
    before, stop, _ = text.partition(STOP)
    return TeacherAnswer(before.strip(), bool(ends or stop))


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()
