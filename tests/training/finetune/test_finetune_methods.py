"""What each method trains, and what it saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from galenic.errors import UserError
from galenic.models.layers import read_layout
from galenic.registry import FINETUNERS
from galenic.training.finetune.base import Finetuner
from galenic.training.finetune.full import Full
from galenic.training.finetune.lora import LoRA, lay_over
from tiny_hf import FAMILIES, write_tiny_hf
from training import load_tiny, make_trainer

TOKENS = torch.tensor([[5, 6, 7, 20, 30, 41, 50]])


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=TOKENS).logits
    return out


def plain(model: Any) -> Any:
    """The model with the attention that it came with."""
    model.set_attn_implementation("sdpa")
    return model


def train_tiny(method: Finetuner, tmp_path: Path, family: str = "llama", steps: int = 2) -> Any:
    model = method.prepare(read_layout(load_tiny(tmp_path / "model", family)), seed=1)
    make_trainer(model, tmp_path / "run", max_steps=steps, learning_rate=1e-2, warmup=0.0).run()
    return model


@pytest.mark.parametrize("name", list(FINETUNERS))
def test_every_method_is_described(name: str) -> None:
    method = FINETUNERS.load(name)()
    assert isinstance(method, Finetuner)
    assert method.name == name
    assert method.title
    assert method.reference_url.startswith("https://")
    assert method.saves in {"adapter", "model"}
    assert all(field.description for field in type(method).model_fields.values())
    json.dumps(method.options)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", list(FINETUNERS))
def test_what_is_saved_is_what_was_trained(tmp_path: Path, name: str, family: str) -> None:
    method = FINETUNERS.load(name)()
    model = train_tiny(method, tmp_path, family)
    expected = logits(plain(model))
    folder = tmp_path / "saved"
    folder.mkdir()
    checks = method.save(model, folder, base="tiny", source=tmp_path / "model")
    base = load_tiny(tmp_path / "model", family)
    assert not torch.allclose(expected, logits(base), atol=1e-2)
    if method.saves == "adapter":
        found = logits(lay_over(base, folder))
    else:
        found = logits(AutoModelForCausalLM.from_pretrained(folder))
        assert checks["logit_difference"] <= checks["tolerance"]
        assert (folder / "tokenizer.json").exists()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", [LoRA(rslora=True), LoRA(dora=True), LoRA(dropout=0.3)])
def test_kinds_of_adapters_come_back(tmp_path: Path, method: LoRA) -> None:
    model = train_tiny(method, tmp_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    method.save(model, folder, base="tiny", source=tmp_path / "model")
    found = logits(lay_over(load_tiny(tmp_path / "model"), folder))
    torch.testing.assert_close(found, logits(plain(model)), rtol=1e-4, atol=1e-4)


def test_the_adapter_folder_names_the_base_and_nothing_of_the_machine(tmp_path: Path) -> None:
    texts = []
    for number in range(2):
        model = LoRA().prepare(read_layout(load_tiny(tmp_path / "model")), seed=1)
        folder = tmp_path / str(number)
        folder.mkdir()
        LoRA().save(model, folder, base="tiny", source=tmp_path / "model")
        assert {f.name for f in folder.iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }
        texts.append([file.read_bytes() for file in sorted(folder.iterdir())])
    assert texts[0] == texts[1]
    config = json.loads(texts[0][0])
    assert config["base_model_name_or_path"] == "tiny"
    assert str(tmp_path) not in texts[0][0].decode()


def test_adapters_of_other_models_are_refused(tmp_path: Path) -> None:
    model = LoRA().prepare(read_layout(load_tiny(tmp_path / "model")), seed=1)
    folder = tmp_path / "saved"
    folder.mkdir()
    with pytest.raises(UserError, match="is not an adapter: it has no adapter_config"):
        lay_over(load_tiny(tmp_path / "model"), folder)
    LoRA().save(model, folder, base="tiny", source=tmp_path / "model")
    write_tiny_hf(tmp_path / "wide", "llama", hidden_size=64)
    with pytest.raises(UserError, match="is not an adapter of this model"):
        lay_over(load_tiny(tmp_path / "wide"), folder)


def test_a_new_adapter_changes_nothing(tmp_path: Path) -> None:
    base = load_tiny(tmp_path / "model")
    before = logits(base)
    torch.testing.assert_close(logits(LoRA().prepare(read_layout(base), seed=1)), before)


@pytest.mark.parametrize("method", [LoRA(top_blocks=1), Full(top_blocks=1)])
def test_only_the_top_blocks_are_trained(tmp_path: Path, method: Finetuner) -> None:
    model = method.prepare(read_layout(load_tiny(tmp_path / "model")), seed=1)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("layers.2." in name for name in trained)


def test_the_targets_get_the_adapters(tmp_path: Path) -> None:
    method = LoRA.model_validate({"targets": "q,v", "rank": 3})
    model = method.prepare(read_layout(load_tiny(tmp_path / "model")), seed=1)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    assert len(shapes) == 3 * 2 * 2
    assert all("q_proj" in name or "v_proj" in name for name in shapes)
    assert {min(shape) for shape in shapes.values()} == {3}


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    layout = read_layout(load_tiny(tmp_path / "model"))
    with pytest.raises(UserError, match="--top-blocks 4: the model has 3 blocks"):
        Full(top_blocks=4).check(layout)
    with pytest.raises(UserError, match="--rank 60 is more than"):
        LoRA(rank=60).check(layout)
    LoRA(rank=24).check(layout)
    with pytest.raises(ValidationError):
        LoRA.model_validate({"targets": "q,x"})
