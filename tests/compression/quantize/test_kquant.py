"""Blocks made by ggml against the formulas of the formats, and files made of them in llama.cpp."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from galenic.compression.quantize import kquant
from galenic.compression.quantize.kquant import (
    BLOCK_TYPES,
    FALLBACKS,
    decode_rows,
    fitting_type,
    model_source,
    quantize_gguf,
    quantize_rows,
    uniform_types,
)
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import count_parameters, read_header, read_metadata
from galenic.models.gguf.write import dense_types, write_gguf
from galenic.runtimes.base import encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import build_pack, sum_by_request
from params import block_types
from tiny import TinyShape, write_tiny_gguf


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "folder" if path.is_dir() else "gguf", path, "0" * 64)


def decode(blocks: NDArray[np.uint8], type_name: str) -> NDArray[np.float64]:
    return np.asarray(quants.dequantize(blocks, GGMLQuantizationType[type_name]), np.float64)


def matrix(rows: int = 16, columns: int = 512, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def naive(rows: NDArray[np.float32], type_name: str) -> NDArray[np.float64]:
    """Q4_0 and Q8_0 as their format says, one block of 32 after the other."""
    result = np.empty(rows.shape)
    for row in range(rows.shape[0]):
        for start in range(0, rows.shape[1], 32):
            block = rows[row, start : start + 32]
            largest = float(block[np.abs(block).argmax()])
            if type_name == "Q8_0":
                scale = abs(largest) / 127
                levels = np.round(block / scale) if scale else np.zeros(32)
            else:  # the largest value becomes -8 times the scale
                scale = largest / -8
                steps = block / scale + 8.5 if scale else np.full(32, 8.5)
                levels = np.minimum(15, np.floor(steps)) - 8
            result[row, start : start + 32] = levels * float(np.float16(scale))
    return result


@pytest.mark.parametrize("type_name", ["Q4_0", "Q8_0"])
def test_against_the_formula(type_name: str) -> None:
    rows = matrix()
    found, expected = decode(quantize_rows(rows, type_name), type_name), naive(rows, type_name)
    # ggml divides in float32: a value in the middle of two levels may go either way
    differ = ~np.isclose(found, expected, rtol=0, atol=1e-6)
    assert differ.mean() < 1e-3
    error, best = np.abs(found - rows), np.abs(expected - rows)
    np.testing.assert_allclose(error[differ], best[differ], rtol=1e-3)


@given(
    st_numpy.arrays(np.float32, (3, 64), elements=st.floats(-100, 100, width=32)),
)
@settings(max_examples=30, deadline=None)
def test_the_error_of_q8_is_half_a_step(rows: NDArray[np.float32]) -> None:
    found = decode(quantize_rows(rows, "Q8_0"), "Q8_0")
    largest = np.abs(rows.reshape(3, 2, 32)).max(-1, keepdims=True)
    error = np.abs(found - rows).reshape(3, 2, 32)
    # half a step, and half a float16 step of the scale (2^-11, absolutely 2^-25) times 127 levels
    assert (error <= largest * (0.5 / 127 + 2**-11) * 1.001 + 127 * 2.0**-25).all()


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_more_bits_less_error(weighted: bool) -> None:
    rows = matrix()
    weights = np.full(512, 2.0, np.float32) if weighted else None
    order = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"]
    errors = [
        np.square(decode(quantize_rows(rows, name, importance=weights), name) - rows).mean()
        for name in order
    ]
    assert errors == sorted(errors, reverse=True)
    assert all(first > 2 * second for first, second in pairwise(errors))
    for name in set(BLOCK_TYPES) - set(order):
        error = np.square(decode(quantize_rows(rows, name), name) - rows).mean()
        low, high = (0, 3 * errors[0]) if name.startswith("IQ2") else (errors[-1], errors[0])
        assert low < error < high


@pytest.mark.slow
def test_iq_types_are_better_than_k_quants_of_their_size() -> None:
    rows = matrix(64, seed=4)
    weights = np.exp(np.random.default_rng(5).normal(size=512)).astype(np.float32)

    def error(name: str) -> float:
        values = decode(quantize_rows(rows, name, importance=weights), name)
        return float((weights * np.square(values - rows)).sum())

    assert error("IQ3_S") < error("Q3_K")  # 3.4375 bits a weight both
    assert error("IQ2_S") < error("Q2_K") * 1.1  # 2.5625 and 2.625
    assert error("IQ4_XS") < 1.1 * error("IQ4_NL")  # 4.25 and 4.5


@pytest.mark.parametrize("type_name", block_types())
def test_decoded_as_gguf_py_does(type_name: str) -> None:
    blocks = quantize_rows(matrix(8, seed=3), type_name)
    found = decode_rows(blocks, type_name)
    np.testing.assert_array_equal(found, decode(blocks, type_name).astype(np.float32))


@pytest.mark.parametrize("type_name", block_types(name for name in BLOCK_TYPES if name != "Q8_0"))
def test_importance_lowers_the_weighted_error(type_name: str) -> None:
    rows = matrix(32, seed=1)
    weights = np.exp(2 * np.random.default_rng(2).normal(size=512)).astype(np.float32)
    plain = decode(quantize_rows(rows, type_name), type_name)
    aware = decode(quantize_rows(rows, type_name, importance=weights), type_name)

    def error(found: NDArray[np.float64]) -> float:
        return float((weights * np.square(found - rows)).sum())

    assert error(aware) < 0.95 * error(plain)


@pytest.mark.parametrize("threads", ["1", "3", "64"])
@pytest.mark.parametrize("type_name", ["Q4_0", "Q6_K", "IQ4_NL"])
def test_threads_change_nothing(
    type_name: str, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALENIC_THREADS", threads)
    kquant._pool.cache_clear()
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(50, 256 * 6)).astype(np.float32)
    weights = rng.random(rows.shape[1], np.float32)
    assert rows.size > kquant.SHARED_VALUES > rows[:10].size
    found = quantize_rows(rows, type_name, importance=weights)
    alone = [quantize_rows(rows[n : n + 1], type_name, importance=weights) for n in range(50)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    kquant._pool.cache_clear()


def test_wrong_rows_and_weights() -> None:
    rows = matrix(2, 288)
    with pytest.raises(UserError, match=r"rows have 288 values, and a block of Q4_K has 256"):
        quantize_rows(rows, "Q4_K")
    with pytest.raises(UserError, match="unknown block type 'Q4K'"):
        quantize_rows(rows, "Q4K")
    with pytest.raises(ValueError, match="finite"):
        quantize_rows(rows * np.float32(np.nan), "Q4_0")
    for weights in (np.ones(3), np.zeros(288), -np.ones(288), np.full(288, np.inf)):
        with pytest.raises(UserError, match="importance of these rows"):
            quantize_rows(rows, "Q4_0", importance=weights.astype(np.float32))


def test_types_that_fit() -> None:
    assert [fitting_type((8, 512), name) for name in BLOCK_TYPES] == list(BLOCK_TYPES)
    assert {name: fitting_type((8, 576), name) for name in FALLBACKS} == FALLBACKS
    assert fitting_type((8, 576), "Q4_0") == "Q4_0"
    assert fitting_type((8, 48), "Q4_K") == fitting_type((8, 48), "Q8_0") == "F16"
    with pytest.raises(UserError, match="unknown tensor type 'Q9'"):
        fitting_type((8, 512), "Q9")


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256 columns in most matrices, so that k-quants fit; 512 in ffn_down."""
    shape = TinyShape(hidden_size=256, ffn_size=512, tied=False)
    return write_tiny_gguf(tmp_path_factory.mktemp("dense") / "dense.gguf", shape=shape)


