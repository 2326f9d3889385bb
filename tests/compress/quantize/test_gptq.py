"""GPTQ as a stage: the file holds exactly what was fitted, in every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compress.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compress.quantize.gptq import GPTQ  # noqa: E402
from galenic.compress.quantize.run import quantize  # noqa: E402
from galenic.models.gguf_copy import gguf_source  # noqa: E402
from galenic.models.gguf_family import read_shape  # noqa: E402
from galenic.models.gguf_names import gguf_name, row_order  # noqa: E402

WORDS = "the man of the ward and the patient said yes or no in the morning of the day"


class Quiet:
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        pass


def config(folder: Path, model: Path) -> QuantizeConfig:
    text = folder / "text.txt"
    rng = np.random.default_rng(0)
    text.write_text("\n\n".join(" ".join(rng.permutation(WORDS.split())) for _ in range(60)))
    return QuantizeConfig(
        model=str(model), method="gptq", text=str(text), num_samples=8, seq_len=64
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_stored_as_fitted(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`quantize` compares the two runtimes; here the file is held against the fitted weights."""
    model = write_tiny_hf(tmp_path / "model", family, hidden_size=64)
    fitted: dict[str, Any] = {}
    rewrite_ = GPTQ.quantize_block_

    def spy_(self: GPTQ, block: Any, inputs: Any, **others: Any) -> None:
        rewrite_(self, block, inputs, **others)
        for linear in block.linears.values():
            name = f"model.{linear.name}.weight"
            fitted[name] = linear.module.weight.detach().clone().numpy()

    monkeypatch.setattr(GPTQ, "quantize_block_", spy_)
    manifest = quantize(config(tmp_path, model), GPTQ(type="Q5_1"), tmp_path / "out", Quiet())
    assert manifest.stages[-1].knobs["act_order"] is True
    assert sorted(p.name for p in (tmp_path / "out").glob("*.gguf")) == ["model.gguf"]
    stored = {t.name: t for t in gguf_source(tmp_path / "out" / "model.gguf").tensors}
    shape = read_shape(json.loads((model / "config.json").read_bytes()), "model")
    assert len(fitted) == (12 if family == "phi3" else 21)
    for name, values in fitted.items():
        tensor, order = stored[gguf_name(shape, name)], row_order(shape, name)
        expected = values if order is None else values[order]
        np.testing.assert_array_equal(tensor.read(0, tensor.shape[0]), expected)


def test_wrong_knobs() -> None:
    with pytest.raises(UserError, match="group-size 48 is no multiple of 32"):
        GPTQ(group_size=48)
    with pytest.raises(UserError, match="block-size 128 is no multiple of --group-size 96"):
        GPTQ(group_size=96)
    with pytest.raises(UserError, match=r"bits 3: gptq has levels for.*method kquant"):
        GPTQ(bits=3)
    with pytest.raises(UserError, match="type Q4_K: gptq has levels for IQ4_NL, Q4_0"):
        GPTQ(type="q4_k")
    with pytest.raises(UserError, match="exclude leaves: gptq has levels"):
        GPTQ(target_bpw=5, exclude="IQ4_NL,Q4_0,Q4_1,Q5_0,Q5_1,Q8_0")
    with pytest.raises(UserError, match="unknown tensor type 'Q9'"):
        GPTQ(head_type="Q9")


def test_a_group_that_does_not_divide_ends_before_the_walk(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    with pytest.raises(UserError, match=r"64 inputs, which groups of 128 do not divide"):
        quantize(config(tmp_path, model), GPTQ(group_size=128), tmp_path / "out", Quiet())
    assert not (tmp_path / "out").exists()
