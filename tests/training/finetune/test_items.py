"""Training texts as tokens: those that evaluate scores, cut with care, passes of one length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galenic.data.calibration import QuestionAnswer
from galenic.data.example import Example
from galenic.errors import UserError
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.scoring.letter import Letter
from galenic.evaluation.scoring.text import TextPerByte
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.models.load import resolve_model
from galenic.registry import BENCHMARKS
from galenic.runtimes.base import encode_request
from galenic.runtimes.torch import TorchRuntime
from galenic.training.batch import cut_batches
from galenic.training.finetune.config import TextsConfig
from galenic.training.finetune.items import TokenTexts, choose_length, encode_texts
from galenic.training.sources import LabelText, PairText, TrainingSet, label_texts, read_training
from tiny_hf import write_tiny_hf, write_tiny_tokenizer
from training import load_tiny, make_trainer

OPTIONS = {"A": "one", "B": "two", "C": "three", "D": "four"}


def examples(count: int) -> tuple[Example, ...]:
    labels = list(OPTIONS)
    return tuple(
        Example(f"q{i}", f"Number {i}?", None, OPTIONS, labels[i % 4]) for i in range(count)
    )


def encoder(folder: Path, *, add_bos: bool = True) -> TextEncoder:
    write_tiny_tokenizer(folder, add_bos=add_bos)
    return TextEncoder(folder, "folder")


def label_set(count: int, weight: float = 1.0, heldout: int = 20) -> TrainingSet:
    rows = examples(count + heldout)
    benchmark = BENCHMARKS.load("medmcqa")
    return TrainingSet("medmcqa", "label", rows[:count], rows[count:], benchmark, weight, "")


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_tokens_are_those_that_evaluate_scores(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path / family, family)
    with TorchRuntime(resolve_model(str(folder)), threads=1) as runtime:
        for name in BENCHMARKS:
            benchmark = BENCHMARKS.load(name)
            row = Example("q", "The patient?", "An abstract.", OPTIONS, "C")
            if not benchmark.labelled:
                words = {word: word for word in ("yes", "no", "maybe")}
                row = Example("q", "The patient?", "An abstract.", words, "maybe")
            texts = label_texts(benchmark, [row], seed=1, epoch=0)
            [item] = encode_texts(texts, TextEncoder(folder, "folder"), 512).items
            shown = texts[0].example
            prompt, letter = Prompter(benchmark, Letter()).text(shown), Letter()
            found = {
                label: encode_request(runtime, prompt, letter.continuation(shown, label))
                for label in shown.options
            }
            assert (item.tokens, item.start) == (found[item.gold].tokens, found[item.gold].start)
            # The byte tokenizer writes " A" as two tokens, the first of which all letters have.
            assert item.shared == (1 if benchmark.labelled else 0)
            at = {k: r.tokens[r.start + item.shared] for k, r in found.items()}
            assert dict(item.choices) == at
            assert len(set(at.values())) == len(at)
            assert item.gold == shown.answer


@pytest.mark.parametrize("add_bos", [True, False])
def test_too_long_texts_are_cut_where_it_hurts_least(tmp_path: Path, add_bos: bool) -> None:
    own = encoder(tmp_path, add_bos=add_bos)
    head = tuple(own.start)
    assert len(head) == add_bos
    [text] = label_texts(BENCHMARKS.load("medmcqa"), examples(1), seed=0, epoch=0)
    [whole] = encode_texts([text], own, 512).items
    cut = encode_texts([text], own, 40)
    [item] = cut.items
    assert (cut.cut, cut.skipped) == (1, 0)
    assert item.tokens == (*head, *whole.tokens[len(whole.tokens) - 40 + len(head) :])
    assert item.tokens[item.start :] == whole.tokens[whole.start :]
    pair = PairText("medquad", "p", "Question: what?\nAnswer:", " " + "long " * 30)
    [whole] = encode_texts([pair], own, 512).items
    assert whole.tokens[-1] == own.end[0]
    assert own.tokenizer.decode(whole.tokens[whole.start : -1]) == pair.response
    [item] = encode_texts([pair], own, 60).items
    assert item.tokens == whole.tokens[:60]
    assert item.start == whole.start
    none = encode_texts([pair], own, whole.start)
    assert (none.items, none.cut, none.skipped) == ((), 0, 1)


def config(**values: Any) -> TextsConfig:
    return TextsConfig(train="medmcqa", max_length=512, **values)


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.3])
def test_passes_are_equally_long(tmp_path: Path, weight: float) -> None:
    data = TokenTexts([label_set(11, weight)], encoder(tmp_path), config(), seed=3)
    sizes = {len(data.epoch(number)) for number in range(5)}
    assert sizes == {round(11 * weight)}
    assert data.epoch(1) == data.epoch(1)
    assert data.epoch(0) != data.epoch(1)


def test_orders_of_options_come_again(tmp_path: Path) -> None:
    def passes(permutations: int | None) -> list[set[tuple[int, ...]]]:
        data = TokenTexts(
            [label_set(30)], encoder(tmp_path), config(permutations=permutations), seed=3
        )
        return [{item.tokens for item in data.epoch(number)} for number in range(4)]

    twice = passes(2)
    assert twice[0] == twice[2] != twice[1] == twice[3]
    anew = passes(None)
    assert len({frozenset(one) for one in anew}) == 4


def test_texts_of_one_question_stand_side_by_side(tmp_path: Path) -> None:
    own, rows = encoder(tmp_path), {}
    for together in (True, False):
        data = TokenTexts([label_set(20, 3.0)], own, config(side_by_side=together), seed=3)
        trainer = make_trainer(
            load_tiny(tmp_path / "m"), tmp_path / f"{together}", data=data, batch_size=3
        )
        steps = trainer._steps(0)
        assert sorted(map(len, steps)) == [3] * 20
        stems = [{tuple(item.tokens[:14]) for item in step} for step in steps]
        alike = [step for step, found in zip(steps, stems, strict=True) if len(found) == 1]
        assert (len(alike) == 20) == together
        packs = [cut_batches(step, 10_000)[0].pack for step in steps]
        rows[together] = sum(len(pack.tokens) for pack in packs)
        assert trainer._steps(0) == steps != trainer._steps(1)
    assert rows[True] < 0.9 * rows[False]


def test_held_out_texts_are_bounded_and_drawn_by_the_seed(tmp_path: Path) -> None:
    own = encoder(tmp_path)
    pairs = tuple(
        QuestionAnswer(str(i), ("a", str(i)), f"t{i}", f"What is {i}?", "This.") for i in range(40)
    )
    medquad = TrainingSet("medquad", "pairs", pairs[:5], pairs[5:], None, 1.0, "")
    found = [
        TokenTexts([label_set(5), medquad], own, config(num_heldout=8), seed=seed).heldout
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    groups = [item.group for item in found[0]]
    assert groups == ["medmcqa"] * 8 + [""] * 8
    everything = TokenTexts([label_set(5)], own, config(), seed=0).heldout
    assert len(everything) == 20


def test_lengths_and_empty_sets(tmp_path: Path) -> None:
    assert choose_length(None, 512) == 512
    assert choose_length(None, 8192) == 1024
    with pytest.raises(UserError, match="--max-length 600: the model takes at most 512"):
        choose_length(600, 512)
    with pytest.raises(UserError, match="of medmcqa no text is left"):
        TokenTexts([label_set(5, heldout=0)], encoder(tmp_path), config(), seed=0)


@pytest.mark.parametrize("name", ["medmcqa", "pubmedqa"])
def test_options_are_those_that_evaluate_compares(tmp_path: Path, name: str) -> None:
    folder = write_tiny_hf(tmp_path / "llama", "llama")
    benchmark = BENCHMARKS.load(name)
    options = OPTIONS if benchmark.labelled else {word: word for word in ("yes", "no", "maybe")}
    row = Example("q", "The patiént?", "An abstract.", options, list(options)[1])
    one = TrainingSet(name, "options", (row,), (row,), benchmark, 1.0, "")
    scoring = TextPerByte()
    with TorchRuntime(resolve_model(str(folder)), threads=1) as runtime:
        for text in (*one.texts(seed=4, epoch=0), *one.heldout_texts()):
            assert isinstance(text, LabelText)
            for most in (512, 30):
                encoded = encode_texts([text], TextEncoder(folder, "folder"), most)
                [item] = encoded.items
                assert encoded.cut == (most == 30)
                prompt = Prompter(benchmark, scoring).text(text.example)
                for option, request in zip(item.options, item.requests, strict=True):
                    found = encode_request(
                        runtime, prompt, scoring.continuation(text.example, option.label)
                    )
                    assert len(request.tokens) <= most
                    assert request.tokens[-10:] == found.tokens[-10:]
                    assert option.tokens == found.tokens[found.start :]
                    weighed = scoring.weigh(text.example, {option.label: 1.0})
                    assert option.num_bytes == round(1 / weighed[option.label])
                assert item.gold == text.example.answer
                own = [option.tokens for option in item.options if option.label == item.gold]
                assert [item.tokens[item.start :]] == own


def test_the_scale_of_a_source_comes_to_its_items(tmp_path: Path) -> None:
    for spec, scale in (("medmcqa:options@0.5", 0.5), ("medmcqa:options", 3.0)):
        [found] = read_training(spec, "sample")
        items = encode_texts(found.texts(seed=0, epoch=0), encoder(tmp_path), 4096).items
        assert {item.scale for item in items} == {scale}
