"""Constrained decoding: a model writes only text that matches a JSON schema, with llguidance.

https://github.com/guidance-ai/llguidance (MIT) compiles the schema to a grammar, which gives the
allowed next tokens at each step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.runtimes.base import Runtime
from galenic.runtimes.pieces import piece_bytes

__all__ = ["JsonForm", "JsonText"]

MARK = re.compile(r"<[^<>\s]{2,}>|\[[A-Z_]{3,}\]")
"""Spelling of tokens that stand for no text: ``<|im_end|>``, ``</s>``, ``[INST]``."""
SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space as `json.dumps` writes it; if it were free, small models might write nothing else."""
REASONS = {
    "NoExtension": "no text matches it (does a $ref name itself?)",
    "LexerTooComplex": "it is too complicated; make it smaller",
    "ParserTooComplex": "it is too complicated; make it smaller",
    "parser error: Too many items": "it is too complicated, or needs an endless text",
}
"""What llguidance's reasons mean, by how they begin."""
LONE_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class JsonForm:
    """Prepares a model's vocabulary for JSON output, and creates the constraint for each answer.

    Args:
        runtime: provides vocabulary and end tokens.

    Raises:
        UserError: the model has no end token.
    """

    def __init__(self, runtime: Runtime) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        ends = runtime.end_tokens
        if not ends:
            raise UserError(
                f"{runtime.info.model} has no end-of-text token, so it cannot write JSON."
            )
        self.size = len(runtime.vocabulary())
        wrapped = TokenizerWrapper(_Tokens(runtime, ends))
        self.tokenizer = LLTokenizer(wrapped, eos_token=list(ends), slices=[])

    def text(self, schema: Mapping[str, Any]) -> JsonText:
        """Create the constraint for one answer that must match a JSON schema.

        Raises:
            UserError: the schema is invalid or uses features that llguidance does not support.
        """
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=SPELLING)
        except ValueError as error:
            raise UserError(f"the JSON schema cannot be used: {_why(str(error))}") from error
        matcher = LLMatcher(self.tokenizer, grammar, log_level=0)
        none = not matcher.is_error() and not any(matcher.compute_bitmask())
        if matcher.is_error() or none:  # the first mask may be the first mistake
            why = _why(matcher.get_error()) if matcher.is_error() else REASONS["NoExtension"]
            raise UserError(f"the JSON schema cannot be used: {why}")
        return JsonText(matcher, self.size)


class JsonText:
    """State of the constraint for one answer; a `galenic.runtimes.base.Choices`."""

    def __init__(self, matcher: Any, size: int) -> None:
        self.matcher = matcher
        self.size = size

    def narrow(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits with disallowed tokens set to minus infinity, shape (vocab,)."""
        packed = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(packed, bitorder="little")[: self.size].astype(bool)
        narrowed = np.full_like(logits, -np.inf)
        narrowed[: self.size][allowed] = logits[: self.size][allowed]
        return narrowed

    def take(self, token: int) -> bool:
        """Advance by the chosen token; returns whether the text is complete with it."""
        self.matcher.consume_token(token)
        if self.matcher.is_error():
            raise UserError(f"the JSON schema cannot be followed: {_why(self.matcher.get_error())}")
        return bool(self.matcher.is_stopped())


class _Tokens:
    """Adapter that presents a vocabulary in the interface llguidance expects."""

    def __init__(self, runtime: Runtime, ends: Sequence[int]) -> None:
        pieces = runtime.vocabulary()
        self._runtime = runtime
        self.eos_token_id = ends[0]
        self.bos_token_id = None
        self.special_token_ids = [
            number
            for number, piece in enumerate(pieces)
            if piece is None or number in ends or _stands_for_nothing(piece)
        ]
        self.tokens = piece_bytes(pieces)
        for number in self.special_token_ids:
            self.tokens[number] = f"<special {number}>".encode()

    def __call__(self, text: str) -> list[int]:
        return self._runtime.encode_batch([text])[0]


def _why(error: str) -> str:
    """Return the reason in a message of llguidance, in one line.

    Of a pattern that cannot be read the message shows the pattern, a mark below the place, and says
    why in the last line.
    """
    if "regex parse error" in error:
        why = one_line(error.strip().rpartition("\n")[2].removeprefix("error: "))
        return f"a pattern in it cannot be read: {why}"
    known = [words for name, words in REASONS.items() if error.startswith(name)]
    return known[0] if known else one_line(error)


def _stands_for_nothing(piece: str) -> bool:
    return MARK.fullmatch(piece) is not None and LONE_BYTE.fullmatch(piece) is None
