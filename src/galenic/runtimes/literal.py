"""Parts of a prompt that are text and nothing else, whatever they spell.

Who writes ``<|im_end|>`` in a question means these characters, not the token that ends a turn. Such
spellings are put between two characters that Unicode keeps free of meaning, and tokenizers here
take what is between them as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["literal_parts", "mark_literal"]

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Noncharacters: https://www.unicode.org/faq/private_use.html#noncharacters"""


def mark_literal(text: str, controls: Sequence[str]) -> str:
    """The text with every spelling of a control token marked.

    Args:
        text: of somebody who may not give commands to the model's tokenizer.
        controls: spellings of control tokens.
    """
    clean = text.replace(OPEN, "").replace(CLOSE, "")
    if not any(one in clean for one in controls):
        return clean
    longest_first = sorted(filter(None, controls), key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda found: f"{OPEN}{found[0]}{CLOSE}", clean)


def literal_parts(text: str) -> list[tuple[str, bool]]:
    """Parts of a text in their order, and whether each is to be taken literally.

    The first part is what is before the first mark, empty perhaps; the others are not. Marks
    themselves are left out.
    """
    before, *rest = text.split(OPEN)
    found = [(before.replace(CLOSE, ""), False)]
    for piece in rest:
        inside, mark, behind = piece.partition(CLOSE)
        parts = ((inside, bool(mark)), (behind.replace(CLOSE, ""), False))
        found += [part for part in parts if part[0]]
    return found
