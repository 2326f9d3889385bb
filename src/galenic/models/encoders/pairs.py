"""A text and an option as one sequence, the way an encoder's own tokenizer joins two texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.errors import UserError

__all__ = ["EncodedPair", "PairTokenizer"]

PROBE = ("pain", "fever")


@dataclass(frozen=True)
class EncodedPair:
    """What the encoder reads.

    Attributes:
        tokens: both texts with the tokens around and between them.
        cut: tokens of the two texts that were left out, so that it fits.
    """

    tokens: tuple[int, ...]
    cut: int


@dataclass(frozen=True)
class _Layout:
    """Tokens around two texts, and the segment number of each part; none where none are used."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: tuple[int, int, int, int, int] | None

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class PairTokenizer:
    """Tokens and segments of (text, option) pairs.

    What does not fit is cut: the option behind half of the room, the text at its beginning, for
    the question stands at its end. Marks of the tokenizer (``[SEP]``) that stand in a text are read
    as text.

    Args:
        tokenizer: from transformers.
        longest: most tokens of a pair.
        segments: whether the model takes segment numbers.

    Raises:
        UserError: the tokenizer puts nothing between two texts, or the room is too small.
    """

    def __init__(self, tokenizer: Any, longest: int, *, segments: bool = True) -> None:
        self.tokenizer = tokenizer
        self.longest = longest
        self.layout = self._find_layout(segments)
        if longest < self.layout.size + 4:
            raise UserError(f"{longest} tokens are too few for a text and an option.")

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[EncodedPair]:
        """The pairs in their order; each different text is tokenized once."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._ids(texts), strict=True))
        return [self._join(ids[text], ids[option]) for text, option in pairs]

    def collate(self, sequences: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Tensors of shape (n, 1, longest of them), padded at the end: one option a question."""
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
        """Segment number of each token of a pair."""
        layout = self.layout
        kinds = layout.segments or (0, 0, 0, 0, 0)
        mark, first = layout.between, len(layout.before)
        middle = next(
            at
            for at in range(first, len(tokens))
            if tuple(tokens[at : at + len(mark)]) == mark  # never within a text: see `_ids`
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
        """What stands around two texts, read off one pair that the tokenizer joined."""
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
    """Where a run of tokens stands, from ``start`` on; -1 if nowhere."""
    places = range(start, len(whole) - len(part) + 1)
    return next((at for at in places if whole[at : at + len(part)] == part), -1)