def scores(*paths: Path) -> list[NDArray[np.float64]]:
    pairs = [("Question: the man in the ward\nAnswer:", f" {word}") for word in ("yes", "no", "AB")]
    found = []
    for path in paths:
        with LlamaRuntime(files(path), threads=1) as runtime:
            pack = build_pack(encode_requests(runtime, pairs))
            found.append(sum_by_request(pack, runtime.score(pack)))
    return found


@pytest.mark.slow
def test_files_load_and_come_closer_with_bits(dense: Path, tmp_path: Path) -> None:
    source = model_source(files(dense))
    made = []
    for type_name in ("Q2_K", "Q4_K", "Q6_K", "Q8_0"):
        made.append(tmp_path / f"{type_name}.gguf")
        quantize_gguf(source, made[-1], uniform_types(source, type_name))
        header = read_header(made[-1])
        assert count_parameters(header) == count_parameters(read_header(dense))
        types = {t.name: t.type for t in header.tensors}
        assert types["blk.1.ffn_down.weight"] == types["token_embd.weight"] == type_name
        assert types["blk.1.ffn_norm.weight"] == types["output_norm.weight"] == "F32"
        assert made[-1].stat().st_size < dense.stat().st_size / (3 if type_name == "Q8_0" else 4)
    original, *found = scores(dense, *made)
    errors = [np.abs(one - original).max() for one in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1 < errors[0] / 8


def test_metadata_is_copied_and_a_copy_is_the_same(dense: Path, tmp_path: Path) -> None:
    source = model_source(files(dense))
    copy, twice = tmp_path / "copy.gguf", tmp_path / "twice.gguf"
    write_gguf(source, copy, dense_types(source, "F32"))
    arrays = [f"tokenizer.ggml.{name}" for name in ("tokens", "merges", "token_type")]
    assert read_metadata(copy, arrays=arrays) == read_metadata(dense, arrays=arrays)
    original, found = scores(dense, copy)
    np.testing.assert_array_equal(original, found)
    # Q8_0 of Q8_0 changes nothing: every value is a level of its block already
    quantize_gguf(source, copy, uniform_types(source, "Q8_0"))
    again = model_source(files(copy))
    quantize_gguf(again, twice, uniform_types(again, "Q8_0"))
    read: Any = [GGUFReader(path).tensors for path in (copy, twice)]
    for one, other in zip(*read, strict=True):
        np.testing.assert_allclose(
            quants.dequantize(one.data, one.tensor_type),
            quants.dequantize(other.data, other.tensor_type),
            rtol=2e-3,
        )


def test_mixed_types_and_importance(dense: Path, tmp_path: Path) -> None:
    source = model_source(files(dense))
    types = uniform_types(source, "Q3_K") | {"blk.0.attn_v.weight": "Q8_0", "output.weight": "BF16"}
    weights = np.exp(np.random.default_rng(0).normal(size=512) * 2).astype(np.float32)
    plain, aware = tmp_path / "plain.gguf", tmp_path / "aware.gguf"
    quantize_gguf(source, plain, types)
    quantize_gguf(source, aware, types, importance={"blk.1.ffn_down.weight": weights})
    header = read_header(aware)
    assert {t.name: t.type for t in header.tensors} == types
    exact: Any = {t.name: t for t in GGUFReader(dense).tensors}
    error = {}
    for path in (plain, aware):
        read: Any = {t.name: t for t in GGUFReader(path).tensors}
        one = read["blk.1.ffn_down.weight"]
        values = quants.dequantize(one.data, one.tensor_type)
        square = np.square(values - exact["blk.1.ffn_down.weight"].data, dtype=np.float64)
        error[path] = (weights * square).sum()
        other = read["blk.0.ffn_down.weight"]
        error[path.name] = np.asarray(other.data).tobytes()
    assert error[aware] < error[plain]
    assert error["plain.gguf"] == error["aware.gguf"]  # the tensor without importance


def test_wrong_wishes_leave_nothing(dense: Path, tmp_path: Path) -> None:
    source, target = model_source(files(dense)), tmp_path / "out.gguf"
    types = uniform_types(source, "Q4_0")
    with pytest.raises(UserError, match=r"output_norm\.weight must stay F32"):
        quantize_gguf(source, target, types | {"output_norm.weight": "Q8_0"})
    with pytest.raises(UserError, match="no such tensor"):
        quantize_gguf(source, target, types, importance={"nothing": np.ones(3, np.float32)})
    with pytest.raises(UserError, match="shape"):
        quantize_gguf(source, target, types, importance={"output.weight": np.ones(3, np.float32)})
    del types["output.weight"]
    with pytest.raises(UserError, match=r"1 names are only in one of the two.*output\.weight"):
        quantize_gguf(source, target, types)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_quantized_directly(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / "tiny", "phi3")
    source = model_source(files(folder))
    types = uniform_types(source, "Q8_0")
    assert types["blk.0.attn_qkv.weight"] == "F16"  # 48 columns: no block fits
    assert types["blk.0.ffn_down.weight"] == "Q8_0"  # 96
    quantize_gguf(source, tmp_path / "q8.gguf", types)
    write_gguf(source, tmp_path / "f32.gguf", dense_types(source, "F32"))
    found = scores(tmp_path / "q8.gguf", tmp_path / "f32.gguf")
    np.testing.assert_allclose(*found, rtol=0, atol=3)


@pytest.mark.slow
def test_the_real_model(smollm2: Path, tmp_path: Path) -> None:
    source = model_source(files(smollm2))
    types = uniform_types(source, "Q6_K")
    # rows of 576 become Q8_0; 1536 (ffn_down) can be divided by 256
    assert types["blk.0.attn_q.weight"] == "Q8_0"
    assert types["blk.0.ffn_down.weight"] == "Q6_K"
    quantize_gguf(source, tmp_path / "q6.gguf", types)
    original, found = scores(smollm2, tmp_path / "q6.gguf")
    assert np.abs(original - found).max() < 0.5
