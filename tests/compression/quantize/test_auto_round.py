"""auto_round as a stage: the file holds what the package found, digit for digit."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from galenic.compression.quantize import auto_round
from galenic.compression.quantize.auto_round import AutoRound
from galenic.compression.quantize.config import QuantizeConfig
from galenic.errors import UserError
from galenic.models.gguf.header import read_header
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")


class Silent:
    def say(self, text: str) -> None: ...
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...


def run(model: Path, tmp_path: Path, **options: Any) -> Any:
    from galenic.compression.quantize.run import quantize

    text = tmp_path / "notes.txt"
    text.write_text("the patient of the question and the answer yes no maybe " * 100)
    config = QuantizeConfig(
        model=str(model), method="auto_round", text=str(text), num_samples=4, seq_len=32
    )
    return quantize(config, AutoRound(**options), tmp_path / "out", Silent())


def test_a_missing_package_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_round, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'galenic\[train,auto-round\]'"):
        run(tmp_path / "no model is looked for", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("bits", [4, 5])
def test_codes_and_scales_reach_the_file_unchanged(bits: int) -> None:
    import gguf

    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (6, 2, 32), generator=generator)
    scale = torch.tensor([[0.5, -0.25]]).repeat(6, 1)  # halves: float16 holds every product
    scale[3, 1] = 0.0
    weight = (codes * scale[..., None]).reshape(6, 64)
    method = AutoRound(bits=bits)
    found = method._matrix(SimpleNamespace(weight=torch.nn.Parameter(weight), scale=scale))
    read = gguf.quants.dequantize(found.encode(), gguf.GGMLQuantizationType[method.type_name])
    np.testing.assert_array_equal(read, weight.numpy())


def test_weights_off_the_grid_are_refused() -> None:
    weight = torch.nn.Parameter(torch.full((2, 32), 1.7))
    with pytest.raises(UserError, match=r"weights that are not of Q4_0. Install the version"):
        AutoRound()._matrix(SimpleNamespace(weight=weight, scale=torch.full((2, 1), 0.5)))


def test_a_model_of_which_nothing_is_tuned_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_round, "find_spec", lambda name: True)
    model = write_tiny_hf(tmp_path / "m", "llama", hidden_size=48)
    with pytest.raises(UserError, match=r"rows and columns of a multiple of 32: .*m has none"):
        run(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"m", "notes.txt"}


@pytest.mark.slow  # the package takes seconds to import
@pytest.mark.parametrize(
    ("family", "hidden_size", "options"),
    [
        ("llama", 64, {"iters": 2}),
        ("phi3", 64, {"iters": 0}),
        ("qwen2", 96, {"iters": 1, "bits": 5}),  # keys and values have 48 outputs: left alone
    ],
)
def test_the_file_holds_what_the_package_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    hidden_size: int,
    options: dict[str, Any],
) -> None:
    pytest.importorskip("auto_round", reason="needs the auto-round extra")
    from galenic.models.gguf.copy import gguf_source
    from galenic.models.gguf.folder import folder_source

    found = []
    tune = AutoRound._tune

    def keep(self: Any, *args: Any) -> Any:
        found.append(tune(self, *args))
        return found[-1]

    monkeypatch.setattr(AutoRound, "_tune", keep)
    model = write_tiny_hf(tmp_path / "m", family, hidden_size=hidden_size)
    stage = run(model, tmp_path, **options).stages[-1]
    assert stage.checks["tensor_bytes"] == stage.checks["promised_bytes"]
    assert stage.versions["auto-round"]
    found[0].save_pretrained(tmp_path / "found")
    for file in model.glob("tokenizer*"):
        shutil.copyfile(file, tmp_path / "found" / file.name)
    written, kind = tmp_path / "out" / "model.gguf", AutoRound(**options).type_name
    theirs = {t.name: t for t in folder_source(tmp_path / "found").tensors}
    types = {t.name: t.type for t in read_header(written).tensors}
    assert sum(found == kind for found in types.values()) >= 3
    for tensor in gguf_source(written).tensors:
        if types[tensor.name] != kind:
            continue
        values = tensor.read(0, tensor.shape[0])
        expected = theirs[tensor.name].read(0, tensor.shape[0])
        if tensor.shape[0] % 32 == 0:  # others the package leaves alone
            # scales are rounded to float16, and codes of up to 16 multiply that
            np.testing.assert_allclose(values, expected, atol=2e-3 * np.abs(expected).max())
        step = np.abs(expected).max() / 2 ** (AutoRound(**options).bits - 1)
        assert np.abs(values - expected).max() < 1.5 * step


@pytest.mark.slow
def test_the_bytes_are_those_of_the_package() -> None:
    pytest.importorskip("auto_round", reason="needs the auto-round extra")
    from auto_round.export.export_to_gguf.packing import ggml_quant

    generator = torch.Generator().manual_seed(0)
    for bits in (4, 5):
        scale = torch.rand((8, 3), generator=generator) - 0.5
        codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (8, 3, 32), generator=generator)
        weight = (codes * scale[..., None]).reshape(8, 96)
        ours = AutoRound(bits=bits)._matrix(
            SimpleNamespace(weight=torch.nn.Parameter(weight), scale=scale)
        )
        theirs = ggml_quant(weight, f"q{bits}_0", scale=scale, device="cpu")
        np.testing.assert_array_equal(ours.encode(), theirs.reshape(8, -1))
