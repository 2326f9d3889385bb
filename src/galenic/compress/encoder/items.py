"""Questions as pairs of the encoder that learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from galenic.compress.encoder.learner import ChoiceItem
from galenic.data.training import LabelText, PairText, TrainingSet, epoch_texts
from galenic.errors import UserError
from galenic.evaluate.prompts import Prompter
from galenic.evaluate.scoring.head import Head
from galenic.models.pairs import PairTokenizer

__all__ = ["Choices", "PairTexts", "check_sets"]


@dataclass(frozen=True)
class Choices:
    """Questions as pairs.

    Attributes:
        items: in the order of the texts.
        cut: how many of them are not whole.
    """

    items: tuple[ChoiceItem, ...]
    cut: int = 0


class PairTexts:
    """What is learnt, pass by pass, and what is held out; a `galenic.compress.train.TrainData`.

    Args:
        sets: see `check_sets`.
        pairs: the encoder's tokenizer.
        num_heldout: most questions of each source to look at, drawn at random.
        seed: of orders and choices.

    Attributes:
        heldout: see `TrainData`.
        first: of the first pass, for information.

    Raises:
        UserError: nothing is left to learn or to look at.
    """

    def __init__(
        self, sets: Sequence[TrainingSet], pairs: PairTokenizer, *, num_heldout: int, seed: int
    ) -> None:
        self.sets, self.pairs, self.seed = tuple(sets), pairs, seed
        self.asked = {
            one.name: Prompter(one.benchmark, Head()) for one in sets if one.benchmark is not None
        }
        self.first = self._encode(epoch_texts(self.sets, seed=seed, epoch=0))
        self._last = (0, self.first.items)
        looked_at = [text for one in sets for text in _some(one, num_heldout, seed)]
        self.heldout: Sequence[ChoiceItem] = self._encode(looked_at).items
        if not self.first.items or not self.heldout:
            raise UserError(
                f"of {', '.join(one.name for one in sets)} no question is left to learn, or none "
                "to look at meanwhile: there are too few."
            )

    def epoch(self, number: int) -> Sequence[ChoiceItem]:
        """The questions of a pass; as many in each, see `galenic.compress.finetune.items`."""
        if self._last[0] != number:
            items = self.first.items
            if number:
                items = self._encode(epoch_texts(self.sets, seed=self.seed, epoch=number)).items
            size = len(self.first.items)
            again = -(-size // max(1, len(items)))
            self._last = (number, (items * again)[:size])
        return self._last[1]

    def _encode(self, texts: Sequence[LabelText | PairText]) -> Choices:
        examples = [(text.group, text.example) for text in texts if isinstance(text, LabelText)]
        asked = [
            (self.asked[group].text(example), option)
            for group, example in examples
            for option in example.options.values()
        ]
        found = iter(self.pairs.encode(asked))
        items, cut = [], 0
        for group, example in examples:
            labels = tuple(example.options)
            mine = [next(found) for _ in labels]
            cut += any(pair.cut for pair in mine)
            tokens = tuple(pair.tokens for pair in mine)
            items.append(ChoiceItem(tokens, labels, labels.index(example.answer), group))
        return Choices(tuple(items), cut)


def check_sets(sets: Sequence[TrainingSet]) -> None:
    """Raise UserError for a source that is not questions with options, answered by their label."""
    for one in sets:
        if one.form != "label":
            raise UserError(
                f"{one.name} in the form {one.form!r} has no options to choose among. An encoder "
                "learns from benchmarks:train, medqa, medmcqa, pubmedqa or question files."
            )


def _some(one: TrainingSet, count: int, seed: int) -> list[LabelText | PairText]:
    """A random part of a source's held-out questions, in their own order."""
    texts = one.heldout_texts()
    if len(texts) <= count:
        return texts
    chosen = Random(f"{seed}/{one.name}/heldout").sample(range(len(texts)), count)  # noqa: S311
    return [texts[place] for place in sorted(chosen)]
