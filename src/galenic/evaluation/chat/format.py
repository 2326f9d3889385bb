"""The chat format of a model: its template and the template's arguments."""

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
"""Date used in evaluation, so that templates that print the date give the same prompt every day."""
TAKEN = ("messages", "tools", "documents", "add_generation_prompt")


@dataclass(frozen=True)
class ChatFormat:
    """Renders conversations; shared by evaluation, the server and written answers.

    Attributes:
        template: Jinja source as stored in model files.
        special: texts of the special tokens that the template may use, by name.
        controls: texts of control tokens; inside messages they are treated as plain text.
        adds_start: True if the tokenizer adds the start token, so that the template's own must be
            removed.
        arguments: the user's template arguments, such as ``enable_thinking``, as JSON.
        day: date that the template gets as today; None = the current date.
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
        """Build the format of a model; None if it has no template.

        Raises:
            UserError: an argument has a reserved name.
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
        """Render a conversation as a prompt with at most one start token.

        A system message that the template refuses is prepended to the first user message.

        Args:
            messages: dicts with ``role`` and ``content``.
            arguments: template arguments of this conversation; they override those of the format.

        Raises:
            UserError: as in `render_chat`, or an argument has a reserved name.
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
    """Parse template arguments given on the command line as JSON.

    Raises:
        UserError: the text is not a JSON object.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = error
    if not isinstance(found, dict):
        raise UserError(
            f"--chat-template-kwargs {one_line(text)!r} is not a JSON object. Write it like "
            "'{\"enable_thinking\": false}'."
        )
    return found
