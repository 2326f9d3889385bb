"""Tokenization of training texts for the model that learns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from galenic.errors import UserError
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.runtimes.base import encode_requests
from galenic.runtimes.tree import Request, common_prefix_length
from galenic.training.batch import AnswerOption, TrainItem
from galenic.training.epochs import Passes
from galenic.training.finetune.config import TextsConfig
from galenic.training.sources import LabelText, PairText, TrainingSet, epoch_texts

__all__ = ["Encoded", "TokenTexts", "choose_length", "encode_texts"]

MAX_LENGTH = 1024
ENCODE_BATCH = 256
"""Number of texts tokenized at once."""


@dataclass(frozen=True)
class Encoded:
    """Tokenized texts.

    Attributes:
        items: texts that can be learnt, in the order given.
        cut: number of items that were truncated.
        skipped: number of texts left out because truncation left nothing to learn.
    """

    items: tuple[TrainItem, ...]
    cut: int = 0
    skipped: int = 0


class TokenTexts(Passes[TrainItem]):
    """Texts of training sets, tokenized for each epoch.

    Args:
        sets: the sources.
        encoder: the model's text encoder.
        config: ``max_length`` (see `choose_length`), ``permutations``, ``side_by_side`` and
            ``num_heldout`` are used.
        seed: seed for orders and random choices.

    Attributes:
        first: texts of the first epoch, for information.

    Raises:
        UserError: there are no texts to learn, or none for validation.
    """

    def __init__(
        self, sets: Sequence[TrainingSet], encoder: TextEncoder, config: TextsConfig, *, seed: int
    ) -> None:
        self.sets, self.encoder, self.seed = tuple(sets), encoder, seed
        self.max_length = config.max_length or MAX_LENGTH
        self.permutations, self.side_by_side = config.permutations, config.side_by_side
        self.first = self._encode(0)
        super().__init__(self.first.items)
        validated_on = [text for one in sets for text in one.some_heldout(config.num_heldout, seed)]
        self.heldout = encode_texts(validated_on, encoder, self.max_length).items
        if not self.first.items or not self.heldout:
            raise UserError(
                f"of {', '.join(one.name for one in sets)} no text is left to learn, or none for "
                "validation: there are too few, or --max-length is too small."
            )

    def _items(self, number: int) -> tuple[TrainItem, ...]:
        return self._encode(number).items

    def _encode(self, number: int) -> Encoded:
        texts = epoch_texts(self.sets, seed=self.seed, epoch=number, permutations=self.permutations)
        found = encode_texts(texts, self.encoder, self.max_length)
        return found if self.side_by_side else replace(found, items=_alone(found.items))


def choose_length(given: int | None, longest: int) -> int:
    """Return the maximum number of tokens of a text.

    Args:
        given: value given by the user, None for the default.
        longest: maximum length that the model supports.

    Raises:
        UserError: ``given`` is more than the model supports.
    """
    if given is None:
        return min(MAX_LENGTH, longest)
    if given > longest:
        raise UserError(f"--max-length {given}: the model takes at most {longest} tokens.")
    return given


def encode_texts(
    texts: Sequence[LabelText | PairText], encoder: TextEncoder, max_length: int
) -> Encoded:
    """Tokenize texts in the same way as `galenic evaluate`.

    Questions that are too long are truncated at the beginning, after the start token; responses at
    the end. A complete response is followed by the model's end token, which is supervised too.
    """
    found: list[tuple[TrainItem | None, bool]] = []
    for start in range(0, len(texts), ENCODE_BATCH):
        batch = texts[start : start + ENCODE_BATCH]
        labels = iter(_labels([t for t in batch if isinstance(t, LabelText)], encoder, max_length))
        pairs = iter(_pairs([t for t in batch if isinstance(t, PairText)], encoder, max_length))
        found += [next(labels if isinstance(text, LabelText) else pairs) for text in batch]
    return Encoded(
        items=tuple(item for item, _ in found if item is not None),
        cut=sum(cut for item, cut in found if item is not None),
        skipped=sum(item is None for item, _ in found),
    )


def _labels(
    texts: Sequence[LabelText], encoder: TextEncoder, max_length: int
) -> list[tuple[TrainItem | None, bool]]:
    head = tuple(encoder.start)
    asked = [(text.prompt, continuation) for text in texts for _, continuation in text.choices]
    requests = iter(encode_requests(encoder, asked))
    found: list[tuple[TrainItem | None, bool]] = []
    for text in texts:
        by_label = {label: next(requests) for label, _ in text.choices}
        gold = by_label[text.gold]
        longest = by_label.values() if text.ranked else (gold,)
        excess = max(0, max(len(one.tokens) for one in longest) - max_length)
        if gold.start - excess <= len(head):  # nothing of the question would remain
            found.append((None, False))
            continue
        answers = [one.tokens[one.start :] for one in by_label.values()]
        shared = min(common_prefix_length(answers), min(map(len, answers)) - 1)
        item = TrainItem(
            (*head, *gold.tokens[len(head) + excess :]) if excess else gold.tokens,
            gold.start - excess,
            group=text.group,
            choices=tuple((k, answer[shared]) for k, answer in zip(by_label, answers, strict=True)),
            gold=text.gold,
            shared=shared,
            bundle=text.example.context or text.example.question,
            options=_options(text, by_label) if text.ranked else (),
            scale=text.scale,
            kept=text.kept,
        )
        found.append((item, excess > 0))
    return found


def _options(text: LabelText, by_label: Mapping[str, Request]) -> tuple[AnswerOption, ...]:
    return tuple(
        AnswerOption(
            label, request.tokens[request.start :], len(text.example.options[label].encode())
        )
        for label, request in by_label.items()
    )


def _pairs(
    texts: Sequence[PairText], encoder: TextEncoder, max_length: int
) -> list[tuple[TrainItem | None, bool]]:
    requests = encode_requests(encoder, [(text.prompt, text.response) for text in texts])
    found: list[tuple[TrainItem | None, bool]] = []
    for request in requests:
        whole = (*request.tokens, *encoder.end)
        if request.start >= max_length:
            found.append((None, False))
            continue
        found.append((TrainItem(whole[:max_length], request.start), len(whole) > max_length))
    return found


def _alone(items: Sequence[TrainItem]) -> tuple[TrainItem, ...]:
    return tuple(replace(item, bundle="") for item in items)
