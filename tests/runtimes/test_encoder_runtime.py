"""The encoder runtime against plain transformers, one pair at a time, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer

from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.evaluation.records import Record
from galenic.evaluation.run import evaluate
from galenic.models.files import ModelFiles
from galenic.runtimes.encoder import EncoderRuntime
from galenic.runtimes.torch import TorchRuntime
from galenic.runtimes.tree import build_pack, sum_by_request
from tiny_encoder import ENCODERS, write_tiny_encoder
from tiny_hf import write_tiny_hf
from training import Quiet

STEM = "Context: the patient has pain.\nQuestion: what of it?"
PAIRS = [
    (STEM, "yes"),
    (STEM, "no, and the pain stays"),
    ("Question: [SEP] or </s>?", "maybe [SEP] <s>"),
    (STEM, "yes"),  # asked twice
    ("the " * 200 + "end", "yes"),  # longer than the model takes
]


@pytest.fixture(scope="module", params=ENCODERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp(request.param), request.param, head=True)


def files(folder: Path) -> ModelFiles:
    return ModelFiles(folder.name, "folder", folder, "0" * 64)


def naive(folder: Path, text: str, option: str) -> float:
    """The score as transformers gives it: its own joining and cutting, one pair, no padding."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, truncation_side="left")
    inputs = tokenizer(
        text, option, truncation="only_first", split_special_tokens=True, return_tensors="pt"
    )
    model = AutoModelForMultipleChoice.from_pretrained(folder).eval()
    with torch.no_grad():
        return float(model(**{name: value[None] for name, value in inputs.items()}).logits[0, 0])


def test_scores_are_those_of_plain_transformers(folder: Path) -> None:
    plain = [pair for pair in PAIRS if "[SEP]" not in pair[0]]
    with EncoderRuntime(files(folder), threads=1) as runtime:
        requests = runtime.encode_pairs(plain)
        pack = build_pack(requests)
        found = sum_by_request(pack, runtime.score(pack))
        assert runtime.num_computed(pack) == sum(len(request.tokens) for request in requests)
        assert [request.cut > 0 for request in requests] == [False, False, False, True]
        assert max(len(request.tokens) for request in requests) == runtime.info.context_length == 96
    wanted = [naive(folder, *pair) for pair in plain]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted) > 1e-3


def test_marks_in_a_text_are_text(folder: Path) -> None:
    with EncoderRuntime(files(folder), threads=1) as runtime:
        pairs = runtime._encoder.pairs
        tokenizer = pairs.tokenizer
        (pair,) = pairs.encode([PAIRS[2]])
        marks = {tokenizer.sep_token_id, tokenizer.cls_token_id}
        layout = pairs.layout
        inside = pair.tokens[len(layout.before) : -len(layout.after)]
        assert sum(token in marks for token in inside) == len(layout.between)
        assert len(pairs.segments(pair.tokens)) == len(pair.tokens)


def test_a_long_option_leaves_half_the_room_to_the_text(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path, "bert", head=True)
    with EncoderRuntime(files(folder), threads=1, context_length=23) as runtime:
        (request,) = runtime.encode_pairs([("pain " * 30, "no " * 40)])
        tokens = [runtime.vocabulary()[token] for token in request.tokens]
        assert tokens == ["[CLS]", *["pain"] * 10, "[SEP]", *["no"] * 10, "[SEP]"]
        assert request.cut == 50
        assert runtime.decode(request.tokens) == "pain " * 10 + "no " * 9 + "no"
        for write in (lambda: runtime.generate("a"), lambda: runtime.log_probs([1])):
            with pytest.raises(UserError, match="writes no text"):
                write()


def settings(folder: Path, **changes: Any) -> EvaluateConfig:
    options: dict[str, Any] = {"model": str(folder), "benchmarks": "sample", "data": "sample"}
    return EvaluateConfig(**options | {"limit": 6, "threads": 1} | changes)


