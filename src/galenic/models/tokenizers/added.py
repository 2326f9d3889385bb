"""Added tokens of a ``tokenizer.json``: do they mean what the file says?

The tokenizers library does not keep the ids that the file gives to added tokens. It looks each up
in the vocabulary, and numbers the others in order after it
(https://github.com/huggingface/tokenizers/blob/main/tokenizers/src/tokenizer/added_vocabulary.rs).
A file that contradicts this, because an entry of its vocabulary is missing, would be read with
other tokens than the model was trained with, and nobody would be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line

__all__ = ["check_added_ids", "check_spelling"]


def check_added_ids(path: Path, facts: Mapping[str, Any]) -> None:
    """Check that added tokens keep the ids of the file.

    Args:
        path: path of the tokenizer.json, for error messages.
        facts: its content.

    Raises:
        UserError: an added token would get another id.
    """
    vocab = (facts.get("model") or {}).get("vocab")
    if not isinstance(vocab, Mapping | list):
        return
    size = len(vocab)
    known = (
        dict(vocab) if isinstance(vocab, Mapping) else {row[0]: n for n, row in enumerate(vocab)}
    )
    highest = size - 1
    for token in facts.get("added_tokens") or ():
        content, said = token["content"], int(token["id"])
        number = known.setdefault(content, highest + 1)
        if number != said:
            raise UserError(
                f"{path} gives the added token {one_line(repr(content))} the id {said}, and "
                f"transformers would give it {number}: the vocabulary of {size:,} tokens lacks "
                "some or has too many. Download the file again."
            )
        highest = max(highest, number)


def check_spelling(
    path: Path, added: Sequence[Mapping[str, Any]], normalizer: Mapping[str, Any] | None
) -> None:
    """Check that no added token is normalized before it is searched; a GGUF cannot express this.

    With ``normalized``, a token is found after the normalizer has put ``▁`` before the text and
    before the token itself, so that "x<tool>" does not hold the token ``<tool>``.

    Raises:
        UserError: there is such a token.
    """
    steps = [normalizer] if normalizer else []
    if normalizer and normalizer.get("type") == "Sequence":
        steps = list(normalizer.get("normalizers", ()))
    if not any(step.get("type") == "Prepend" for step in steps):
        return
    for token in added:
        if token.get("normalized"):
            raise UserError(
                f"{path}: the added token {one_line(repr(token['content']))} is normalized, so "
                "that it is only found behind a space, which llama.cpp does not do. Set its "
                '"normalized" to false if it is meant to be found everywhere.'
            )
