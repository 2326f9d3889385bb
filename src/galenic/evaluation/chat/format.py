"""How conversations with one model are written: its template, and what the template is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from galenic.errors import UserError
from galenic.evaluation.chat.render import render_chat
from galenic.limits import one_line
from galenic.runtimes.base import Runtime
from galenic.runtimes.literal import mark_literal

__all__ = ["FIXED_DAY", "ChatFormat", "read_arguments"]

FIXED_DAY = date(2025, 1, 1)
"""For evaluation: templates that print the date give the same prompt every day."""
TAKEN = ("messages", "tools", "documents", "add_generation_prompt")


@dataclass(frozen=True)
class ChatFormat:
    """One rendering for evaluation, the server and written answers.

    Attributes:
        template: Jinja text as model files carry it.
        special: the special tokens that it names, and their texts.
        controls: texts of control tokens; in messages they are plain text.
        adds_start: the tokenizer puts the start token itself, so that the template's own must not
            be there a second time.
        arguments: of the user for the template, such as ``enable_thinking``, as JSON.
        day: what the template takes for today; None = the day on which it is rendered.
    """

    template: str
    special: tuple[tuple[str, str], ...] = ()
    controls: tuple[str, ...] = ()
    adds_start: bool = False
    arguments: str = "{}"
    day: date | None = FIXED_DAY

    @classmethod
    def of(
        cls,
        runtime: Runtime,
        arguments: Mapping[str, Any] | None = None,
        day: date | None = FIXED_DAY,
    ) -> ChatFormat | None:
        """The format of a model; None where it has no template.

        Raises:
            UserError: an argument has a name that the conversation sets.
        """
        if runtime.chat_template is None:
            return None
        special = runtime.special_tokens
        _check_names(arguments or {}, special)
        return cls(
            runtime.chat_template,
            tuple(sorted(special.items())),
            runtime.control_tokens,
            bool(runtime.encode_batch([""])[0]),
            json.dumps(arguments or {}),
            day,
        )

    def render(
        self,
        messages: Sequence[Mapping[str, str]],
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """A conversation as the text that the model is to continue, with one start token at most.

        A system message that the template refuses is put before the first message of the user.

        Args:
            messages: ``role`` and ``content`` each.
            arguments: for this conversation, before those of the format.

        Raises:
            UserError: as `render_chat`, or an argument has a name that the conversation sets.
        """
        special = dict(self.special)
        _check_names(arguments or {}, special)
        names = {**json.loads(self.arguments), **(arguments or {})}
        literal = [
            {**one, "content": mark_literal(one["content"], self.controls)} for one in messages
        ]
        day = self.day or date.today()
        rendered = render_chat(self.template, literal, special, names, day)
        return rendered.removeprefix(special.get("bos_token", "")) if self.adds_start else rendered


def _check_names(arguments: Mapping[str, Any], special: Mapping[str, str]) -> None:
    for name in arguments:
        if name in TAKEN or name in special:
            raise UserError(
                f"the chat template's argument {one_line(name)!r} is set by the conversation; "
                "leave it out"
            )


def read_arguments(text: str) -> dict[str, Any]:
    """Template arguments as they are written on the command line.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        found = error
    if not isinstance(found, dict):
        raise UserError(
            f"--chat-template-kwargs {one_line(text)!r} is no JSON object. Write it like "
            "'{\"enable_thinking\": false}'."
        )
    return found