def test_evaluating_end_to_end(folder: Path, tmp_path: Path) -> None:
    done = evaluate(settings(folder), tmp_path / "run", Quiet(), "galenic evaluate test")
    lines = (done.folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [Record.model_validate_json(line) for line in lines]
    items = [
        json.loads(line)
        for line in (done.folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(records) == len(items) == 4 * 6
    run = json.loads((done.folder / "run.json").read_text(encoding="utf-8"))
    assert run["config"]["scoring"] == ["head"]
    assert run["model"]["runtime"] == "encoder"
    asked = {(item["benchmark"], item["id"]): item for item in items}
    for record in records:
        assert record.scoring == "head"
        item = asked[record.benchmark, record.id]
        weights = np.exp([record.loglikelihoods[label] for label in item["options"]])
        found = [record.probabilities[label] for label in item["options"]]
        np.testing.assert_allclose(found, weights / weights.sum(), atol=1e-4)
    one = next(
        record for record in records if record.benchmark == "medmcqa" and not record.truncated
    )
    item = asked[one.benchmark, one.id]
    for label, option in item["options"].items():
        expected = naive(folder, f"Question: {item['question']}", option)
        assert one.loglikelihoods[label] == pytest.approx(expected, abs=2e-4)
    assert any(record.truncated for record in records)


def test_debiasing_an_encoder(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path / "enc", "bert", head=True)
    plain, turned = (
        evaluate(settings(folder, debias=debias), tmp_path / debias, Quiet(), "t").folder
        for debias in ("none", "permutations")
    )  # options are not shown, so there is nothing to turn
    assert (plain / "records.jsonl").read_bytes() == (turned / "records.jsonl").read_bytes()
    prior = evaluate(settings(folder, debias="prior"), tmp_path / "prior", Quiet(), "t").folder
    assert '"debias":"prior"' in (prior / "records.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scoring": "letter"}, "letter is not for .* the encoder runtime offers head"),
        ({"scoring": "head,generate"}, "generate is not for"),
        ({"num_fewshot": 2}, "no solved examples"),
        ({"chat_template": True}, "no chat template"),
        ({"runtime": "torch"}, "multiple-choice head: it chooses among options"),
        ({"context_length": 97}, "takes at most 96 tokens, not 97"),
    ],
)
def test_what_an_encoder_cannot_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_tiny_encoder(tmp_path / "enc", "bert", head=True)
    with pytest.raises(UserError, match=message):
        evaluate(settings(folder, **changes), tmp_path / "run", Quiet(), "galenic evaluate test")
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_the_head_is_not_for_models_that_write(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "llama", "llama")
    with pytest.raises(UserError, match=r"head is not for .* torch runtime offers letter"):
        evaluate(settings(folder, scoring="head"), tmp_path / "run", Quiet(), "t")
    with pytest.raises(UserError, match=r"is a llama, for which .* no multiple-choice head"):
        EncoderRuntime(files(folder), threads=1)
    with pytest.raises(UserError, match="stands alone"):
        settings(folder, scoring="auto,head")


def test_an_encoder_without_head_is_told_from_one_with(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path / "enc", "bert")
    with pytest.raises(UserError, match="no trained multiple-choice head"):
        EncoderRuntime(files(folder), threads=1)
    with pytest.raises(UserError, match=r"is an encoder \(bert\).*galenic encoder"):
        TorchRuntime(files(folder), threads=1)
    with pytest.raises(UserError, match="is a GGUF file"):
        EncoderRuntime(ModelFiles("m.gguf", "gguf", tmp_path / "m.gguf", "0" * 64), threads=1)
    shutil.copy(write_tiny_encoder(tmp_path / "b", "roberta") / "model.safetensors", folder)
    with pytest.raises(UserError, match=r"weights do not fit|cannot load"):
        EncoderRuntime(files(folder), threads=1)


def test_a_tokenizer_without_marks_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path / "enc", "bert", head=True)
    write_tiny_hf(tmp_path / "llama", "qwen2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "llama" / name, folder / name)
    with pytest.raises(UserError, match="does not mark where one text ends"):
        EncoderRuntime(files(folder), threads=1)
