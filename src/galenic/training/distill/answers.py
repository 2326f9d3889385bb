"""Answers of a teacher by greedy decoding, computed once and stored in a JSON Lines file."""

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
"""Ends an answer: base models tend to continue with a new question."""


@dataclass(frozen=True)
class TeacherAnswer:
    """A teacher's answer.

    Attributes:
        text: the answer without surrounding white space; may be empty.
        finished: False if it was truncated at ``answer_tokens``.
    """

    text: str
    finished: bool


class AnswerBook:
    """A file of answers, looked up by prompt, to which answers are appended as they are computed.

    Args:
        path: path of the JSON Lines file; created if missing.
        teacher: hash of the teacher's weights.
        answer_tokens: maximum number of tokens of an answer.

    Raises:
        UserError: the file holds answers of another teacher or length, or something else.
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
        """Return the stored answer to a prompt; KeyError if there is none."""
        return self.answers[_key(prompt)]

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """Return the prompts that have no answer yet, without duplicates."""
        return [one for one in dict.fromkeys(prompts) if _key(one) not in self.answers]

    def add(self, prompts: Sequence[str], answers: Sequence[TeacherAnswer]) -> None:
        """Append answers to the file."""
        given = list(zip(prompts, answers, strict=True))
        rows = (
            {"id": _key(p), "prompt": p, "answer": one.text, "finished": one.finished}
            for p, one in given
        )
        append_jsonl(self.path, rows)
        self.answers |= {_key(prompt): answer for prompt, answer in given}

    def _read(self) -> None:
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]  # drop an incomplete last line of a killed run
        try:
            head, *rows = [json.loads(line) for line in whole.splitlines()]
            found = {row["id"]: TeacherAnswer(row["answer"], row["finished"]) for row in rows}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
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
    """Compute the answers that are not stored yet, batching prompts of similar length.

    Args:
        book: stores the answers.
        prompts: all prompts; those already answered are skipped.
        answer: function that answers a batch of prompts.
        batch_size: number of prompts per batch.
        advance: called with the number of prompts answered.
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
    """Continue prompts by greedy decoding with the model's ``generate``.

    Args:
        model: a transformers model with its original attention.
        encoder: a `galenic.models.encoders.text_encoder.TextEncoder` of the model.
        prompts: at least one prompt; shorter ones are padded on the left.
        answer_tokens: maximum number of new tokens.

    Raises:
        UserError: a prompt and its answer exceed the model's maximum length.
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
    """Ids of the tokens that end an answer, from tokenizer and generation config."""
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
