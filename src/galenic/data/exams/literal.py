"""Reading of Python literals, also those with numpy arrays as pandas writes them into tables."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import Any

__all__ = ["read_literal"]

_LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
_VALUES = (tokenize.STRING, tokenize.NUMBER)


def read_literal(text: str) -> Any:
    """Evaluate a literal.

    Values beside each other without a comma are entries of a numpy array: ``['a' 'b']`` is a list
    of two, which Python would join to one text. ``array([...], dtype=object)`` is its list.

    Raises:
        ValueError, SyntaxError: the text is no literal.
    """
    kept: list[str] = []
    inside: list[bool] = []  # for each open bracket, whether it is that of an array
    ended = before = 0
    try:
        for kind, word, *_ in tokenize.generate_tokens(io.StringIO(text).readline):
            if kind in _LAYOUT:
                continue
            if word in ("(", "["):
                inside.append(kept[-1:] == ["array"])
                if inside[-1]:
                    kept[-1] = "("
                    continue
            if word == "dtype" and inside[-1:] == [True]:
                ended = len(kept) - 1  # what follows the list, from the comma on
            if word in (")", "]") and inside and inside.pop() and ended:
                del kept[ended:]
                ended = 0
            if before == kind and kind in _VALUES:
                kept.append(",")
            kept.append(word)
            before = kind
    except tokenize.TokenError as error:
        raise SyntaxError(str(error)) from error
    return ast.literal_eval(" ".join(kept))
