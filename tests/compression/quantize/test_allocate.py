"""The allocation against brute force, and what must hold for any choices."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.compression.quantize import allocate as module
from galenic.compression.quantize.allocate import Choice, allocate, measure_choices
from galenic.compression.quantize.kquant import (
    fitting_type,
    model_source,
    quantize_gguf,
    quantize_rows,
    quantizes,
)
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import read_header
from tiny import TinyShape, tiny_tensors, write_tiny_gguf

OPTIONS = st.lists(st.tuples(st.integers(1, 30), st.floats(0, 100)), min_size=1, max_size=4).map(
    lambda rows: tuple(Choice(f"T{n}", size, error) for n, (size, error) in enumerate(rows))
)
PROBLEMS = st.lists(OPTIONS, min_size=1, max_size=5).map(
    lambda rows: {f"tensor {n}": row for n, row in enumerate(rows)}
)


def cost(choices: dict[str, tuple[Choice, ...]], types: dict[str, str]) -> tuple[int, float]:
    picked = [next(c for c in choices[name] if c.type == kind) for name, kind in types.items()]
    return sum(c.num_bytes for c in picked), sum(c.error for c in picked)


def brute_force(choices: dict[str, tuple[Choice, ...]], budget: int) -> float:
    totals = (
        (sum(c.num_bytes for c in row), sum(c.error for c in row))
        for row in itertools.product(*choices.values())
    )
    return min(error for size, error in totals if size <= budget)


@given(PROBLEMS, st.integers(0, 100), st.sampled_from([1, 7, 1000]))
@settings(max_examples=150, deadline=None)
def test_it_is_the_best_there_is(
    choices: dict[str, tuple[Choice, ...]], spare: int, scale: int
) -> None:
    choices = {
        name: tuple(Choice(c.type, c.num_bytes * scale, c.error) for c in row)
        for name, row in choices.items()
    }
    budget = sum(min(c.num_bytes for c in row) for row in choices.values()) + spare * scale
    types = allocate(choices, budget)
    assert list(types) == list(choices)
    size, error = cost(choices, types)
    assert size <= budget
    assert error == pytest.approx(brute_force(choices, budget), abs=1e-9)


@given(PROBLEMS, st.lists(st.integers(0, 120), min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_coarse_steps_stay_within_the_budget_and_monotone(
    choices: dict[str, tuple[Choice, ...]], spares: list[int]
) -> None:
    least = sum(min(c.num_bytes for c in row) for row in choices.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UNITS", 10)
        found = [cost(choices, allocate(choices, least + spare)) for spare in sorted(spares)]
    assert all(
        size <= least + spare for (size, _), spare in zip(found, sorted(spares), strict=True)
    )
    errors = [error for _, error in found]
    assert all(first >= second - 1e-9 for first, second in itertools.pairwise(errors))


def test_bits_go_where_they_help_most() -> None:
    """Two tensors of one size: the one that loses more gets the larger type."""
    choices = {
        "robust": (Choice("Q4_0", 100, 1.0), Choice("Q8_0", 200, 0.5)),
        "fragile": (Choice("Q4_0", 100, 9.0), Choice("Q8_0", 200, 1.0)),
    }
    assert allocate(choices, 300) == {"robust": "Q4_0", "fragile": "Q8_0"}
    assert allocate(choices, 299) == {"robust": "Q4_0", "fragile": "Q4_0"}
    assert allocate(choices, 10**15) == {"robust": "Q8_0", "fragile": "Q8_0"}


def test_impossible_wishes() -> None:
    choices = {"a": (Choice("Q4_0", 100, 1.0),)}
    with pytest.raises(UserError, match="smallest types take 100 bytes, and the budget is 99"):
        allocate(choices, 99)
    with pytest.raises(ValueError, match="a has no choices"):
        allocate({"a": ()}, 99)
    with pytest.raises(ValueError, match="negative or not finite"):
        allocate({"a": (Choice("Q4_0", 1, float("nan")),)}, 99)


def test_measured_errors_and_a_file_within_its_budget(tmp_path: Path) -> None:
    shape = TinyShape(num_layers=1, hidden_size=64, ffn_size=256)
    path = write_tiny_gguf(tmp_path / "tiny.gguf", shape=shape)
    source = model_source(ModelFiles("tiny", "gguf", path, "0" * 64))
    weights = np.random.default_rng(0).exponential(size=256).astype(np.float32)
    options = {
        t.name: dict.fromkeys(fitting_type(t.shape, kind) for kind in ("Q4_K", "Q5_0", "Q8_0"))
        if quantizes(t)
        else ["F32"]
        for t in source.tensors
    }
    choices = measure_choices(source, options, importance={"blk.0.ffn_down.weight": weights})
    assert [c.type for c in choices["blk.0.attn_q.weight"]] == ["Q5_0", "Q8_0"]  # 64 columns
    assert choices["output_norm.weight"] == (Choice("F32", 256, 0.0),)
    exact = tiny_tensors(0, shape)["blk.0.ffn_down.weight"]
    for choice in choices["blk.0.ffn_down.weight"]:
        blocks = quantize_rows(exact, choice.type, importance=weights)
        values = quants.dequantize(blocks, GGMLQuantizationType[choice.type]).astype(np.float64)
        expected = sum(
            weights[j] * (values[i, j] - exact[i, j]) ** 2 for i, j in np.ndindex(64, 256)
        )
        assert choice.error == pytest.approx(expected, rel=1e-4)
        assert choice.num_bytes == blocks.nbytes
    budget = sum(max(c.num_bytes for c in row) for row in choices.values()) * 3 // 4
    types = allocate(choices, budget)
    assert {"Q8_0", "Q5_0"} & set(types.values())
    quantize_gguf(source, tmp_path / "mixed.gguf", types)
    assert sum(t.num_bytes for t in read_header(tmp_path / "mixed.gguf").tensors) <= budget
