"""An adapter merged into its base is the base with the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from galenic.artifact.manifest import read_manifest
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.models.adapter import ADAPTER_WEIGHTS
from galenic.training import merge as stage
from galenic.training.finetune.lora import LoRA, lay_over
from galenic.training.merge import merge
from tiny_hf import FAMILIES
from training import Quiet, load_tiny, write_adapter

TOKENS = torch.tensor([[5, 6, 7, 20, 30, 41, 50]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(input_ids=TOKENS).logits
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_logits_are_those_of_the_adapter(tmp_path: Path, family: str) -> None:
    adapter = write_adapter(tmp_path, family)
    merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    base = load_tiny(tmp_path / "model", family)
    assert not torch.allclose(found, logits(base), atol=0.1)
    expected = logits(lay_over(base, adapter))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    manifest = read_manifest(tmp_path / "merged")
    assert manifest is not None
    assert manifest.stages[-1].stage == "merge"
    assert manifest.stages[-1].checks["adapter_logit_difference"] < 1e-4


def test_a_merged_weight_by_hand(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, method=LoRA(rank=4, alpha=6.0))
    merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    thin = load_file(adapter / ADAPTER_WEIGHTS)
    name = "model.layers.1.mlp.up_proj"
    a, b = (thin[f"base_model.model.{name}.lora_{side}.weight"].double() for side in "AB")
    before = load_file(tmp_path / "model" / "model.safetensors")[f"{name}.weight"].double()
    after = load_file(tmp_path / "merged" / "model.safetensors")[f"{name}.weight"].double()
    torch.testing.assert_close(after, before + 6.0 / 4 * b @ a, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_dora_is_merged_by_the_command(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, method=LoRA(rank=2, dora=True))
    merged = tmp_path / "merged"
    done = CliRunner().invoke(
        app, ["merge", str(tmp_path / "model"), str(adapter), "-o", str(merged)]
    )
    assert done.exit_code == 0, done.output
    assert "merged. Logits differ" in done.output
    expected = logits(lay_over(load_tiny(tmp_path / "model"), adapter))
    found = logits(AutoModelForCausalLM.from_pretrained(merged))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_what_does_not_fit_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, model, merged = write_adapter(tmp_path), str(tmp_path / "model"), tmp_path / "merged"
    with pytest.raises(UserError, match="is not an adapter: it has no adapter_config"):
        merge(model, tmp_path / "model", merged, Quiet())
    monkeypatch.setattr(stage, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differ from those of base and adapter"):
        merge(model, adapter, merged, Quiet())
    thin = load_file(adapter / ADAPTER_WEIGHTS)
    extra = {name.replace("layers.0", "layers.7"): value.clone() for name, value in thin.items()}
    save_file({**thin, **extra}, adapter / ADAPTER_WEIGHTS)
    with pytest.raises(UserError, match="is not an adapter of this model"):
        merge(model, adapter, merged, Quiet())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter", "model"]
