"""Encoders of sentences: against a naive loop, alone and in batches; what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from galenic.errors import UserError
from galenic.models.encoders.sentence import SentenceEncoder, load_sentence_encoder
from galenic.models.load import resolve_model
from naive_sentence import naive_vector
from tiny_encoder import write_tiny_encoder

TEXTS = ["pain", "The patient has pain.", "", "yes " * 300, "[SEP] of naïve zorbs", "no\ud800"]


def load(folder: Path) -> SentenceEncoder:
    return load_sentence_encoder(resolve_model(str(folder)))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "modernbert"])
def test_vectors_are_those_of_a_naive_loop(tmp_path: Path, family: str) -> None:
    path = write_tiny_encoder(tmp_path / family, family)
    encoder = load(path)
    found = encoder.encode(TEXTS * 4)  # more than one batch
    assert found.shape == (24, 32) and encoder.longest == 96
    for text, vector in zip(TEXTS * 4, found, strict=True):
        assert vector == pytest.approx(naive_vector(path, text), abs=2e-5), text


def test_texts_are_cut_where_the_model_says(tmp_path: Path) -> None:
    path = write_tiny_encoder(tmp_path / "cut", "bert")
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    encoder = load(path)
    [found] = encoder.encode(["pain of the patient " * 30])
    assert found == pytest.approx(naive_vector(path, "pain of the patient " * 30, 16), abs=2e-5)


def test_other_ways_to_make_a_vector_are_refused(tmp_path: Path) -> None:
    path = write_tiny_encoder(tmp_path / "cls", "bert")
    pooling = path / "1_Pooling/config.json"
    pooling.parent.mkdir()
    pooling.write_text('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}')
    load(path)
    pooling.write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    with pytest.raises(UserError, match=r"plain mean pooling \(pooling_mode_cls_token\)"):
        load(path)
    pooling.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load(path)
    pooling.unlink()
    (path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(UserError, match="Dense"):
        load(path)


@pytest.mark.slow
def test_minilm_is_that_of_the_naive_loop(minilm: Path) -> None:
    encoder = load(minilm)
    assert (encoder.width, encoder.longest) == (384, 256)
    texts = ["Which drug lowers the blood pressure?", "word " * 600, "Gout. " * 20]
    for text, vector in zip(texts, encoder.encode(texts), strict=True):
        assert vector == pytest.approx(naive_vector(minilm, text, 256), abs=1e-5)
