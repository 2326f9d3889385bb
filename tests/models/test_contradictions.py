"""A config.json that contradicts itself or the weights: read as transformers does, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from galenic.errors import UserError  # noqa: E402
from galenic.models.checkpoint import open_checkpoint  # noqa: E402
from galenic.models.configuration import read_configuration  # noqa: E402
from galenic.models.files import ModelFiles  # noqa: E402
from galenic.models.gguf.folder import folder_source, folder_to_gguf  # noqa: E402
from galenic.models.weights import check_weights  # noqa: E402
from galenic.runtimes import llama_context  # noqa: E402
from galenic.runtimes.llama import LlamaRuntime  # noqa: E402
from tiny_hf import write_tiny_hf  # noqa: E402

TOKENS = [int(x) for x in np.random.default_rng(0).integers(3, 250, 24)]
Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_hf(tmp_path_factory.mktemp("base") / "llama", "llama", hidden_size=64)


def changed(
    base: Path,
    folder: Path,
    settings: dict[str, Any],
    gone: str = "",
    tensors: Change | None = None,
) -> Path:
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text()) | settings
    config.pop(gone, None)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        path = folder / "model.safetensors"
        save_file(tensors(load_file(path)), path, {"format": "pt"})
    return folder


def open_by_name(folder: Path) -> None:
    open_checkpoint(ModelFiles("m", "folder", folder, ""))


@pytest.mark.parametrize(
    "settings",
    [
        {"tie_word_embeddings": False},  # and no head is stored
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": None},  # then as many as query heads
        {"num_hidden_layers": 2},
        {"num_hidden_layers": 4},
        {"vocab_size": 320},
        {"head_dim": 8},
        {"intermediate_size": 64},
        {"hidden_size": 128},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 0}},
        {"max_position_embeddings": -1},
    ],
    ids=str,
)
def test_settings_that_the_weights_contradict(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = changed(base, tmp_path / "m", settings)
    for reads in (folder_source, open_by_name, lambda path: check_weights(path, "m")):
        with pytest.raises(UserError):
            reads(folder)


@pytest.mark.parametrize("method", ["fp8", "gptq", "awq", "compressed-tensors", "bitsandbytes"])
def test_plain_weights_that_are_said_to_be_quantized(
    base: Path, tmp_path: Path, method: str
) -> None:
    told = {"quantization_config": {"quant_method": method, "bits": 4, "load_in_4bit": True}}
    folder = changed(base, tmp_path / "m", told)
    with pytest.raises(UserError, match=f"says that its weights are quantized \\({method}\\)"):
        folder_source(folder)
    with pytest.raises(UserError, match="are quantized"):
        open_by_name(folder)


def test_integers_without_a_scale_are_no_weights(base: Path, tmp_path: Path) -> None:
    """transformers casts them, and computes something."""

    def to_int8(stored: dict[str, Any]) -> dict[str, Any]:
        return {
            name: (9 * value).to(torch.int8) if "proj" in name else value
            for name, value in stored.items()
        }

    folder = changed(base, tmp_path / "m", {}, tensors=to_int8)
    with pytest.raises(UserError, match="stores 21 tensors as whole numbers without their scale"):
        check_weights(folder, "m")
    for reads in (folder_source, open_by_name):
        with pytest.raises(UserError, match="has the type I8"):
            reads(folder)


def other_head(stored: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(5)
    return stored | {"lm_head.weight": torch.randn_like(stored["model.embed_tokens.weight"])}


@pytest.mark.parametrize(
    ("settings", "gone", "tensors"),
    [
        ({"rope_theta": 500000.0}, "", None),  # beside another in rope_parameters
        ({"rope_theta": 500000.0}, "rope_parameters", None),
        ({"rope_theta": 5e3, "rope_scaling": {"type": "linear", "factor": 2.0}}, "", None),
        (
            {"rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 2.0}},
            "rope_parameters",
            None,
        ),
        ({"architectures": ["MistralForCausalLM"]}, "", None),
        ({"dtype": "float16", "torch_dtype": "bfloat16"}, "", None),
        ({"eos_token_id": [296, 295]}, "", None),
        ({"tie_word_embeddings": True}, "", other_head),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_transformers_settles_is_settled_alike(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    gone: str,
    tensors: Change | None,
) -> None:
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)
    folder = changed(base, tmp_path / "m", settings, gone, tensors)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([TOKENS])).logits[0], -1).numpy()
    folder_to_gguf(folder, tmp_path / "m.gguf", "F32")
    files = ModelFiles("m", "gguf", tmp_path / "m.gguf", "0" * 64)
    with LlamaRuntime(files, threads=1) as llama:
        np.testing.assert_allclose(llama.log_probs(TOKENS), wanted, rtol=0, atol=2e-3)


def test_a_context_of_one_token_is_no_mistake(base: Path, tmp_path: Path) -> None:
    folder = changed(base, tmp_path / "m", {"max_position_embeddings": 1})
    assert read_configuration(folder, "m").max_position_embeddings == 1
