"""Mark parts of a prompt as plain text, so that control tokens in them are not recognised.

A user who writes ``<|im_end|>`` in a question means these characters, not the token that ends a
turn. Such spellings are enclosed in two Unicode noncharacters, and the engines tokenize what is
between them as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["literal_parts", "mark_literal"]

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Noncharacters: https://www.unicode.org/faq/private_use.html#noncharacters"""


def mark_literal(text: str, controls: Sequence[str]) -> str:
    """Mark every spelling of a control token in a text as literal.

    Args:
        text: untrusted text; marks already in it are removed.
        controls: spellings of the control tokens.
    """
    clean = text.replace(OPEN, "").replace(CLOSE, "")
    if not any(one in clean for one in controls):
        return clean
    longest_first = sorted(filter(None, controls), key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda found: f"{OPEN}{found[0]}{CLOSE}", clean)


def literal_parts(text: str) -> list[tuple[str, bool]]:
    """Split a text into parts, each with whether it is literal; marks are removed.

    The first part is the text before the first mark and may be empty; the others are not empty.
    """
    before, *rest = text.split(OPEN)
    found = [(before.replace(CLOSE, ""), False)]
    for piece in rest:
        inside, mark, behind = piece.partition(CLOSE)
        parts = ((inside, bool(mark)), (behind.replace(CLOSE, ""), False))
        found += [part for part in parts if part[0]]
    return found
