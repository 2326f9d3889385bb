"""Models for entailment: probabilities against transformers, labels, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch

from galenic.errors import UserError
from galenic.models.encoders.entailment import EntailmentModel, load_entailment_model
from galenic.models.load import resolve_model
from tiny import write_tiny_gguf
from tiny_encoder import write_judge, write_tiny_encoder

LABELS = {0: "CONTRADICTION", 1: "neutral", 2: "Entailment"}


def load(folder: Path) -> EntailmentModel:
    return load_entailment_model(resolve_model(str(folder)))


def test_probabilities_are_those_of_transformers(tmp_path: Path) -> None:
    import transformers

    folder = write_judge(tmp_path / "nli", LABELS)
    judge = load(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    seen = set()
    for source, claim in (("The patient has pain.", "pain"), ("pain", "The patient has pain.")):
        with torch.no_grad():
            logits = model(**tokenizer(source, claim, return_tensors="pt")).logits[0]
        against, _, supported = torch.softmax(logits, 0).tolist()
        assert judge.judge(source, claim) == pytest.approx((supported, against), abs=1e-6)
        seen.add(round(supported, 6))
    assert len(seen) == 2  # the order of source and claim matters
    judge.judge("pain " * 2000, "pain")  # overlong sources are cut


def test_labels_decide_which_output_is_meant(tmp_path: Path) -> None:
    two = load(write_judge(tmp_path / "two", {0: "entailment", 1: "not_entailment"}))
    assert (two.entailment, two.contradiction) == (0, None)
    assert two.judge("pain", "pain")[1] == 0
    with pytest.raises(UserError, match="LABEL_0, LABEL_1"):
        load(write_judge(tmp_path / "no", {0: "LABEL_0", 1: "LABEL_1"}))


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path / "bare", "bert")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(at): name for at, name in LABELS.items()}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no trained classification head"):
        load(folder)


def test_what_is_no_model_for_entailment_is_said_so(tmp_path: Path) -> None:
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(UserError, match=r"is a GGUF file, no model for entailment. Name a folder"):
        load(gguf)
    choice = write_tiny_encoder(tmp_path / "choice", "bert", head=True)
    with pytest.raises(UserError, match=r"none of its labels.*LABEL_1\). Name a folder"):
        load(choice)
