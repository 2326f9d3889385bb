"""nf4 and int8 as stages: the values of the papers' formulas, in every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.artifact.manifest import Manifest
from galenic.compression.quantize.config import QuantizeConfig
from galenic.compression.quantize.int8 import Int8
from galenic.compression.quantize.nf4 import NF4
from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.models.packing import bitsandbytes as packing
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("bitsandbytes", reason="needs the bnb extra")


class Silent:
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...


def run(model: Path, output: Path, quantizer: Any) -> Manifest:
    from galenic.compression.quantize.run import quantize

    config = QuantizeConfig(model=str(model), method=quantizer.name)
    return quantize(config, quantizer, output, Silent())


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def nf4_levels() -> np.ndarray:
    """Appendix E of QLoRA: quantiles of a normal, eight above zero, seven below, and zero."""
    from scipy.stats import norm

    offset = 0.9677083  # mean of 1 - 1/30 and 1 - 1/32
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([above, [0.0], below]))
    return levels / levels.max()


def nf4_reference(weight: np.ndarray) -> np.ndarray:
    blocks = weight.astype(np.float64).reshape(-1, 64)
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    levels = nf4_levels()
    nearest = np.abs((blocks / scales)[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * scales).reshape(weight.shape)


def int8_reference(weight: np.ndarray) -> np.ndarray:
    rows = weight.astype(np.float64)
    scales = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.round(rows / scales) * scales


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantizer", [NF4(double_quant=False), NF4(), Int8()], ids=str)
def test_every_family_holds_the_values_of_the_paper(
    family: str, quantizer: Any, tmp_path: Path
) -> None:
    import bitsandbytes as bnb

    source = write_tiny_hf(tmp_path / "m", family, hidden_size=64)
    stage = run(source, tmp_path / "out", quantizer).stages[-1]
    assert stage.checks["tensor_bytes"] <= stage.checks["promised_bytes"]
    assert stage.sizes["after"] < stage.sizes["before"]
    assert "llama.cpp cannot read it" in stage.notes[0]
    before, after = dict(load(source).named_modules()), load(tmp_path / "out")
    count = 0
    for name, module in after.named_modules():
        if not isinstance(module, bnb.nn.Linear4bit | bnb.nn.Linear8bitLt):
            continue
        weight = before[name].weight.detach().half().numpy()
        if quantizer.name == "nf4":
            found = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            expected = nf4_reference(weight)
        else:
            found = module.weight.data.float() * module.weight.SCB[:, None] / 127
            expected = int8_reference(weight)
        if quantizer.name == "nf4":
            # 8-bit scales differ a little from the scales of the formula; ties go either way.
            loose = 0.02 if quantizer.double_quant else 2e-3
            off = np.abs(found.float().numpy() - expected) > loose * np.abs(weight).max()
            assert off.mean() < 1e-3
        else:  # a weight halfway between two codes (they are float16: it happens) goes either way
            step = np.abs(weight).max(axis=1, keepdims=True).astype(np.float64) / 127
            assert (np.abs(found.numpy() - expected) <= 1.001 * step).all()
            assert (np.abs(found.numpy() - weight) <= 0.501 * step).all()
        count += 1
    assert count == 3 * (4 if family == "phi3" else 7)


@pytest.mark.parametrize("quantizer", [NF4(), Int8()], ids=["nf4", "int8"])
def test_the_runtime_reads_it_and_says_what_it_is(quantizer: Any, tmp_path: Path) -> None:
    from galenic.runtimes.torch import TorchRuntime

    source = write_tiny_hf(tmp_path / "m", "qwen2", hidden_size=64)
    run(source, tmp_path / "out", quantizer)
    dense = TorchRuntime(resolve_model(str(source)))
    packed = TorchRuntime(resolve_model(str(tmp_path / "out")))
    assert packed.info.weights == f"float32, {quantizer.name} by bitsandbytes"
    assert packed.info.num_parameters == dense.info.num_parameters
    assert np.isfinite(packed.log_probs([1, 2, 3])).all()


def test_a_missing_package_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'galenic\[train,bnb\]'"):
        run(tmp_path / "no model is looked for", tmp_path / "out", NF4())
    assert not list(tmp_path.iterdir())


def test_a_weight_too_large_for_half_precision_is_refused(tmp_path: Path) -> None:
    source = write_tiny_hf(tmp_path / "m", "llama", hidden_size=64)
    model = load(source)
    model.get_input_embeddings().weight.data[0, 0] = 1e5
    model.save_pretrained(source)
    with pytest.raises(UserError, match=r"embed_tokens.weight holds 100000, which float16 cannot"):
        run(source, tmp_path / "out", NF4())
    run(source, tmp_path / "out", NF4(dtype="bfloat16"))


def test_a_damaged_result_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from galenic.compression.quantize import packed

    source = write_tiny_hf(tmp_path / "m", "llama", hidden_size=64)
    read = packed._load

    def damaged(folder: Path, dtype: str, **others: Any) -> Any:
        model = read(folder, dtype, **others)
        if not others:
            model.get_input_embeddings().weight.data[:] *= -1
        return model

    monkeypatch.setattr(packed, "_load", damaged)
    with pytest.raises(UserError, match="logits differ by"):
        run(source, tmp_path / "out", NF4())
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
