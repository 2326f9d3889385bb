"""Builds the exact prompt of an example: few-shot, chat format, truncation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.errors import UserError
from galenic.evaluation.chat.format import ChatFormat
from galenic.evaluation.scoring.base import Scoring
from galenic.evaluation.scoring.generate import Generate

__all__ = ["MOST_OF_A_TOKEN", "Prompter"]

MOST_OF_A_TOKEN = 64
"""A text with more characters than this per available token is too long without counting."""


@dataclass(frozen=True)
class Prompter:
    """Writes prompts for one benchmark and scoring.

    Attributes:
        benchmark: the benchmark, which formats questions.
        scoring: the scoring method.
        fewshot: solved examples put before every question.
        chat: chat format of the model; None for plain text.
    """

    benchmark: Benchmark
    scoring: Scoring
    fewshot: tuple[Example, ...] = ()
    chat: ChatFormat | None = None

    def text(self, example: Example, *, context: str | None = None) -> str:
        """Return the whole prompt; ``context`` replaces the example's own."""
        if self.chat is None:
            solved = [
                f"{self._ask(shot)}{self.scoring.continuation(shot, shot.answer)}"
                for shot in self.fewshot
            ]
            return "\n\n".join([*solved, self._ask(example, context=context)])
        prefix = self.benchmark.answer_prefix
        messages = []
        for shot in self.fewshot:
            answer = prefix + self.scoring.continuation(shot, shot.answer)
            messages += [_message("user", self._ask(shot)), _message("assistant", answer)]
        messages.append(_message("user", self._ask(example, context=context)))
        rendered = self.chat.render(messages)
        return rendered if self.scoring.generates else rendered + prefix

    def fit(self, example: Example, *, room: int, count: Callable[[str], int]) -> tuple[str, bool]:
        """Return the prompt, truncated to at most ``room`` tokens.

        First the beginning of the context is cut; then the whole context and the beginning of the
        question; last, without a chat template, everything before the answer line. After few-shot
        examples a question is never cut, since it would no longer have their form.

        Returns:
            The prompt, and whether anything was cut.

        Raises:
            UserError: it cannot be made to fit.
        """
        text = self.text(example)
        huge = len(text) > MOST_OF_A_TOKEN * room
        size = f"more than {room}" if huge else count(text)
        if not isinstance(size, str) and size <= room:
            return text, False
        for whole, rest in self._cuts(example):
            if count(rest("")) <= room:
                return _longest(whole, rest, room, count), True
        raise UserError(
            f"{self.benchmark.name} question {example.id} has {size} tokens and {room} fit "
            "into the model's context: too little would be left of it. Use a model with a "
            "longer context"
            + (", fewer few-shot examples" if self.fewshot else "")
            + ", or raise --context-length if you set it."
        )

    def _cuts(self, example: Example) -> Iterator[tuple[str, Callable[[str], str]]]:
        """Yield the texts that may be cut, each with a function from what is kept to the prompt."""
        if example.context:
            yield example.context, lambda kept: self.text(example, context=kept)
        if self.fewshot:
            return
        yield (
            example.question,
            lambda kept: self.text(replace(example, question=kept), context=""),
        )
        if self.chat is None:
            before, _, line = self.text(example, context="").rpartition("\n")
            yield before, lambda kept: f"{kept}\n{line}" if kept else line

    def _ask(self, example: Example, *, context: str | None = None) -> str:
        """Format one question; in a chat the answer prefix belongs to the assistant's turn."""
        if self.scoring.paired:
            return self.benchmark.stem(example, context=context)
        prompt = self.benchmark.prompt(example, context=context)
        if self.scoring.generates and example not in self.fewshot:
            return Generate.instruct(prompt, self.benchmark.answer_prefix, example.options)
        if self.chat is not None:
            return prompt.removesuffix(self.benchmark.answer_prefix).rstrip("\n")
        return prompt


def _longest(whole: str, text: Callable[[str], str], room: int, count: Callable[[str], int]) -> str:
    """Return the prompt with as many words from the end of ``whole`` as fit."""
    words = whole.split(" ")
    low, high = 0, 1  # words kept: low fits, high does not
    while high < len(words) and count(text(_last(words, high))) <= room:
        low, high = high, 2 * high
    high = min(high, len(words))
    while high - low > 1:
        middle = (low + high) // 2
        if count(text(_last(words, middle))) <= room:
            low = middle
        else:
            high = middle
    return text(_last(words, low))


def _last(words: list[str], count: int) -> str:
    return " ".join(words[len(words) - count :])


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
