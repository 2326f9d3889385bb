"""Training questions as tokenized (question, option) pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.errors import UserError
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.scoring.head import Head
from galenic.models.encoders.pairs import PairTokenizer
from galenic.training.encoder.learner import ChoiceItem
from galenic.training.epochs import Passes
from galenic.training.sources import LabelText, PairText, TrainingSet, epoch_texts

__all__ = ["ChoiceItems", "PairTexts", "check_sets"]


@dataclass(frozen=True)
class ChoiceItems:
    """Tokenized questions.

    Attributes:
        items: the questions, in the order of the texts.
        cut: number of questions that were truncated.
    """

    items: tuple[ChoiceItem, ...]
    cut: int = 0


class PairTexts(Passes[ChoiceItem]):
    """Questions of training sets, tokenized as pairs for each epoch.

    Args:
        sets: training sets of questions with options (`check_sets`).
        pairs: the encoder's tokenizer.
        num_heldout: maximum number of validation questions per source, drawn at random.
        seed: seed for orders and random choices.

    Attributes:
        first: items of the first epoch, for information.

    Raises:
        UserError: there are no questions to learn, or none for validation.
    """

    def __init__(
        self, sets: Sequence[TrainingSet], pairs: PairTokenizer, *, num_heldout: int, seed: int
    ) -> None:
        self.sets, self.pairs, self.seed = tuple(sets), pairs, seed
        self.asked = {
            one.name: Prompter(one.benchmark, Head()) for one in sets if one.benchmark is not None
        }
        self.first = self._encode(epoch_texts(self.sets, seed=seed, epoch=0))
        super().__init__(self.first.items)
        validated_on = [text for one in sets for text in one.some_heldout(num_heldout, seed)]
        self.heldout = self._encode(validated_on).items
        if not self.first.items or not self.heldout:
            raise UserError(
                f"of {', '.join(one.name for one in sets)} no question is left to learn, or none "
                "for validation: there are too few."
            )

    def _items(self, number: int) -> tuple[ChoiceItem, ...]:
        return self._encode(epoch_texts(self.sets, seed=self.seed, epoch=number)).items

    def _encode(self, texts: Sequence[LabelText | PairText]) -> ChoiceItems:
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
        return ChoiceItems(tuple(items), cut)


def check_sets(sets: Sequence[TrainingSet]) -> None:
    """Raise UserError if a source does not consist of questions with options."""
    for one in sets:
        if one.form in ("text", "pairs"):
            raise UserError(
                f"{one.name} in the form {one.form!r} has no options to choose among. An encoder "
                "learns from benchmarks:train, medqa, medmcqa, pubmedqa or question files."
            )
