"""Thoughts that use up their budget are ended, and the answer is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from galenic.evaluation.choice import ANSWER_TOKENS, run_chunk
from galenic.evaluation.plan import Chunk
from galenic.runtimes.base import Generation, Writing

LONG = "first this, then that. " * 40


class Scripted:
    """Writes what it is told, one text after the other."""

    def __init__(self, *texts: tuple[str, bool]) -> None:
        self.texts, self.asked = list(texts), []

    def generate(self, prompt: str, how: Writing) -> Generation:
        self.asked.append((prompt, how.max_tokens))
        text, finished = self.texts.pop(0)
        return Generation(text, 7, finished)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[0] * 5 for _ in texts]


def asked(runtime: Scripted, prompt: str = "Q") -> Any:
    job: Any = SimpleNamespace(
        prompt=prompt,
        benchmark=SimpleNamespace(name="b", answer_prefix="Answer:"),
        example=SimpleNamespace(id="1", answer="B", options={"A": "one", "B": "two"}),
        scoring=SimpleNamespace(name="generate", generates=True),
        truncated=False,
    )
    chunk = Chunk((job,))
    made: Any = runtime
    return run_chunk(made, chunk, debias="none", max_tokens=300, seed=0)


@pytest.mark.parametrize(
    ("prompt", "text"), [("Q", f"<think>{LONG}"), ("Q <think>\n", LONG)], ids=["own", "template"]
)
def test_thoughts_without_an_end_get_one(prompt: str, text: str) -> None:
    runtime = Scripted((text, False), (" B, of course", True))
    [record], work = asked(runtime, prompt)
    assert record.prediction == "B"
    [(first, budget), (second, rest)] = runtime.asked
    assert (first, budget, rest) == (prompt, 300, ANSWER_TOKENS)
    assert second == f"{prompt}{text[:-200]}\n</think>\n\nAnswer:"
    assert record.text is not None
    assert record.text.endswith("</think>\n\nAnswer: B, of course")
    assert work.tokens_computed == 5 + 7 + 7


@pytest.mark.parametrize(
    ("text", "finished"),
    [(LONG, False), (f"<think>{LONG}</think> Answer: B", False), (f"<think>{LONG}", True)],
    ids=["no thoughts", "ended", "stopped by itself"],
)
def test_other_texts_are_left_as_they_are(text: str, finished: bool) -> None:
    runtime = Scripted((text, finished))
    [record], work = asked(runtime)
    assert record.text == text
    assert work.tokens_computed == 5 + 7
