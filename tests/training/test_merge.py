"""An adapter merged into its base is the base with the adapter."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from galenic.artifact.manifest import read_manifest
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.models.adapter import ADAPTER_WEIGHTS
from galenic.models.folder import check_adapter
from galenic.training import merge as stage
from galenic.training.finetune.lora import LoRA, lay_over
from galenic.training.merge import merge
from tiny_hf import FAMILIES, write_tiny_hf
from training import Quiet, load_tiny, write_adapter

TOKENS = torch.tensor([[5, 6, 7, 20, 30, 41, 50]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(input_ids=TOKENS).logits
    return out


@pytest.mark.slow
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
@pytest.mark.parametrize(
    ("family", "rows", "options"),
    [
        ("llama", 0, {"target_modules": ["q_proj", "embed_tokens"]}),
        ("llama", 0, {"target_modules": ["q_proj", "lm_head"]}),
        ("mistral", 0, {"target_modules": ["embed_tokens", "lm_head"]}),
        ("llama", 8, {"target_modules": ["q_proj", "embed_tokens"]}),
        (
            "mistral",
            8,
            {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
        ),
        ("llama", 0, {"target_modules": r".*\.(q|k)_proj$", "modules_to_save": ["lm_head"]}),
        ("llama", 0, {"target_modules": "all-linear", "rank_pattern": {"q_proj": 3}}),
        ("llama", 0, {"target_modules": ["q_proj"], "trainable_token_indices": [3, 4]}),
        (
            "llama",
            0,
            {
                "target_modules": ["q_proj", "down_proj"],
                "use_dora": True,
                "use_rslora": True,
                "alpha_pattern": {r"layers\.0\.self_attn\.q_proj": 9},
                "rank_pattern": {"down_proj": 1},
            },
        ),
        ("llama", 0, {"target_modules": ["q_proj"], "layers_to_transform": [1], "bias": "all"}),
        ("llama", 0, {"target_modules": [], "target_parameters": ["self_attn.q_proj.weight"]}),
        ("llama", 0, {"target_modules": "all-linear", "modules_to_save": ["input_layernorm"]}),
    ],
    ids=str,
)
def test_what_peft_trains_is_merged_as_it_computes(
    tmp_path: Path, family: str, rows: int, options: dict[str, Any]
) -> None:
    """Embedding and head as targets, tied and not, a larger vocabulary, patterns."""
    adapter, wanted = peft_adapter(tmp_path, family, rows, **options)
    merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").vocab_size > 0


def peft_adapter(folder: Path, family: str, rows: int, **options: Any) -> tuple[Path, torch.Tensor]:
    """An adapter by peft alone, over a tiny model with so many tokens more; its logits."""
    import peft

    source = write_tiny_hf(folder / "model", family)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    if rows:
        tokenizer.add_tokens([f"<extra {number}>" for number in range(rows)])
        model.resize_token_embeddings(model.config.vocab_size + rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=4, **options))
    torch.manual_seed(1)
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained.save_pretrained(folder / "adapter")
    if rows:
        tokenizer.save_pretrained(folder / "adapter")
    return folder / "adapter", logits(trained)


def test_what_peft_cannot_merge_is_said_in_words(tmp_path: Path) -> None:
    adapter, _ = peft_adapter(tmp_path, "llama", 0, target_modules=["q_proj"], lora_bias=True)
    with pytest.raises(UserError, match=r"peft cannot merge .* base layer has no bias"):
        merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    assert not (tmp_path / "merged").exists()


def test_more_tokens_need_their_tokenizer(tmp_path: Path) -> None:
    adapter, _ = peft_adapter(tmp_path, "llama", 8, target_modules=["embed_tokens"])
    (adapter / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"trained with 305 tokens, the base has 297"):
        merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())


SLOW = r"([a-z_.]+)+X$"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a slow pattern": ({"target_modules": SLOW}, "may take very long to match"),
    "a slow key": ({"rank_pattern": {SLOW: 2}}, "may take very long to match"),
    "a slow pattern in a list": ({"modules_to_save": ["a", SLOW]}, "may take very long"),
    "a slow pattern of another method": ({"feedforward_modules": SLOW}, "may take very long"),
    "many patterns": ({"modules_to_save": ["a"] * 5000}, "has 5,000 patterns"),
    "a prompt": ({"peft_type": "PROMPT_TUNING"}, "cannot be merged"),
    "a mixture by names": ({"peft_type": "xlora", "adapters": {"a": "x/y"}}, "cannot be merged"),
    "an import": ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "imports"),
    "a rank of billions": ({"r": 10**9}, "rank is larger"),
    "a pattern of billions": ({"rank_pattern": {"q_proj": 10**9}}, "rank is larger"),
    "many layers": ({"layer_replication": [[0, 1]] * 5000}, "more than 1,000 layers"),
    "layers of text": ({"layer_replication": ["ab"]}, "not a list of pairs of numbers"),
}


def test_a_configuration_that_asks_for_too_much_is_refused(tmp_path: Path) -> None:
    path = write_adapter(tmp_path) / "adapter_config.json"
    check_adapter(path.parent)
    good = json.loads(path.read_text())
    for name, (changes, says) in REFUSED.items():
        path.write_text(json.dumps(good | changes))
        with pytest.raises(UserError, match=says) as raised:
            merge(str(tmp_path / "model"), path.parent, tmp_path / "merged", Quiet())
        assert "\n" not in str(raised.value), name


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
