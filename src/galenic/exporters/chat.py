"""Chat templates as Ollama writes them (Go), for the families whose form is known.

A model carries a Jinja template. Where a family's form gives the same text for a conversation, its
Go template is written; where not, none is, and Ollama takes the one inside the GGUF.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from galenic.errors import UserError
from galenic.evaluation.chat.render import render_chat

__all__ = ["ChatForm", "find_form"]

Messages = Sequence[Mapping[str, str]]
TALK = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it a virus?"},
    {"role": "assistant", "content": "Maybe."},
    {"role": "user", "content": "And now?"},
)
"""A conversation to compare by; where a template knows no system, without that."""
MARK = "\x00"


@dataclass(frozen=True)
class ChatForm:
    """How a family writes conversations.

    Attributes:
        template: for Ollama, in Go's language.
        render: the same in Python, to compare by.
        stop: texts that end an answer.
    """

    template: str
    render: Callable[[Messages], str]
    stop: tuple[str, ...]


def _each(form: str, end: str) -> Callable[[Messages], str]:
    return lambda talk: "".join(form.format(**message) for message in talk) + end


def _gemma(talk: Messages) -> str:
    roles = {"assistant": "model"}
    return (
        "".join(
            f"<start_of_turn>{roles.get(one['role'], one['role'])}\n{one['content']}<end_of_turn>\n"
            for one in talk
        )
        + "<start_of_turn>model\n"
    )


FORMS = (
    ChatForm(
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
        "{{ end }}<|im_start|>assistant\n",
        _each("<|im_start|>{role}\n{content}<|im_end|>\n", "<|im_start|>assistant\n"),
        ("<|im_end|>",),
    ),
    ChatForm(
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}"
        "<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n",
        _each(
            "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("<|eot_id|>",),
    ),
    ChatForm(
        '{{- range .Messages }}<start_of_turn>{{ if eq .Role "assistant" }}model{{ else }}'
        "{{ .Role }}{{ end }}\n{{ .Content }}<end_of_turn>\n{{ end }}<start_of_turn>model\n",
        _gemma,
        ("<end_of_turn>",),
    ),
    ChatForm(
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
        _each("<|{role}|>\n{content}<|end|>\n", "<|assistant|>\n"),
        ("<|end|>", "<|endoftext|>"),
    ),
)


def find_form(
    template: str, special_tokens: Mapping[str, str]
) -> tuple[ChatForm, str | None] | None:
    """The form that gives the same text as a model's own template; None where none does.

    Args:
        template: Jinja text.
        special_tokens: ``bos_token`` and ``eos_token`` as the template names them. A start token
            before the whole does not count, for the runtime puts it there.

    Returns:
        The form, and what the template says as the system where nobody else does, None for
        nothing.
    """
    start = special_tokens.get("bos_token", "")
    for talk in (TALK, TALK[1:]):
        wanted = _rendered(template, talk, special_tokens)
        for form in FORMS:
            if wanted in (form.render(talk), start + form.render(talk)):
                return form, _usual_system(form, template, special_tokens)
    return None


def _rendered(template: str, talk: Messages, special_tokens: Mapping[str, str]) -> str | None:
    try:
        return render_chat(template, [dict(one) for one in talk], dict(special_tokens))
    except UserError:  # it refuses a system's message, or is broken
        return None


def _usual_system(form: ChatForm, template: str, special_tokens: Mapping[str, str]) -> str | None:
    """What stands before a conversation that begins with the user."""
    found = _rendered(template, TALK[1:], special_tokens) or ""
    rest = form.render(TALK[1:])
    if not found.endswith(rest) or found == rest:
        return None
    marked = form.render([{"role": "system", "content": MARK}]).removesuffix(form.render([]))
    before, _, behind = marked.partition(MARK)
    head = found.removesuffix(rest)
    if not (head.startswith(before) and head.endswith(behind)):
        return None
    return head[len(before) : len(head) - len(behind)]
