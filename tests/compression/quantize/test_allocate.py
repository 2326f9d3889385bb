"""The allocation against brute force, and what must hold for any choices."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galenic.compression.quantize import allocate as module
from galenic.compression.quantize.allocate import TypeChoice, allocate, measure_choices
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
from galenic.models.gguf.write import GgufSource, SourceTensor
from tiny import TinyShape, tiny_tensors, write_tiny_gguf

OPTIONS = st.lists(st.tuples(st.integers(1, 30), st.floats(0, 100)), min_size=1, max_size=4).map(
    lambda rows: tuple(TypeChoice(f"T{n}", size, error) for n, (size, error) in enumerate(rows))
)
PROBLEMS = st.lists(OPTIONS, min_size=1, max_size=5).map(
    lambda rows: {f"tensor {n}": row for n, row in enumerate(rows)}
)


def cost(choices: dict[str, tuple[TypeChoice, ...]], types: dict[str, str]) -> tuple[int, float]:
    picked = [next(c for c in choices[name] if c.type == kind) for name, kind in types.items()]
    return sum(c.num_bytes for c in picked), sum(c.error for c in picked)


def brute_force(choices: dict[str, tuple[TypeChoice, ...]], budget: int) -> float:
    totals = (
        (sum(c.num_bytes for c in row), sum(c.error for c in row))
        for row in itertools.product(*choices.values())
    )
    return min(error for size, error in totals if size <= budget)


@given(PROBLEMS, st.integers(0, 100), st.sampled_from([1, 7, 1000]))
@settings(max_examples=150, deadline=None)
def test_it_is_the_best_there_is(
    choices: dict[str, tuple[TypeChoice, ...]], spare: int, scale: int
) -> None:
    choices = {
        name: tuple(TypeChoice(c.type, c.num_bytes * scale, c.error) for c in row)
        for name, row in choices.items()
    }
    budget = sum(min(c.num_bytes for c in row) for row in choices.values()) + spare * scale
    types = allocate(choices, budget)
    assert list(types) == list(choices)
    size, error = cost(choices, types)
    assert size <= budget
    assert error == pytest.approx(brute_force(choices, budget), abs=1e-9)


@pytest.mark.slow
@given(PROBLEMS, st.lists(st.integers(0, 120), min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_coarse_steps_stay_within_the_budget_and_monotone(
    choices: dict[str, tuple[TypeChoice, ...]], spares: list[int]
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
        "robust": (TypeChoice("Q4_0", 100, 1.0), TypeChoice("Q8_0", 200, 0.5)),
        "fragile": (TypeChoice("Q4_0", 100, 9.0), TypeChoice("Q8_0", 200, 1.0)),
    }
    assert allocate(choices, 300) == {"robust": "Q4_0", "fragile": "Q8_0"}
    assert allocate(choices, 299) == {"robust": "Q4_0", "fragile": "Q4_0"}
    assert allocate(choices, 10**15) == {"robust": "Q8_0", "fragile": "Q8_0"}


def test_equal_errors_take_the_first_choice_and_no_spare_bytes_are_needed() -> None:
    choices = {
        "a": (
            TypeChoice("small", 10, 3.0),
            TypeChoice("same", 10, 3.0),
            TypeChoice("large", 20, 3.0),
        )
    }
    assert allocate(choices, 10) == allocate(choices, 25) == {"a": "small"}
    zero = {"a": (TypeChoice("worse", 10, 1.0), TypeChoice("exact", 10, 0.0))}
    assert allocate(zero, 10) == {"a": "exact"}


@pytest.mark.parametrize(
    ("largest", "step"),
    [
        ([7], 7),  # the common divisor, however few steps
        ([0, 0], 1),  # nothing to choose
        ([6, 9], 3),
        ([65_536], 65_536),
        ([65_535, 65_536], 2),  # 131,071 steps of one byte are too many
        ([2 * 65_536 * 3, 3], 9),  # 6.00005 bytes a step, in multiples of 3
        ([65_533, 3], 1),  # exactly as many as are allowed
    ],
)
def test_steps_are_common_divisors_or_multiples_that_are_few_enough(
    largest: list[int], step: int
) -> None:
    assert module._unit([[0, extra] for extra in largest]) == step
    assert sum(largest) / step <= 65_536


def test_sizes_are_rounded_up_to_whole_steps() -> None:
    """Rounded down, three of 15 bytes would fit in four steps of 10."""
    choices = {
        f"t{n}": (TypeChoice("small", 100, 1.0), TypeChoice("large", 115, 0.0)) for n in range(3)
    } | {"other": (TypeChoice("small", 100, 1.0), TypeChoice("large", 101, 1.0))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UNITS", 5)  # of 46 bytes: ten a step
        for spare, large in ((9, 0), (19, 0), (20, 1), (40, 2), (60, 3), (10**6, 3)):
            types = allocate(choices, 400 + spare)
            assert list(types.values()).count("large") == large, spare


def test_impossible_wishes() -> None:
    choices = {"a": (TypeChoice("Q4_0", 100, 1.0),)}
    with pytest.raises(UserError, match="smallest types take 100 B, and the budget is 99 B"):
        allocate(choices, 99)
    with pytest.raises(ValueError, match="a has no choices"):
        allocate({"a": ()}, 99)
    for error in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="negative or not finite"):
            allocate({"a": (TypeChoice("Q4_0", 1, error),)}, 99)


def tensor_of(values: NDArray[np.float32]) -> SourceTensor:
    return SourceTensor("blk.0.ffn_down.weight", values.shape, lambda a, b: values[a:b])


def test_which_rows_are_measured() -> None:
    def parts(*shape: int) -> list[tuple[int, int]]:
        return list(module._parts(tensor_of(np.broadcast_to(np.float32(0), shape))))

    assert parts(4096, 64) == [(0, 4096)]  # 2^18 weights: all
    some = parts(4097, 64)  # one row more: 512 runs of 8 rows from the first to the last
    assert (len(some), some[0], some[-1]) == (512, (0, 8), (4089, 4097))
    assert {stop - start for start, stop in some} == {8}
    assert parts(3, 200_000) == [(0, 3)]


def test_tensors_without_options_are_skipped_and_importances_must_fit() -> None:
    tensor = tensor_of(np.eye(64, dtype=np.float32))
    source = GgufSource("some", "llama", lambda _: None, (tensor,))
    assert measure_choices(source, {}) == measure_choices(source, {tensor.name: []}) == {}
    with pytest.raises(UserError, match="no such tensor"):
        measure_choices(source, {}, importance={"other": np.ones(64, np.float32)})
    done: list[int] = []
    measure_choices(source, {tensor.name: ["F32"]}, advance=done.append)
    assert done == [1]


def test_a_large_tensor_is_measured_on_some_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(400, 64)).astype(np.float32)
    rows = rng.exponential(size=400).astype(np.float32)
    tensor = tensor_of(values)
    source = GgufSource("some", "llama", lambda _: None, (tensor,))
    options, importance = {tensor.name: ["Q4_0", "Q8_0"]}, {tensor.name: rows}

    def errors() -> list[float]:
        found = measure_choices(source, options, row_importance=importance)
        return [choice.error for choice in found[tensor.name]]

    whole = errors()
    monkeypatch.setattr(module, "SAMPLED_VALUES", 100 * 64)
    some = errors()
    assert some != whole
    assert some == pytest.approx(whole, rel=0.1)


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
    assert choices["output_norm.weight"] == (TypeChoice("F32", 256, 0.0),)
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
