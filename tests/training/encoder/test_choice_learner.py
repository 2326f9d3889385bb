"""Loss and answers of an encoder against plain transformers, one question at a time."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer

from galenic.data.benchmarks import resolve_benchmarks
from galenic.data.example import Example
from galenic.errors import UserError
from galenic.models.encoders.encoder import Encoder, load_encoder
from galenic.models.files import ModelFiles
from galenic.training.encoder.items import PairTexts, check_sets
from galenic.training.encoder.learner import ChoiceBatch, ChoiceItem, ChoiceLearner, measure_choices
from galenic.training.sources import TrainingSet
from galenic.training.validation import summarize
from tiny_encoder import write_tiny_encoder

WORDS = ("pain", "the patient", "no", "yes and yes", "maybe")


@pytest.fixture(scope="module", params=["bert", "roberta"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_tiny_encoder(
        tmp_path_factory.mktemp("m"), request.param, head=True, positions=256
    )
    return load_encoder(ModelFiles(request.param, "folder", folder, "0" * 64))


def examples() -> list[Example]:
    """Questions of different lengths with three to five options."""
    return [
        Example(
            id=str(number),
            question="what of " + "the pain " * number + "?",
            context="a patient." if number % 2 else None,
            options=dict(zip("ABCDE"[:size], WORDS[:size], strict=True)),
            answer="ABC"[number % 3],
        )
        for number, size in enumerate([3, 5, 4, 4, 3, 5])
    ]


def training_set(train: list[Example], **changes: Any) -> TrainingSet:
    (benchmark,) = resolve_benchmarks(["medmcqa"])
    options: dict[str, Any] = {"form": "label", "benchmark": benchmark, "weight": 1.0}
    options |= {"heldout": tuple(train), "sha256": "0" * 64} | changes
    return TrainingSet(name=benchmark.name, train=tuple(train), **options)


def texts(encoder: Encoder, **changes: Any) -> PairTexts:
    return PairTexts([training_set(examples(), **changes)], encoder.pairs, num_heldout=99, seed=0)


def naive_loss(encoder: Encoder, example: Example) -> float:
    """By the model's own loss, its own tokenizer, and all options of one question as a batch."""
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder.pairs.tokenizer.name_or_path)
    lines = [f"Context: {example.context}"] if example.context else []
    stem = "\n".join([*lines, f"Question: {example.question}"])
    stems = [stem] * len(example.options)
    inputs = tokenizer(stems, list(example.options.values()), padding=True, return_tensors="pt")
    model = AutoModelForMultipleChoice.from_pretrained(tokenizer.name_or_path).eval()
    gold = torch.tensor([list(example.options).index(example.answer)])
    with torch.no_grad():
        inputs = {name: value[None] for name, value in inputs.items()}
        return float(model(**inputs, labels=gold).loss)


@pytest.mark.parametrize("most_tokens", [1, 400, 10_000])
def test_loss_is_that_of_plain_transformers(encoder: Encoder, most_tokens: int) -> None:
    learner = ChoiceLearner(encoder)
    batches = learner.cut(texts(encoder).heldout, most_tokens)
    validation = summarize([measure_choices(learner, batches)], 0)
    wanted = [naive_loss(encoder, example) for example in examples()]
    assert validation.loss == pytest.approx(sum(wanted) / len(wanted), rel=1e-4)
    summed = sum(float(learner(batch).detach()) for batch in batches)
    assert summed == pytest.approx(sum(wanted), rel=1e-4)
    assert sum(validation.gold["medmcqa"].values()) == 6


def test_weights_weigh(encoder: Encoder) -> None:
    first, second, *_ = texts(encoder).heldout
    learner = ChoiceLearner(encoder)
    both = ChoiceBatch((first, second), torch.tensor([0.0, 3.0]))
    alone = ChoiceBatch((second,), torch.tensor([1.0]))
    found, wanted = (float(learner(batch).detach()) for batch in (both, alone))
    assert found == pytest.approx(3 * wanted, rel=1e-4)
    assert both.weight == 3


def test_batches_hold_questions_of_one_length() -> None:
    items = [ChoiceItem(((1,) * n, (1,) * 3), ("A", "B"), 0, "g") for n in (5, 40, 6, 41, 7, 90)]
    batches = ChoiceLearner.cut(items, 170)
    assert [[item.width for item in batch.items] for batch in batches] == [
        [90],
        [41, 40],
        [7, 6, 5],
    ]
    assert sum(batch.num_tokens for batch in batches) == sum((5, 40, 6, 41, 7, 90)) + 18


def test_options_are_shuffled_with_their_answer(encoder: Encoder) -> None:
    data = texts(encoder)
    plain = {item.pairs[item.gold] for item in data.heldout}
    orders = []
    for number in range(3):
        items = data.epoch(number)
        assert {item.pairs[item.gold] for item in items} == plain
        orders.append(sorted(item.pairs for item in items))
    assert orders[0] != orders[1]
    assert data.epoch(1) == texts(encoder).epoch(1)
    assert len(texts(encoder, weight=0.4).epoch(1)) == len(texts(encoder, weight=0.4).epoch(0))


def test_sources_without_options_are_refused(encoder: Encoder) -> None:
    with pytest.raises(UserError, match="no options to choose among"):
        check_sets([training_set(examples(), form="text")])
    with pytest.raises(UserError, match="none for validation"):
        texts(encoder, heldout=())
