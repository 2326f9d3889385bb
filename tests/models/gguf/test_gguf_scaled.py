"""GGUFs with scaled rotary positions back as folders: logits beyond the original context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

import tiny
from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.gguf.header import check_gguf, read_metadata
from galenic.models.load import resolve_model
from galenic.runtimes import llama_context
from galenic.runtimes.llama import LlamaRuntime
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
from transformers import AutoModelForCausalLM  # noqa: E402

from galenic.models.checkpoint import open_checkpoint  # noqa: E402
from galenic.models.gguf.dequantize import dequantized_folder  # noqa: E402

ORIGINAL = 32
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": ORIGINAL}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3": ("llama", LLAMA3),
    "llama3, unpublished": ("llama", LLAMA3 | {"low_freq_factor": 1.5, "high_freq_factor": 3.0}),
    "linear": ("qwen2", {"rope_type": "linear", "factor": 4.0}),
    "linear of Gemma": ("gemma3", {"rope_type": "linear", "factor": 8.0}),
    "yarn": (
        "qwen3",
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL},
    ),
    "longrope": (
        "phi3",
        {
            "rope_type": "longrope",
            "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.5],
            "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0],
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
}


@pytest.fixture(autouse=True)
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def scaled_folder(folder: Path, family: str, settings: dict[str, Any]) -> Path:
    write_tiny_hf(folder, family)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    theta = {"rope_theta": 10000.0}
    if family == "gemma3":
        config["rope_parameters"] = {
            "full_attention": theta | settings,
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        }
    else:
        config["rope_parameters"] = theta | settings
    if family == "phi3":
        config["original_max_position_embeddings"] = ORIGINAL
    path.write_text(json.dumps(config))
    return folder


def logits(folder: Path, tokens: list[int]) -> NDArray[np.float32]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found: NDArray[np.float32] = model(torch.tensor([tokens])).logits[0].numpy()
    return found


@pytest.mark.parametrize("name", list(CASES))
def test_the_folder_predicts_what_the_original_does(name: str, tmp_path: Path) -> None:
    family, settings = CASES[name]
    source = scaled_folder(tmp_path / "m", family, settings)
    path = tmp_path / "m.gguf"
    folder_to_gguf(source, path, "F32")
    model = files(path)
    back = dequantized_folder(model)
    beyond = ORIGINAL if name == "longrope" else 4 * ORIGINAL  # a GGUF of ours ends there
    tokens = [int(x) for x in np.random.default_rng(0).integers(3, 250, beyond)]
    expected = logits(source, tokens)
    np.testing.assert_allclose(logits(back, tokens), expected, rtol=0, atol=2e-3)
    with LlamaRuntime(model, threads=1) as llama:
        found = llama.log_probs(tokens)
    wanted = torch.log_softmax(torch.tensor(expected), -1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.02)
    assert open_checkpoint(model).folder == back  # what prune, finetune and distill begin with
    config = json.loads((back / "config.json").read_text())["rope_parameters"]
    config = config.get("full_attention", config)
    if name == "llama3, unpublished":
        assert config["rope_type"] == "longrope"
    elif name != "longrope":  # of which the GGUF has the short factors twice
        assert {key: config[key] for key in settings} == settings
    again = tmp_path / "again.gguf"
    folder_to_gguf(back, again, "F32")
    assert _without_name(again) == _without_name(path)


def _without_name(path: Path) -> dict[str, Any]:
    found = dict(read_metadata(path))
    found.pop("general.name")
    places = [(t.name, t.shape, t.type) for t in check_gguf(path).tensors]
    return {**found, "tensors": places}


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_published_settings_of_llama_3_are_recognised(
    factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Divisors as Meta's own code makes them, of heads of 64 and a base of 500000."""
    import math

    divisors = []
    for number in range(32):
        wave = 2 * math.pi * 500000.0 ** (2 * number / 64)
        smooth = (8192 / wave - 1) / 3
        mixed = 1 / ((1 - smooth) / factor + smooth)
        divisors.append(1.0 if wave < 2048 else factor if wave > 8192 else mixed)
    tensors = tiny.tiny_tensors
    extra = {"rope_freqs.weight": np.array(divisors, np.float32)}
    monkeypatch.setattr(tiny, "tiny_tensors", lambda *args: tensors(*args) | extra)
    shape = tiny.TinyShape(hidden_size=256, rope_base=500000.0, context_length=131072)
    path = tiny.write_tiny_gguf(tmp_path / "m.gguf", shape=shape)
    folder = dequantized_folder(resolve_model(str(path)))
    rope = json.loads((folder / "config.json").read_text())["rope_parameters"]
    assert rope == LLAMA3 | {
        "factor": factor,
        "original_max_position_embeddings": 8192,
        "rope_theta": 500000.0,
    }


def test_long_factors_of_a_phi_are_taken_over(tmp_path: Path) -> None:
    """As llama.cpp's own converter writes them: two tensors, which differ."""
    family, settings = CASES["longrope"]
    source = scaled_folder(tmp_path / "m", family, settings)
    path = tmp_path / "m.gguf"
    folder_to_gguf(source, path, "F32")
    reader = gguf.GGUFReader(path, "r+")
    [long] = [t for t in reader.tensors if t.name == "rope_factors_long.weight"]
    long.data[:] = settings["long_factor"]
    [context] = reader.fields["phi3.context_length"].parts[-1:]
    context[0] = 512
    reader.data.flush()
    back = dequantized_folder(files(path))
    tokens = [int(x) for x in np.random.default_rng(0).integers(3, 250, 3 * ORIGINAL)]
    for length in (ORIGINAL // 2, 3 * ORIGINAL):
        np.testing.assert_allclose(
            logits(back, tokens[:length]), logits(source, tokens[:length]), rtol=0, atol=2e-3
        )
