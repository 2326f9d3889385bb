"""The model card says what was done and measured, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from galenic.artifact.licence import parent_licence
from galenic.artifact.manifest import Parent, Stage
from galenic.data.calibration import CalibrationConfig
from galenic.models.files import ModelFiles
from galenic.models.size import ModelSize
from galenic.recipes.card import CardFacts, Measurement, model_card
from galenic.recipes.recipe import Recipe

SIZE = ModelSize(
    name="m",
    kind="folder",
    path="/secret/place",
    sha256="ab" * 32,
    architecture="llama",
    num_layers=30,
    context_length=512,
    parameters={"total": 1_000_000, "embeddings": 250_000, "blocks": 749_000, "other": 1000},
    bytes_by_type={"F32": 4_000_000},
    file_bytes=4_001_234,
    bits_per_weight=32.0,
    tokenizer="BPE",
    chat_template=False,
    zeros=None,
    manifest=None,
)
STAGE = Stage(
    stage="prune",
    method="wanda",
    reference_url="https://arxiv.org/abs/2306.11695",
    options={"sparsity": 0.5, "pattern": "unstructured", "bits": None, "exclude": []},
    parent=Parent(name="m", sha256="ab" * 32),
    calibration={
        "sources": [{"source": "MedQuAD, calibration part", "sha256": "cd" * 32}],
        "num_samples": 64,
        "seq_len": 256,
        "seed": 7,
    },
    parameters={"before": {"total": 1_000_000}, "after": {"total": 1_000_000, "zeros": 374_500}},
    removed={"blocks": 0.5, "whole": 0.3745},
    checks={},
    versions={},
)
FACTS = CardFacts(
    recipe=Recipe("sparse", "Half of the weights.", CalibrationConfig(), ()),
    parent="my-model",
    licence="apache-2.0",
    stages=(STAGE,),
    before=SIZE,
    after=replace(SIZE, file_bytes=900_000, bits_per_weight=4.5, kind="gguf"),
)


def test_the_card_has_what_a_reader_needs() -> None:
    card = model_card(FACTS)
    for needed in (
        "The weights take 900 kB, those of the parent 4.00 MB (22%). What this cost in quality was",
        "`my-model`",
        "ab" * 32,
        "`apache-2.0`",
        "[wanda](https://arxiv.org/abs/2306.11695): pattern unstructured, sparsity 0.5.",
        "64 sequences of 256 tokens from MedQuAD, calibration part, seed 7",
        "| weight files, bytes | 4,001,234 | 900,000 |",
        "| bits per weight | 32.00 | 4.50 |",
        "| of these in the blocks | 749,000 | 749,000 |",
        "374,500 of the weights are exactly zero",
        "not a medical device",
        "llama.cpp",
    ):
        assert needed in card, needed
    assert "/secret/place" not in card


def test_nothing_is_claimed_that_was_not_measured() -> None:
    card = model_card(FACTS)
    assert "No quality was measured" in card
    assert "perplexity |" not in card
    rows = (Measurement("perplexity", "12.3", "14.5"),)
    card = model_card(replace(FACTS, measured=rows, measured_on="8 texts"))
    assert "| perplexity | 12.3 | 14.5 |" in card
    assert "measured on 8 texts" in card
    assert "Measured on 8 texts: perplexity 14.5 (parent 12.3)." in card
    assert "No quality was measured" not in card


def test_an_unknown_licence_is_said_to_be_unknown() -> None:
    assert "state no licence" in model_card(replace(FACTS, licence=None))


def test_a_method_of_whole_texts_states_documents() -> None:
    sources = [{"source": "MedQuAD", "sha256": "cd" * 32}, {"source": "mine", "sha256": "ef" * 32}]
    stage = STAGE.model_copy(update={"calibration": {"sources": sources, "documents": 1200}})
    card = model_card(replace(FACTS, stages=(stage,)))
    assert "Fitted on all 1,200 documents of MedQuAD and mine." in card


@pytest.mark.parametrize(
    ("page", "licence"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# Model\n", "mit"),
        ("---\ntags: [a]\n---\n# Model\n", None),
        ("# Model\n\nlicense: mit\n", None),
        ("---\n{{broken\n---\n", None),
        ("---\nlicense: [mit]\n---\n", None),
        (None, None),
    ],
)
def test_the_licence_is_read_where_it_is_stated(
    page: str | None, licence: str | None, tmp_path: Path
) -> None:
    if page is not None:
        (tmp_path / "README.md").write_text(page)
    assert parent_licence(ModelFiles("m", "folder", tmp_path, "")) == licence


def test_the_licence_of_a_gguf_is_in_its_metadata(smollm2: Path) -> None:
    assert parent_licence(ModelFiles("m", "gguf", smollm2, "")) in ("apache-2.0", None)
