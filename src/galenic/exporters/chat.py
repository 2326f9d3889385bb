"""Convert Jinja chat templates to Go templates for Ollama, which does not run Jinja.

The Jinja template renders probe conversations, and the text that it puts around the messages is
extracted; the Go template writes the same text. It is used only if it also gives the same result
for other conversations, which holds for the common templates (Llama 3.x, Mistral, Zephyr, Alpaca,
ChatML, Gemma, Phi).

Language: https://pkg.go.dev/text/template, variables: https://docs.ollama.com/modelfile#template
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeAlias

from galenic.errors import UserError
from galenic.evaluation.chat.render import render_chat

__all__ = ["TALKS", "ChatForm", "find_form"]

Messages: TypeAlias = Sequence[Mapping[str, str]]
_Written: TypeAlias = Callable[[Messages], str | None]
SYSTEM, FIRST, ANSWER, SECOND = MARKS = ("Qsystemq", "Qfirstq", "Qanswerq", "Qsecondq")
"""Messages of the probe conversation; no template contains these strings."""
_SAID = (
    "Is it a virus, or 2 {of them}?",
    'Maybe "yes".\n\nSee a doctor.',
    "And now?",
    "Wait & rest <a day>.",
    "Since yesterday: 38.5 °C",
)
_PLAIN = tuple(
    {"role": ("user", "assistant")[number % 2], "content": text}
    for number, text in enumerate(_SAID * 5)
)
_TOLD = {"role": "system", "content": "Be brief.\nNever guess."}
TALKS: tuple[Messages, ...] = tuple(
    (*start, *_PLAIN[:length]) for length in (1, 3, 5, 25) for start in ((), (_TOLD,))
)
"""Conversations for which both templates must agree; each ends with a user message."""
_THOUGHT = {"role": "assistant", "content": "<think>\nIt fits.\n</think>\n\nYes."}
SHORTEST = 4
"""Characters of the shortest line that serves as a stop string."""
CONTENT_TALKS: tuple[Messages, ...] = (
    (_PLAIN[0], _THOUGHT, _PLAIN[2]),
    ({"role": "system", "content": "Be brief. /no_think"}, _PLAIN[0]),
)
"""Likewise; templates of models that reason often change these messages, which Go cannot."""


@dataclass(frozen=True)
class ChatForm:
    """The text that a chat template writes around messages.

    Attributes:
        start: text before the first user message, if there is no system message.
        system: text before and after the system message, up to the first user message; None if
            the template omits system messages.
        asked: text between a user message and the assistant's answer.
        answered: text between an answer and the next user message.
        end: text after the last user message.
    """

    start: str
    system: tuple[str, str] | None
    asked: str
    answered: str
    end: str

    def render(self, messages: Messages) -> str:
        """Render a conversation as the Go `template` would."""
        system = next((one["content"] for one in messages if one["role"] == "system"), None)
        talk = [one for one in messages if one["role"] != "system"]
        text = self.start
        if system and self.system:
            text = f"{self.system[0]}{system}{self.system[1]}"
        for number, one in enumerate(talk):
            if number:
                text += self.answered if one["role"] == "user" else self.asked
            text += one["content"]
        return text + self.end

    @property
    def template(self) -> str:
        """Go template for ``TEMPLATE`` in a Modelfile."""
        start = _go(self.start)
        if self.system is not None:
            before, after = map(_go, self.system)
            start = f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{start}"
            start += "{{ end }}"
        user = "{{ if not $first }}" + _go(self.answered) + "{{ end }}{{ .Content }}"
        assistant = _go(self.asked) + "{{ .Content }}"
        return (
            '{{ $first := true }}{{ $last := "" }}' + start + "{{ range .Messages }}"
            '{{ if eq .Role "user" }}' + user + '{{ $first = false }}{{ $last = "user" }}'
            '{{ else if eq .Role "assistant" }}' + assistant + '{{ $last = "assistant" }}'
            '{{ end }}{{ end }}{{ if ne $last "assistant" }}' + _go(self.end) + "{{ end }}"
        )

    def without_start(self, token: str) -> ChatForm:
        """Return a copy without the start token, for engines that add it themselves."""
        system = self.system
        if system is not None:
            system = (system[0].removeprefix(token), system[1])
        return replace(self, start=self.start.removeprefix(token), system=system)

    def stops(self, control: Sequence[str]) -> tuple[str, ...]:
        """Stop strings: the special token after an answer, or else the first line that follows it.

        A line that answers may hold as well ("user", a quotation mark) is not enough: then it is
        all that is written between an answer and the next message.

        Args:
            control: special tokens of the vocabulary.
        """
        rest = self.answered.strip()
        token = max((one for one in control if one and rest.startswith(one)), key=len, default="")
        if token or not rest:
            return (token,) if token else ()
        line = rest.split("\n")[0].rstrip()
        whole = self.answered.rstrip(" ")
        if (len(line) < SHORTEST or line.isalnum()) and '"""\n' not in f"{whole}\n":
            return (whole,)  # but for what a Modelfile would take for its end
        return (line,)


def _go(text: str) -> str:
    """Escape plain text for a Go template in a triple-quoted string of a Modelfile."""
    return re.sub(r'[{"]', lambda found: f'{{{{ "\\x{ord(found[0]):02x}" }}}}', text)


def find_form(template: str, special_tokens: Mapping[str, str]) -> ChatForm | None:
    """Extract the text that a chat template writes around messages.

    Args:
        template: Jinja source.
        special_tokens: ``bos_token`` and ``eos_token`` for the template.

    Returns:
        None if that text depends on anything but the order of the messages and today's date.
        White space that the template removes around a message stays, because Go cannot remove it.
    """
    today = date.today()

    def written(talk: Messages) -> str | None:
        try:
            messages = [dict(one) for one in talk]
            return render_chat(template, messages, dict(special_tokens), day=today)
        except UserError:  # it rejects system messages, or is invalid
            return None

    form = _take_apart(written)
    if form is None:
        return None
    for talk in (*TALKS, *CONTENT_TALKS):
        wanted = written(talk)
        if wanted is None and talk[0]["role"] == "system":
            wanted = written(_merged(talk))
        if wanted != form.render(talk):
            return None
    return form


def _merged(talk: Messages) -> Messages:
    """Prepend the system message to the first user message, for templates that reject it."""
    system, first, *rest = talk
    return [{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def _take_apart(written: _Written) -> ChatForm | None:
    roles = ("system", "user", "assistant", "user")
    talk = [{"role": role, "content": mark} for role, mark in zip(roles, MARKS, strict=True)]
    plain = _split(written(talk[1:]), MARKS[1:])
    if plain is None:
        return None
    told = written(talk)
    if told is None:
        told = written(_merged(talk))
    around = None
    if told is not None and SYSTEM in told:
        parts = _split(told, MARKS)
        if parts is None:
            return None
        around = (parts[0], parts[1])
    return ChatForm(plain[0], around, plain[1], plain[2], plain[3])


def _split(text: str | None, marks: Sequence[str]) -> list[str] | None:
    """Split a text at the marks; None if a mark is missing, repeated or out of order."""
    if text is None:
        return None
    parts = re.split("|".join(marks), text)
    return parts if re.findall("|".join(marks), text) == list(marks) else None
