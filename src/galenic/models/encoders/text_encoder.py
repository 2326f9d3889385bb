"""Encode texts with a model folder's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.tokenizers.load import read_tokenizer

__all__ = ["TextEncoder"]


class TextEncoder:
    """The tokenizer of a model folder, without the end token that it may append.

    Args:
        folder: folder with the tokenizer files.
        kind: ``"gguf"`` or ``"folder"``, see `galenic.models.files.ModelFiles`.

    Attributes:
        tokenizer: the transformers tokenizer.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.tokenizer: Any = read_tokenizer(folder, gguf=kind == "gguf")

    @property
    def start(self) -> list[int]:
        """Token ids that the tokenizer puts before every text."""
        return self.encode_batch([""])[0]

    @property
    def end(self) -> list[int]:
        """The end-of-text token id in a list; empty where the tokenizer has none."""
        end = self.tokenizer.eos_token_id
        return [] if end is None else [end]

    def pieces(self, size: int) -> list[str | None]:
        """Vocabulary entry of every token id below ``size``; None for ids without one."""
        known = self.tokenizer.convert_ids_to_tokens(list(range(min(size, len(self.tokenizer)))))
        return [*known, *[None] * (size - len(known))]

    def encode_part(self, text: str, *, literal: bool) -> list[int]:
        """Token ids of a later part of a text, without start or end token.

        With ``literal``, special tokens spelled out in the text are not recognised.
        """
        given = {"add_special_tokens": False, "split_special_tokens": literal, "verbose": False}
        ids: list[int] = self._ids(text, **given)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; special tokens spelled out in the text are recognised.

        The start token is added where the tokenizer does so; an end token is left out.
        """
        if not texts:
            return []
        ids: list[list[int]] = self._ids(list(texts), add_special_tokens=True, verbose=False)
        end = self.tokenizer.eos_token_id
        if end is not None and self._ids("")[-1:] == [end]:
            ids = [tokens[:-1] if tokens[-1:] == [end] else tokens for tokens in ids]
        return ids

    def _ids(self, text: str | list[str], **given: bool) -> Any:
        """Token ids; a pattern of the tokenizer may take too long to match, which is an error."""

        def say(why: str) -> UserError:
            return UserError(
                f"the tokenizer of {self.folder} is damaged: it cannot encode ({why})."
            )

        with refusals(say):
            return self.tokenizer(text, **given)["input_ids"]
