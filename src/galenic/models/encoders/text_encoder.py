"""Texts to tokens with a model folder's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galenic.models.configuration import read_tokenizer

__all__ = ["TextEncoder"]


class TextEncoder:
    """The tokenizer of a model folder; what it puts at the end of a text is left out.

    Args:
        folder: with the tokenizer's files.
        kind: of the model they come from, as `galenic.models.files.ModelFiles` has it.

    Attributes:
        tokenizer: that of transformers.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.tokenizer: Any = read_tokenizer(folder, gguf=kind == "gguf")

    @property
    def start(self) -> list[int]:
        """What every text begins with."""
        return self.encode_batch([""])[0]

    @property
    def end(self) -> list[int]:
        """What shows the model that a text is over; nothing where it has no such token."""
        end = self.tokenizer.eos_token_id
        return [] if end is None else [end]

    def pieces(self, size: int) -> list[str | None]:
        """The piece of every token id below ``size``, as the tokenizer spells it; None without."""
        known = self.tokenizer.convert_ids_to_tokens(list(range(min(size, len(self.tokenizer)))))
        return [*known, *[None] * (size - len(known))]

    def encode_part(self, text: str, *, literal: bool) -> list[int]:
        """Token ids of what comes later in a text; literal = no special token is recognised."""
        given = {"add_special_tokens": False, "split_special_tokens": literal, "verbose": False}
        ids: list[int] = self.tokenizer(text, **given)["input_ids"]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; special tokens in the text are recognised.

        The model's own start token is put first where its tokenizer says so.
        """
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True, verbose=False)[
            "input_ids"
        ]
        end = self.tokenizer.eos_token_id
        if end is not None and self.tokenizer("")["input_ids"][-1:] == [end]:
            ids = [tokens[:-1] if tokens[-1:] == [end] else tokens for tokens in ids]
        return ids
