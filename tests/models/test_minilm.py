"""A real encoder under a new head: its own weights, its own way to join two texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch
from transformers import AutoModel, AutoTokenizer

from galenic.models.encoders.encoder import load_encoder
from galenic.models.load import resolve_model

TEXTS = ("Question: Which drug lowers the blood pressure?", "Question: [SEP]? " + "word " * 600)


@pytest.mark.slow
def test_minilm_keeps_its_weights_under_a_new_head(minilm: Path) -> None:
    encoder = load_encoder(resolve_model(str(minilm)), seed=0)
    again = load_encoder(resolve_model(str(minilm)), seed=0, longest=128)
    assert torch.equal(encoder.model.classifier.weight, again.model.classifier.weight)
    assert (encoder.pairs.longest, again.pairs.longest) == (512, 128)
    tokenizer: Any = AutoTokenizer.from_pretrained(minilm, truncation_side="left")
    plain = AutoModel.from_pretrained(minilm).eval()
    pairs = [(text, option) for text in TEXTS for option in ("Lisinopril", "Ibuprofen, 400 mg")]
    joined = encoder.pairs.encode(pairs)
    with torch.no_grad():
        found = encoder.scores([pair.tokens for pair in joined])
        for (text, option), pair, score in zip(pairs, joined, found, strict=True):
            inputs = tokenizer(
                text,
                option,
                truncation="only_first",
                max_length=512,
                split_special_tokens=False,
                return_tensors="pt",
            )
            wanted = encoder.model.classifier(plain(**inputs).pooler_output)
            if not pair.cut:
                assert pair.tokens == tuple(inputs["input_ids"][0].tolist())
            assert float(score) == pytest.approx(float(wanted), abs=1e-5)
