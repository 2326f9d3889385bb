"""Tokenize (text, option) pairs as an encoder's own tokenizer joins two texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.errors import UserError

__all__ = ["EncodedPair", "PairTokenizer"]

PROBE = ("pain", "fever")


@dataclass(frozen=True)
class EncodedPair:
    """A tokenized pair.

    Attributes:
        tokens: token ids of both texts, with the special tokens around and between them.
        cut: number of tokens that were truncated to fit the length limit.
    """

    tokens: tuple[int, ...]
    cut: int


@dataclass(frozen=True)
class _Layout:
    """Special tokens around two texts, and the segment id of each of the five parts.

    ``segments`` is None where the model takes no segment ids.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: tuple[int, int, int, int, int] | None

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class PairTokenizer:
    """Turns (text, option) pairs into token ids and segment ids.

    Pairs that are too long are truncated: the option at its end, to half of the available length;
    the text at its beginning, because the question comes last. Special tokens spelled out in a text
    (``[SEP]``) are treated as plain text.

    Args:
        tokenizer: transformers tokenizer.
        longest: maximum tokens of a pair.
        segments: whether the model takes segment ids (``token_type_ids``).

    Raises:
        UserError: the tokenizer puts no separator between two texts, or ``longest`` is too small.
    """

    def __init__(self, tokenizer: Any, longest: int, *, segments: bool = True) -> None:
        self.tokenizer = tokenizer
        self.longest = longest
        self.layout = self._find_layout(segments)
        if longest < self.layout.size + 4:
            raise UserError(f"{longest} tokens are too few for a text and an option.")

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[EncodedPair]:
        """Tokenize pairs, in the given order; each distinct text is tokenized once."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._ids(texts), strict=True))
        return [self._join(ids[text], ids[option]) for text, option in pairs]

    def collate(self, sequences: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Model inputs of shape (n, 1, longest sequence), padded at the end.

        The middle axis is the number of options of a question, which is 1 here.
        """
        import torch

        width = max(len(tokens) for tokens in sequences)
        shape = (len(sequences), width)
        pad = self.tokenizer.pad_token_id
        ids = torch.full(shape, 0 if pad is None else int(pad))
        mask, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for row, tokens in enumerate(sequences):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
            if self.layout.segments:
                kinds[row, : len(tokens)] = torch.tensor(self.segments(tokens))
        inputs = {"input_ids": ids[:, None], "attention_mask": mask[:, None]}
        return inputs | ({"token_type_ids": kinds[:, None]} if self.layout.segments else {})

    def segments(self, tokens: Sequence[int]) -> list[int]:
        """Segment id of each token of a pair."""
        layout = self.layout
        kinds = layout.segments or (0, 0, 0, 0, 0)
        mark, first = layout.between, len(layout.before)
        middle = next(
            at
            for at in range(first, len(tokens))
            if tuple(tokens[at : at + len(mark)]) == mark  # not in a text: see `_ids`
        )
        second = len(tokens) - len(layout.after) - middle - len(mark)
        lengths = (first, middle - first, len(mark), second, len(layout.after))
        return [kind for kind, length in zip(kinds, lengths, strict=True) for _ in range(length)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
        )["input_ids"]
        return found

    def _join(self, text: list[int], option: list[int]) -> EncodedPair:
        room = self.longest - self.layout.size
        shown = option[: room // 2]
        kept = text[max(0, len(text) - (room - len(shown))) :]
        tokens = (*self.layout.before, *kept, *self.layout.between, *shown, *self.layout.after)
        return EncodedPair(tokens, len(text) + len(option) - len(kept) - len(shown))

    def _find_layout(self, segments: bool) -> _Layout:
        """Find the special tokens around two texts by joining one probe pair."""
        joined = self.tokenizer(*PROBE)
        whole = tuple(joined["input_ids"])
        first, second = (tuple(ids) for ids in self._ids(PROBE))
        start = _find(whole, first, 0)
        middle = start + len(first)
        at = _find(whole, second, middle)
        if start < 0 or at <= middle:
            raise UserError(
                "the model's tokenizer does not mark where one text ends and the next begins, as "
                "an encoder's does."
            )
        after = at + len(second)
        kinds = joined.get("token_type_ids") if segments else None
        return _Layout(
            before=whole[:start],
            between=whole[middle:at],
            after=whole[after:],
            segments=None
            if kinds is None
            else (
                kinds[max(start - 1, 0)],
                kinds[start],
                kinds[middle],
                kinds[at],
                kinds[min(after, len(whole) - 1)],
            ),
        )


def _find(whole: tuple[int, ...], part: tuple[int, ...], start: int) -> int:
    """First index at or after ``start`` where ``part`` occurs in ``whole``; -1 if none."""
    places = range(start, len(whole) - len(part) + 1)
    return next((at for at in places if whole[at : at + len(part)] == part), -1)
