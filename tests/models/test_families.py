"""Every stage of the families beyond the first six: converted, pruned, quantized, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the train extra")
import transformers  # noqa: E402

from galenic.artifact.manifest import Manifest  # noqa: E402
from galenic.compression.prune.config import PruneConfig  # noqa: E402
from galenic.compression.prune.run import prune  # noqa: E402
from galenic.compression.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compression.quantize.run import quantize  # noqa: E402
from galenic.errors import UserError  # noqa: E402
from galenic.models.files import ModelFiles  # noqa: E402
from galenic.models.gguf.dequantize import dequantized_folder  # noqa: E402
from galenic.models.gguf.folder import folder_to_gguf  # noqa: E402
from galenic.registry import PRUNERS, QUANTIZERS  # noqa: E402
from galenic.runtimes import llama_context  # noqa: E402
from galenic.runtimes.llama import LlamaRuntime  # noqa: E402
from galenic.runtimes.torch import TorchRuntime  # noqa: E402
from galenic.watcher import SilentWatcher  # noqa: E402
from tiny_hf import MORE_FAMILIES, write_tiny_hf  # noqa: E402

pytestmark = pytest.mark.slow
TOKENS = [int(x) for x in np.random.default_rng(0).integers(3, 250, 60)]
"""Longer than the sliding window of the tiny Gemma."""


def tolerance(folder: Path) -> float:
    """In nats. ggml reads the GELU of GPT-NeoX from a table in float16, in its tanh form."""
    return 0.03 if folder.name == "gpt_neox" else 0.01


@pytest.fixture(autouse=True)
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)


@pytest.fixture(scope="module", params=MORE_FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("families") / str(request.param)
    return write_tiny_hf(path, str(request.param), hidden_size=64)


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def expected(folder: Path) -> NDArray[np.float32]:
    """Log-probabilities of transformers, by nothing of ours."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        found = torch.log_softmax(model(torch.tensor([TOKENS])).logits[0], -1)
    return np.asarray(found.numpy())


def test_both_engines_predict_what_transformers_does(folder: Path, tmp_path: Path) -> None:
    wanted = expected(folder)
    path = tmp_path / "m.gguf"
    folder_to_gguf(folder, path, "F32")
    model = files(path)
    with LlamaRuntime(model, threads=1) as llama:
        found = llama.log_probs(TOKENS)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance(folder))
    back = dequantized_folder(model)
    np.testing.assert_allclose(expected(back), wanted, rtol=0, atol=1e-4)
    with TorchRuntime(ModelFiles("m", "folder", folder, "0"), threads=1) as own:
        np.testing.assert_allclose(own.log_probs(TOKENS), wanted, rtol=0, atol=1e-4)


def pruned(folder: Path, output: Path, method: str, **options: Any) -> Manifest:
    notes = output.parent / "notes.txt"
    lines = [f"The patient number {i} was seen on day {i * i} of the year." for i in range(60)]
    notes.write_text("\n\n".join(lines), encoding="utf-8")
    config = PruneConfig(
        model=str(folder), method=method, text=str(notes), num_samples=2, seq_len=32
    )
    return prune(config, PRUNERS.load(method)(**options), output, SilentWatcher())


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("width", {"sparsity": 0.2, "kv_groups": 1}),
        ("width", {"sparsity": 0.3, "hidden_size": 32, "score": "magnitude"}),
        ("depth", {"sparsity": 0.2, "metric": "influence"}),
        ("wanda", {"sparsity": 0.3}),
    ],
    ids=["width", "hidden", "depth", "wanda"],
)
def test_pruned_models_are_read_by_both(
    folder: Path, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    """Saving compares the logits of the folder; here, of the GGUF made of it."""
    if folder.name in (
        "olmo2",
        "gpt_neox",
    ):  # llama.cpp takes the head size to be hidden size / heads
        if "hidden_size" in options:
            with pytest.raises(UserError, match=r"--hidden-size 32: llama.cpp takes the head size"):
                pruned(folder, tmp_path / "out", method, **options)
            return
        options = {key: value for key, value in options.items() if key != "kv_groups"}
    pruned(folder, tmp_path / "out", method, **options)
    path = tmp_path / "m.gguf"
    folder_to_gguf(tmp_path / "out", path, "F32")
    with LlamaRuntime(files(path), threads=1) as llama:
        found = llama.log_probs(TOKENS)
    np.testing.assert_allclose(found, expected(tmp_path / "out"), rtol=0, atol=tolerance(folder))


def test_quantized_models_agree_in_both_engines(folder: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("\n\n".join(f"The patient {i} has the flu. " * 9 for i in range(60)))
    config = QuantizeConfig(model=str(folder), text=str(notes), num_samples=2, seq_len=32)
    method = QUANTIZERS.load("kquant")(type="Q8_0")
    stage = quantize(config, method, tmp_path / "out", SilentWatcher()).stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]
