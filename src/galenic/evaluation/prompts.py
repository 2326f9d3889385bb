"""From examples to the exact text a model sees: few-shot, chat format, cutting to fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.errors import UserError
from galenic.evaluation.scoring.base import Scoring
from galenic.evaluation.scoring.generate import Generate
from galenic.runtimes.base import Runtime

__all__ = ["Prompter", "chat_prompt", "render_chat"]


@dataclass(frozen=True)
class Prompter:
    """Writes the text before the answer for one benchmark and scoring.

    Attributes:
        benchmark: how its questions are asked.
        scoring: how they are answered.
        fewshot: solved examples that stand before every question.
        chat: the model's chat template with its special tokens, or None for plain text.
        adds_start: True when the tokenizer puts the start token itself, so that a template's own
            must not stand there a second time.
    """

    benchmark: Benchmark
    scoring: Scoring
    fewshot: tuple[Example, ...] = ()
    chat: tuple[str, tuple[tuple[str, str], ...]] | None = None
    adds_start: bool = False

    def text(self, example: Example, *, context: str | None = None) -> str:
        """The whole text before the continuation; ``context`` replaces the example's own."""
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
        template, special = self.chat
        rendered = render_chat(template, messages, dict(special))
        if self.adds_start:
            rendered = rendered.removeprefix(dict(special).get("bos_token", ""))
        return rendered if self.scoring.generates else rendered + prefix

    def fit(self, example: Example, *, room: int, count: Callable[[str], int]) -> tuple[str, bool]:
        """The text, with the beginning of the context cut until it has at most ``room`` tokens.

        Returns:
            The text and whether anything was cut.

        Raises:
            UserError: it does not fit even without context.
        """
        text = self.text(example)
        size = count(text)
        if size <= room:
            return text, False
        words = (example.context or "").split(" ")
        low, high = 0, len(words)  # words kept from the end: low fits, high does not
        if not example.context or count(self.text(example, context="")) > room:
            raise UserError(
                f"{self.benchmark.name} question {example.id} has {size} tokens and {room} fit "
                "into the model's context. Use a model with a longer context"
                + (", fewer few-shot examples" if self.fewshot else "")
                + ", or raise --context-length if you set it."
            )
        while high - low > 1:
            middle = (low + high) // 2
            kept = " ".join(words[len(words) - middle :])
            if count(self.text(example, context=kept)) <= room:
                low = middle
            else:
                high = middle
        kept = " ".join(words[len(words) - low :]) if low else ""
        return self.text(example, context=kept), True

    def _ask(self, example: Example, *, context: str | None = None) -> str:
        """One question; in chat the answer prefix belongs to the assistant's turn."""
        if self.scoring.paired:
            return self.benchmark.stem(example, context=context)
        prompt = self.benchmark.prompt(example, context=context)
        if self.scoring.generates and example not in self.fewshot:
            return Generate.instruct(prompt, self.benchmark.answer_prefix, example.options)
        if self.chat is not None:
            return prompt.removesuffix(self.benchmark.answer_prefix).rstrip("\n")
        return prompt


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise UserError(f"the model's chat template refuses this conversation: {message}")

    def today(form: str) -> str:
        """A fixed date, so that templates that print one give the same prompt every day."""
        from datetime import date

        return date(2025, 1, 1).strftime(form)

    def as_json(value: Any, **options: Any) -> str:
        """Without the escapes of HTML that Jinja's own filter writes."""
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _generation_marks()],
    )
    environment.filters["tojson"] = as_json
    environment.globals.update(raise_exception=refuse, strftime_now=today)
    return environment.from_string(template)


def _generation_marks() -> Any:
    """``{% generation %}``, which marks what is learnt and writes nothing."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            # a scope, as in transformers: what is set within is not seen outside
            return nodes.Scope(body).set_lineno(line)

    return Generation


def chat_prompt(runtime: Runtime, template: str, messages: Sequence[dict[str, str]]) -> str:
    """A conversation as the text that a runtime is to continue, with one start token at most.

    Args:
        runtime: whose tokenizer may put the start token itself.
        template: its chat template.
        messages: ``role`` and ``content`` each.

    Raises:
        UserError: as `render_chat`.
    """
    special = runtime.special_tokens
    rendered = render_chat(template, messages, special)
    if runtime.encode_batch([""])[0]:
        return rendered.removeprefix(special.get("bos_token", ""))
    return rendered


def render_chat(
    template: str, messages: Sequence[dict[str, str]], special_tokens: dict[str, str]
) -> str:
    """Render a conversation that the assistant is to continue.

    Args:
        template: Jinja text as model files carry it; it runs sandboxed.
        messages: ``role`` and ``content`` each.
        special_tokens: ``bos_token``, ``eos_token`` as the template names them.

    Raises:
        UserError: the template refuses the messages or is broken.
    """
    from jinja2 import TemplateError

    try:
        return str(
            _compiled(template).render(
                messages=list(messages),
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **special_tokens,
            )
        )
    except TemplateError as error:
        raise UserError(
            f"the model's chat template is broken: {error}. Leave --chat-template out."
        ) from error
