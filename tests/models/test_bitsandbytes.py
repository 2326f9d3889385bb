"""Parameters of folders that bitsandbytes quantized: counted as in the dense model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("bitsandbytes", reason="needs the bnb extra")


@pytest.mark.parametrize("family", ["llama", "phi3"])
@pytest.mark.parametrize("bits", [4, 8])
def test_packed_weights_are_counted(family: str, bits: int, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    dense = write_tiny_hf(tmp_path / "dense", family, hidden_size=64)
    chosen: dict[str, Any] = {"load_in_8bit": True}
    if bits == 4:
        chosen = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        chosen["bnb_4bit_use_double_quant"] = True
    model = AutoModelForCausalLM.from_pretrained(
        dense,
        quantization_config=BitsAndBytesConfig(**chosen),
        dtype=torch.float32,
        device_map={"": "cpu"},
    )
    model.save_pretrained(tmp_path / "packed")
    AutoTokenizer.from_pretrained(dense).save_pretrained(tmp_path / "packed")
    found = inspect_model(resolve_model(str(tmp_path / "packed")))
    expected = inspect_model(resolve_model(str(dense)))
    assert found.parameters == expected.parameters
    assert found.bits_per_weight is not None and expected.bits_per_weight is not None
    assert found.bits_per_weight < expected.bits_per_weight
