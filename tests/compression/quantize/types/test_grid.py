"""Grids: the bytes are what gguf reads, the scales are better than the obvious ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from galenic.errors import UserError

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.quantize.kquant import quantize_rows  # noqa: E402
from galenic.compression.quantize.types.grid import GRIDS, PlannedMatrix, Scales  # noqa: E402


def random_(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planned(type_name: str, weight: Any, importance: Any, group: int = 32) -> PlannedMatrix:
    """Rounded to nearest, every group with its fitted scales."""
    grid = GRIDS[type_name]
    codes, scales, minima = [], [], []
    for part, weights in zip(weight.split(group, 1), importance.split(group), strict=True):
        fitted = grid.fit(part, weights)
        codes.append(grid.round(part, fitted))
        scales.append(fitted.scale)
        minima.append(fitted.minimum)
    return PlannedMatrix(
        grid, torch.cat(codes, 1), Scales(torch.cat(scales, 1), torch.cat(minima, 1))
    )


def decode(encoded: Any, type_name: str) -> Any:
    return quants.dequantize(encoded, GGMLQuantizationType[type_name])


@pytest.mark.parametrize("group", [32, 96])
@pytest.mark.parametrize("type_name", GRIDS)
def test_a_reader_gets_the_planned_values_exactly(type_name: str, group: int) -> None:
    weight = random_(7, 192) + 0.5
    weight[2] = 0
    weight[3] = 1.25
    weight[4, :40] = 1e-9  # its scale is 0 in float16
    matrix = planned(type_name, weight, torch.ones(192), group)
    np.testing.assert_array_equal(decode(matrix.encode(), type_name), matrix.values().numpy())
    assert matrix.encode().shape[1] * 8 / 192 == GRIDS[type_name].bits + 0.5 + (
        0.5 if type_name.endswith("_1") else 0
    )
    found = np.abs(matrix.values().numpy() - weight.numpy())
    assert found.max() < (0.7 if GRIDS[type_name].bits == 4 else 0.4)
    np.testing.assert_array_equal(matrix.values().numpy()[2], 0)


@pytest.mark.parametrize("type_name", GRIDS)
def test_all_codes_survive_the_bytes(type_name: str) -> None:
    grid = GRIDS[type_name]
    every = torch.tensor(grid.codes or range(grid.lowest, grid.highest + 1)).double()
    codes = every.repeat(32)[: 32 * len(every)].reshape(-1, 32)
    half = torch.full((len(codes), 1), 0.25)
    matrix = PlannedMatrix(grid, codes, Scales(half, -half if grid.shifted else 0 * half))
    expected = codes * 0.25 - (0.25 if grid.shifted else 0)
    np.testing.assert_array_equal(decode(matrix.encode(), type_name), expected.float().numpy())


@pytest.mark.parametrize("type_name", ["IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_fitted_scales_beat_the_libraries(type_name: str) -> None:
    """Against ggml's own search with the same importance, and against its plain rounding."""
    weight = random_(64, 256, seed=1)
    importance = torch.exp(random_(256, seed=2))
    rows = weight.float().numpy()

    def error(values: Any) -> float:
        return float((importance.numpy() * np.square(values - rows)).sum())

    ours = error(planned(type_name, weight, importance).values().numpy())
    library = quantize_rows(rows, type_name, importance=importance.float().numpy())
    assert ours < 1.02 * error(decode(library, type_name))
    assert ours < 0.95 * error(decode(quantize_rows(rows, type_name), type_name))


def test_the_fitted_scale_is_close_to_the_best_there_is() -> None:
    weight, importance = random_(20, 32, seed=3), torch.exp(random_(32, seed=4))
    grid = GRIDS["Q4_0"]

    def error(scale: Any) -> Any:
        values = grid.values(grid.round(weight, Scales(scale, 0.0)), Scales(scale, 0.0))
        return ((values - weight).square() @ importance)[:, None]

    found = error(grid.fit(weight, importance).scale)
    width = weight.abs().amax(1, keepdim=True)
    tried = [error(width * share) for share in np.linspace(-0.25, 0.25, 2001) if abs(share) > 0.02]
    best = torch.cat(tried, 1).amin(1, keepdim=True)
    assert bool((found < 1.3 * best).all())
    assert float(found.sum()) < 1.06 * float(best.sum())


def test_too_large_for_float16() -> None:
    with pytest.raises(UserError, match=r"up to 1e\+07 are too large for Q4_0"):
        GRIDS["Q4_0"].fit(torch.full((1, 32), 1e7), torch.ones(32))
