"""The head of a model card, read back as the Hub reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from galenic.artifact.front import base_model, card_head


@pytest.mark.parametrize(
    ("parent", "found"),
    [
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B-Instruct"),
        ("models/my.gguf", None),
        ("./model", None),
        ("/a/b", None),
        ("model", None),
    ],
)
def test_only_real_ids_are_named(parent: str, found: str | None) -> None:
    assert base_model(parent) == found


def test_a_folder_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert base_model("mine/model") is None


def test_the_head_is_yaml_and_leaves_out_what_is_not_known() -> None:
    head = card_head("./model", None, {"model-index": [{"name": "x"}]})
    assert yaml.safe_load(head.strip("-\n")) == {
        "tags": ["medical", "galenic"],
        "model-index": [{"name": "x"}],
    }
    known = yaml.safe_load(card_head("smollm2-135m", None).strip("-\n"))
    assert known["license"] == "apache-2.0"
    assert card_head("a/b", "MIT").startswith("---\nbase_model: a/b\nlicense: mit\n")
