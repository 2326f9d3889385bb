"""Matrices taken apart and put together: the same bytes, and the values that gguf reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from galenic.compression.quantize.kquant import quantize_rows
from galenic.compression.quantize.types.lattice import LATTICES, unpack


def decode(blocks: Any, type_name: str) -> Any:
    return quants.dequantize(blocks, GGMLQuantizationType[type_name])


def made(type_name: str, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).normal(size=(9, 512)).astype(np.float32) + 0.3
    rows[1], rows[2, :40] = 0, 1.5
    return quantize_rows(rows, type_name, importance=np.linspace(1, 3, 512, dtype=np.float32))


@pytest.mark.parametrize("type_name", LATTICES)
def test_values_are_those_that_gguf_reads(type_name: str) -> None:
    blocks = made(type_name)
    found = unpack(blocks, type_name)
    np.testing.assert_allclose(found.values(), decode(blocks, type_name), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.pack(), blocks)


@pytest.mark.parametrize("type_name", LATTICES)
def test_any_bytes_come_back(type_name: str) -> None:
    kind = GGMLQuantizationType[type_name]
    block, size = GGML_QUANT_SIZES[kind]
    blocks = np.random.default_rng(1).integers(0, 256, (5, 512 // block * size), np.uint8)
    if type_name == "Q8_0":  # -128 is no code of it
        blocks[blocks == 128] = 127
    found = unpack(blocks, type_name)
    np.testing.assert_array_equal(found.pack(), blocks)
    assert found.codes.min() == found.lowest
    assert found.codes.max() == found.lowest + len(found.levels) - 1


@pytest.mark.parametrize("type_name", LATTICES)
def test_codes_changed_are_read_so(type_name: str) -> None:
    found = unpack(made(type_name), type_name)
    rng = np.random.default_rng(2)
    found.codes = rng.integers(
        found.lowest, found.lowest + len(found.levels), found.codes.shape, np.int16
    )
    expected = decode(found.pack(), type_name)
    np.testing.assert_allclose(found.values(), expected, rtol=1e-6, atol=1e-6)
