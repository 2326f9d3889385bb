"""Both engines compared on one text: rounding must pass, and a fault of one tensor must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.models.gguf.write import GgufSource, SourceTensor
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

HEADS, ROWS = 4, 16  # of the model below


def uneven_norms(folder: Path) -> Path:
    """Norm weights as different as those of trained models: a missing one must show."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight"):
            tensors[name] = torch.randn(tensor.shape, generator=generator).mul(0.5).exp()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def changed(source: GgufSource, reads: dict[str, Callable[[], Any]]) -> GgufSource:
    def change(tensor: SourceTensor) -> SourceTensor:
        if tensor.name not in reads:
            return tensor
        values = reads[tensor.name]()
        return replace(tensor, read=lambda start, stop: values[start:stop])

    assert set(reads) <= {tensor.name for tensor in source.tensors}
    return replace(source, tensors=tuple(change(tensor) for tensor in source.tensors))


def faults(source: GgufSource) -> dict[str, dict[str, Callable[[], Any]]]:
    """Mistakes that a writer can make, each in one block only."""
    of = {t.name: (lambda t=t: t.read(0, t.shape[0])) for t in source.tensors}
    query = "blk.1.attn_q.weight"

    def heads() -> Any:
        return of[query]().reshape(HEADS, ROWS, -1)[[3, 1, 2, 0]].reshape(HEADS * ROWS, -1)

    def halves() -> Any:  # as transformers has them: not neighbours, but half a head apart
        rows = of[query]().reshape(HEADS, ROWS // 2, 2, -1)
        return rows.swapaxes(1, 2).reshape(HEADS * ROWS, -1)

    key, value = "blk.1.attn_k.weight", "blk.1.attn_v.weight"
    norm = "blk.1.ffn_norm.weight"
    return {
        "a permuted head": {query: heads},
        "keys and values swapped": {key: of[value], value: of[key]},
        "rows in the other rotary order": {query: halves},
        "a missing norm": {norm: lambda: np.ones_like(of[norm]())},
        "norms swapped": {norm: of["output_norm.weight"], "output_norm.weight": of[norm]},
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
def test_rounding_passes_and_every_planted_fault_is_caught(tmp_path: Path, kind: str) -> None:
    from galenic.compression.quantize.agreement import measure_agreement
    from galenic.compression.quantize.kquant import quantize_gguf, uniform_types
    from galenic.models.checkpoint import open_checkpoint
    from galenic.models.gguf.copy import gguf_source
    from galenic.models.gguf.folder import folder_source
    from galenic.models.load import resolve_model
    from galenic.models.paged import PagedModel

    folder = uneven_norms(write_tiny_hf(tmp_path / "m", "llama", hidden_size=64))
    right = tmp_path / "right.gguf"
    source = folder_source(folder)
    types = uniform_types(source, kind)
    quantize_gguf(source, right, types)
    written = gguf_source(right)
    model = PagedModel(open_checkpoint(resolve_model(str(folder))), written)
    found = measure_agreement(model, right, types)
    assert found.holds
    assert 0.3 < found.difference / found.rounding < 2
    for name, reads in faults(written).items():
        wrong = tmp_path / "wrong.gguf"
        quantize_gguf(changed(written, reads), wrong, types)
        assert not measure_agreement(model, wrong, types).holds, name


def test_a_window_shorter_than_the_passage(tmp_path: Path) -> None:
    """llama.cpp takes no more tokens of such a Mistral than its window has."""
    from galenic.compression.quantize.config import QuantizeConfig
    from galenic.compression.quantize.run import quantize
    from galenic.registry import QUANTIZERS
    from watching import Notes

    folder = write_tiny_hf(tmp_path / "m", "mistral", hidden_size=64)
    config = json.loads((folder / "config.json").read_bytes())
    config["sliding_window"] = 16
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    quantizer = QUANTIZERS.load("kquant")(type="Q8_0", importance=False)
    manifest = quantize(QuantizeConfig(model=str(folder)), quantizer, tmp_path / "q8", Notes())
    assert manifest.stages[0].checks["logit_difference"] < 0.1


def test_inputs_are_rounded_as_ggml_rounds_them(tmp_path: Path) -> None:
    """The blocks that ggml itself makes of the same values, decoded by the gguf package."""
    from gguf import GGMLQuantizationType, quants

    from galenic.compression.quantize.agreement import _round
    from galenic.compression.quantize.kquant import quantize_rows

    values = np.random.default_rng(0).normal(size=(5, 512)).astype(np.float32)
    values[0, :32] = 0
    blocks = quantize_rows(values, "Q8_0")
    expected = quants.dequantize(blocks, GGMLQuantizationType.Q8_0)
    found = _round(torch.from_numpy(values), "Q4_0").numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    wide = _round(torch.from_numpy(values), "Q4_K").numpy()
    step = np.abs(values).reshape(5, 2, 256).max(axis=-1, keepdims=True) / 127
    levels = wide.reshape(5, 2, 256) / step
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert (np.abs(wide - values).reshape(5, 2, 256) <= step / 2 * 1.001).all()
    for kind in ("IQ4_XS", "IQ3_S"):
        np.testing.assert_array_equal(_round(torch.from_numpy(values), kind).numpy(), wide)
    half = _round(torch.from_numpy(values), "F16").numpy()
    np.testing.assert_array_equal(half, values.astype(np.float16).astype(np.float32))
