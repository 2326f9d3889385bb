"""A configuration that transformers does not accept is one clear error, whatever it raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.configuration import changed_configuration, read_configuration
from galenic.models.encoders.text_encoder import TextEncoder
from tiny_hf import write_tiny_tokenizer

transformers = pytest.importorskip("transformers", reason="needs the train extra")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "llama", "hidden_size": "wide"}, "'hidden_size' expected int, got str"),
        ({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 3}, "not a multiple"),
        ({"model_type": "unheard-of"}, "unheard-of"),
    ],
)
def test_what_cannot_be_read(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=f"cannot read the configuration of mine: .*{why}"):
        read_configuration(tmp_path, "mine")


def test_other_values() -> None:
    config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=4, pad_token_id=7)
    changed = changed_configuration(config, {"intermediate_size": 96})
    assert (changed.intermediate_size, changed.hidden_size, changed.pad_token_id) == (96, 64, 7)
    assert config.intermediate_size != 96
    with pytest.raises(ValueError, match=r"^The hidden size \(64\) is not a multiple"):
        changed_configuration(config, {"num_attention_heads": 3})


def test_a_tokenizer_that_cannot_encode_is_said(tmp_path: Path) -> None:
    """Its library panics where a pattern takes too long, and a panic is no ``Exception``."""
    write_tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    slow = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    path.write_text(json.dumps(facts | {"normalizer": slow}), encoding="utf-8")
    encoder = TextEncoder(tmp_path, "folder")
    with pytest.raises(UserError, match=r"tokenizer of .* is damaged: it cannot encode \(Onig"):
        encoder.encode_batch(["a" * 40 + "!"])
