"""Conversion of one JSON object to a validated `Example`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.data.example import Example

__all__ = ["RowError", "check_options", "check_text", "parse_row"]

# Fields that become attributes of Example or repeat the file name; all others go to meta.
_STRUCTURE = frozenset({"id", "dataset", "split", "question", "context", "options", "answer"})
# PubMedQA's `long_answer` is the abstract's conclusion and reveals the answer: it is dropped, so
# that it cannot reach any prompt, retrieval or training text.
_NEVER_KEPT = frozenset({"long_answer"})


class RowError(ValueError):
    """Raised for an invalid row; the reader adds file and line."""


def check_text(row: Mapping[str, Any], name: str) -> str:
    """Return a field after checking that it is non-empty text."""
    return _text(row.get(name), f"`{name}`")


def check_options(options: object) -> dict[str, str]:
    """Check that there are two or more labels, distinct ignoring case, each with a text."""
    if not isinstance(options, Mapping):
        raise RowError(f"`options` must be an object of label and text, not {_show(options)}")
    if len(options) < 2:
        raise RowError(f"`options` needs at least two options, found {len(options)}")
    checked = {}
    seen: set[str] = set()
    for label, text in options.items():
        if not isinstance(label, str) or not label or label != label.strip():
            raise RowError(f"option label {_show(label)} is empty or has white space around it")
        if label.casefold() in seen:
            raise RowError(f"option label {label!r} is there twice")
        seen.add(label.casefold())
        checked[label] = _text(text, f"option {label!r}")
    return checked


def parse_row(row: Mapping[str, Any]) -> Example:
    """Read one row of the local layout.

    Args:
        row: ``id`` (default: the line number, which the reader inserts), ``question``,
            ``context`` (text or null), ``options`` (label to text), ``answer`` (a label); every
            other field goes to ``meta``, but for ``long_answer``.

    Raises:
        RowError: the row is invalid; the message names the first problem.
    """
    options = check_options(row.get("options"))
    answer = row.get("answer")
    if answer is None:
        raise RowError("`answer` is missing: only test sets without labels may lack it")
    if not isinstance(answer, str) or answer not in options:
        raise RowError(f"`answer` {_show(answer)} is none of the options {', '.join(options)}")
    context = row.get("context")
    return Example(
        id=check_text(row, "id"),
        question=check_text(row, "question"),
        context=None if context is None else _text(context, "`context`"),
        options=options,
        answer=answer,
        meta={k: v for k, v in row.items() if k not in _STRUCTURE | _NEVER_KEPT},
    )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"{name} must be text, not {_show(value)}")
    if not value.strip():
        raise RowError(f"{name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{name} holds half a surrogate pair, which is no character") from error
    return value


def _show(value: object) -> str:
    if value is None:
        return "missing or null"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
