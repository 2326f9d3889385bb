"""Check that a tokenizer does not make a text many times longer before it is split into tokens.

A tokenizer.json may replace every letter by a thousand, in several steps that multiply, or repeat
the tokens of a text. The tokenizers library sets no limit, so a short text can fill the memory.

Format: https://huggingface.co/docs/tokenizers/components
"""

from __future__ import annotations

import base64
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from galenic.errors import UserError
from galenic.limits import ADDED_TOKENS, TOKENIZER_GROWTH

__all__ = ["check_growth"]

STEPS = ("normalizers", "pretokenizers", "processors")
NFKC_LONGEST = 18
"""Largest number of characters that NFKC makes of one (U+FDFA)."""
_parser: Any = importlib.import_module("re._parser")


def check_growth(core: Any, where: str) -> None:
    """Check the worst case of all steps of a tokenizer together.

    Args:
        core: a ``tokenizers.Tokenizer``.
        where: origin of the tokenizer, for error messages.

    Raises:
        UserError: a text could grow more than `TOKENIZER_GROWTH` times, or get more than
            `ADDED_TOKENS` tokens.
    """
    growth = 1.0
    for step in (*_steps(core.normalizer), *_steps(core.pre_tokenizer)):
        growth *= _growth(step)
    if growth > TOKENIZER_GROWTH:
        raise UserError(
            f"the tokenizer of {where} may make a text {growth:,.0f} times longer; "
            f"{TOKENIZER_GROWTH} times are allowed."
        )
    repeated, added = 1, 0
    for step in _steps(core.post_processor):
        times, more = _additions(step)
        repeated, added = repeated * times, added + more
    if repeated > 1:
        raise UserError(f"the tokenizer of {where} repeats each text {repeated:,} times.")
    if added > ADDED_TOKENS:
        raise UserError(
            f"the tokenizer of {where} adds {added:,} tokens to each text; {ADDED_TOKENS} are "
            "allowed."
        )


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer in turn, without nesting."""
    todo = [] if part is None else [json.loads(part.__getstate__())]
    while todo:
        step = todo.pop()
        inner = next((step[name] for name in STEPS if name in step), None)
        if inner is None:
            yield step
        else:
            todo += inner


def _growth(step: Mapping[str, Any]) -> float:
    """How many times longer a text may become in one step."""
    kind = step.get("type")
    if kind == "Prepend":
        return 1.0 + len(step["prepend"])  # it is put before each part between special tokens
    if kind == "ByteLevel":
        return 2.0  # its characters for bytes have two bytes
    if kind == "Precompiled":
        table = base64.b64decode(step["precompiled_charsmap"])
        texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
        longest = max(len(text.decode("utf-8", "replace")) for text in texts)
        return max(1.0, longest / NFKC_LONGEST)
    if kind != "Replace":
        return 1.0
    width = _least_width(step["pattern"])
    return max(1.0, len(step["content"]) / width if width else 1.0 + len(step["content"]))


def _least_width(pattern: Mapping[str, str]) -> int:
    """Smallest number of characters that a pattern matches; 0 where that is unknown."""
    if "String" in pattern:
        return len(pattern["String"])
    try:
        parsed = _parser.parse(pattern["Regex"])
    except (re.error, OverflowError, RecursionError):  # of another dialect
        return 0
    return int(parsed.getwidth()[0])


def _additions(step: Mapping[str, Any]) -> tuple[int, int]:
    """How many times a step puts a text, and how many tokens it adds."""
    if step.get("type") != "TemplateProcessing":
        return 1, 2  # those of BERT and RoBERTa
    names = [piece["SpecialToken"]["id"] for piece in step["single"] if "SpecialToken" in piece]
    added = sum(len(step["special_tokens"][name]["ids"]) for name in names)
    return len(step["single"]) - len(names), added
