"""NaN and infinite weights are found wherever in a file they lie; headers that lie are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from galenic.errors import UserError
from galenic.limits import MESSAGE
from galenic.models import finite
from galenic.models.finite import BLOCK_SCALES, EXPONENTS, check_finite
from galenic.models.load import resolve_model
from galenic.models.tensors import list_tensors, read_table
from galenic.runtimes.writing import choose
from raw_gguf import RawGguf
from tiny import write_tiny_gguf

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


@pytest.mark.parametrize("kind", BLOCK_SCALES)
def test_scales_are_where_the_gguf_package_reads_them(kind: str) -> None:
    number = GGMLQuantizationType[kind]
    assert GGML_QUANT_SIZES[number][1] == BLOCK_SCALES[kind][0]
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        block = rng.integers(0, 256, (1, BLOCK_SCALES[kind][0]), dtype=np.uint8)
        for at in BLOCK_SCALES[kind][1]:  # few random scales are infinite
            if rng.random() < 0.3:
                block[0, at + 1] |= 0x7C
        with np.errstate(all="ignore"):
            values = quants.dequantize(block, number)
        expected = bool(np.isfinite(values).all())
        if not expected or np.abs(values).max() > 0:  # an infinite scale of zeros gives NaN too
            assert finite._is_finite(kind, block.reshape(-1)) == expected
        seen.add(expected)
    assert seen == {True, False}


@pytest.mark.parametrize("kind", [*KINDS, "BF16"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_one_bad_value_among_many_is_found(
    kind: str, bad: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "CHUNK_BYTES", 64)
    values = np.random.default_rng(1).normal(size=101)
    values[:3] = 0.0, 6e4, -6e-8  # of float16: the largest and the smallest, nearly
    values[77] = 1.0 if bad is None else bad
    if kind == "BF16":
        data = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = values.astype(KINDS[kind]).tobytes()
    path = write(tmp_path, {"a": row(kind, [101], 0, len(data))}, data)
    if bad is None:
        check_finite(path, "0" * 64)
        return
    with pytest.raises(UserError, match="tensor a has weights that are not finite"):
        check_finite(path, "0" * 64)
    with pytest.raises(UserError, match="not finite"):  # and is not remembered as sound
        check_finite(path, "0" * 64)


def test_a_model_is_looked_at_as_it_is_named(tmp_path: Path) -> None:
    raw = RawGguf.read(write_tiny_gguf(tmp_path / "tiny.gguf"))
    resolve_model(str(tmp_path / "tiny.gguf"))
    raw.weights = raw.weights[:-4] + b"\x00\x00\x80\xff"
    with pytest.raises(UserError, match=r"blk\.1\..* has weights that are not finite"):
        resolve_model(str(raw.write(tmp_path / "bad.gguf")))


def test_a_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.ones(4, "<f4").tobytes()
    path = write(tmp_path, {"a": row("F32", [4], 0, 16)}, data)
    check_finite(path, "1" * 64)
    monkeypatch.setattr(finite, "_is_finite", lambda kind, chunk: pytest.fail("looked at again"))
    check_finite(path, "1" * 64)


def test_every_floating_type_is_known() -> None:
    assert set(EXPONENTS) == {*KINDS, "BF16"}


def row(dtype: Any, shape: Any, start: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def write(folder: Path, table: Any, data: bytes) -> Path:
    path = folder / "model.safetensors"
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


LIES: dict[str, tuple[Any, str]] = {
    "dtype a list": ({"a": row(["F32"], [2], 0, 8)}, "has the type"),
    "dtype unknown": ({"a": row("F33", [2], 0, 8)}, "has the type 'F33'"),
    "dtype long": ({"a": row("F" * 10**6, [2], 0, 8)}, "has the type 'FFFF"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, "has the type None"),
    "shape a number": ({"a": row("F32", 2, 0, 8)}, "has the shape 2"),
    "shape negative": ({"a": row("F32", [-2], 0, 8)}, "has the shape"),
    "shape of fractions": ({"a": row("F32", [2.0], 0, 8)}, "has the shape"),
    "shape of truths": ({"a": row("F32", [True, 2], 0, 8)}, "has the shape"),
    "shape too large": ({"a": row("F32", [2**70], 0, 8)}, "has the shape"),
    "shape of another size": ({"a": row("F32", [3], 0, 8)}, "has 8 bytes"),
    "three offsets": (
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}},
        "has the offsets",
    ),
    "offsets turned": ({"a": row("F32", [2], 8, 0)}, "has -8 bytes"),
    "overlapping": ({"a": row("F32", [2], 0, 8), "b": row("F32", [1], 4, 8)}, "overlaps another"),
    "twice the same": ({"a": row("F32", [2], 0, 8), "b": row("F32", [2], 0, 8)}, "overlaps"),
    "a hole": ({"a": row("F32", [1], 0, 4), "b": row("F32", [0], 8, 8)}, "leaves a hole"),
    "not from the start": ({"a": row("F32", [1], 4, 8)}, "leaves a hole"),
    "beyond the end": ({"a": row("F32", [4], 0, 16)}, "truncated"),
    "too little": ({"a": row("F32", [1], 0, 4)}, "damaged"),
    "a row of text": ({"a": "F32"}, "has the type None"),
    "metadata a list": ({"__metadata__": [], "a": row("F32", [2], 0, 8)}, "metadata"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": row("F32", [2], 0, 8)}, "metadata"),
    "a name twice": (b'{"a": 1, "a": 2}', "appears twice"),
    "a number of 10,000 digits": (b'{"a": ' + b"9" * 10_000 + b"}", "not readable as JSON"),
    "deep": (b'{"a": ' + b"[" * 10_000, "not readable as JSON"),
    "no UTF-8": (b'{"\xff": 1}', "not readable as JSON"),
    "a million sizes": ({"a": row("F32", [2**62] * 200_000, 0, 8)}, "has the shape"),
    "a lone surrogate": (b'{"\\ud800": 1}', "surrogates not allowed"),
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_lie(name: str, tmp_path: Path) -> None:
    table, says = LIES[name]
    path = write(tmp_path, table, bytes(8))
    with pytest.raises(UserError) as caught:
        read_table(path)
    said = str(caught.value)
    assert says in said
    assert len(said.replace(str(path), "")) < MESSAGE + 100


def test_every_flipped_bit_of_a_header_is_refused_or_changes_a_name(tmp_path: Path) -> None:
    table = {"a.weight": row("F32", [2, 3], 0, 24), "b": row("BF16", [4], 24, 32)}
    path = write(tmp_path, table, bytes(32))
    data = path.read_bytes()
    kept = 0
    for at in range(len(data) - 32):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            try:
                found = list_tensors([path])
            except UserError:
                continue
            kept += 1
            # dtypes of one size, letters of a name: what no check can know
            assert [(t.offset, t.num_bytes) for t in found.values()] == [
                (len(data) - 32, 24),
                (len(data) - 8, 8),
            ] or sorted(found) == sorted({"a.weight", "b"})
    assert 0 < kept < 250


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nothing_is_chosen_from_what_is_no_number(bad: float, temperature: float) -> None:
    logits = np.array([1.0, -np.inf, 0.5], np.float32)
    assert choose(logits, temperature, np.random.default_rng(0)) in (0, 2)  # one that is ruled out
    logits[2] = bad
    with pytest.raises(UserError, match="values that are not finite"):
        choose(logits, temperature, np.random.default_rng(0))
