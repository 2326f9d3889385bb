"""GPTQ's column loop against elimination by hand, one column and one row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.blocks.hessian import inverse_factor  # noqa: E402
from galenic.compression.blocks.statistics import Gram  # noqa: E402
from galenic.compression.quantize.columns import read_problem, solve, solve_lattice  # noqa: E402
from galenic.compression.quantize.kquant import decode_rows, quantize_rows  # noqa: E402
from galenic.compression.quantize.types.grid import GRIDS, Scales  # noqa: E402
from galenic.compression.quantize.types.lattice import LATTICES, unpack  # noqa: E402

Table = list[list[float]]
COLUMNS = 96


def random_(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(tokens: int = 300, columns: int = COLUMNS) -> Any:
    """Inputs that share a few hidden causes, of sizes from 0.3 to 3 in mixed order."""
    causes = random_(tokens, 12, seed=9) @ random_(12, columns, seed=10)
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(8))
    sizes = torch.logspace(-0.5, 0.5, columns, dtype=torch.float64)[order]
    return (causes + random_(tokens, columns, seed=11)) * sizes


def gram(inputs: Any) -> Gram:
    statistic = Gram(inputs.shape[1], torch.float64)
    statistic.update_(inputs)
    return statistic


def naive(
    weight: Any, hessian: Any, type_name: str, group: int, damping: float, act_order: bool
) -> Any:
    """Global column numbers, no blocks; the inverse of what is left is eliminated step by step."""
    grid, size = GRIDS[type_name], len(hessian)
    damped = hessian + damping * np.trace(hessian) / size * np.eye(size)
    visit = list(range(size))
    if act_order:
        visit.sort(key=lambda j: -hessian[j, j])
    inverse, steps = np.linalg.inv(damped), {}
    for j in visit:
        steps[j] = inverse.copy()
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    importance = torch.tensor([1 / steps[j][j, j] for j in range(size)])
    w, result, scales = weight.numpy().copy(), np.zeros(weight.shape), {}
    for start in range(0, size, group) if act_order else ():
        part = torch.from_numpy(w[:, start : start + group].copy())
        scales[start // group] = grid.fit(part, importance[start : start + group])
    for place, j in enumerate(visit):
        if not act_order and j % group == 0:
            part = torch.from_numpy(w[:, j : j + group].copy())
            scales[j // group] = grid.fit(part, importance[j : j + group])
        mine = Scales(scales[j // group].scale[:, 0], scales[j // group].minimum[:, 0])
        column = torch.from_numpy(w[:, j].copy())
        result[:, j] = grid.values(grid.round(column, mine), mine).numpy()
        for r in range(len(w)):
            error = (w[r, j] - result[r, j]) / steps[j][j, j]
            for c in visit[place + 1 :]:
                w[r, c] -= error * steps[j][j, c]
    return result


@pytest.mark.parametrize(
    ("type_name", "group", "block", "damping", "act_order"),
    [
        ("Q4_0", 32, 32, 0.01, False),
        ("Q4_0", 32, 96, 0.01, False),  # scales are fitted within a block
        ("Q4_1", 32, 64, 0.01, True),
        ("Q5_0", 96, 96, 0.1, False),
        ("Q4_0", 48, 960, 0.5, True),
    ],
)
def test_equals_the_loop(
    type_name: str, group: int, block: int, damping: float, act_order: bool
) -> None:
    weight, inputs = random_(5, COLUMNS), correlated()
    expected = naive(weight, (inputs.T @ inputs).numpy(), type_name, group, damping, act_order)
    problem = read_problem(gram(inputs), damping, act_order=act_order)
    found = solve(weight.clone(), problem, GRIDS[type_name], group, block)
    np.testing.assert_array_equal(found.values().numpy(), expected)


def rounded(weight: Any, type_name: str, importance: Any) -> Any:
    parts = []
    for part, weights in zip(weight.split(32, 1), importance.split(32), strict=True):
        scales = GRIDS[type_name].fit(part, weights)
        parts.append(GRIDS[type_name].values(GRIDS[type_name].round(part, scales), scales))
    return torch.cat(parts, 1)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("type_name", GRIDS)
def test_beats_rounding_in_output_error(type_name: str, act_order: bool) -> None:
    weight, inputs = random_(24, COLUMNS), correlated()
    statistic = gram(inputs)
    plain = rounded(weight, type_name, statistic.total.diagonal())
    problem = read_problem(statistic, 0.01, act_order=act_order)
    found = solve(weight.clone(), problem, GRIDS[type_name], 32, 32).values()

    def error(values: Any) -> float:
        return float(((values.double() - weight) @ inputs.T).square().sum())

    assert error(found) < 0.6 * error(plain)


@pytest.mark.parametrize("act_order", [False, True])
def test_uncorrelated_inputs_leave_plain_rounding(act_order: bool) -> None:
    weight, inputs = random_(6, COLUMNS), torch.eye(COLUMNS, dtype=torch.float64) * 3
    problem = read_problem(gram(inputs), 0.01, act_order=act_order)
    found = solve(weight.clone(), problem, GRIDS["Q4_0"], 32, 64).values()
    torch.testing.assert_close(found, rounded(weight, "Q4_0", torch.ones(COLUMNS)), rtol=0, atol=0)


def test_inputs_that_are_always_zero_are_rounded_and_kept() -> None:
    weight, inputs = random_(4, COLUMNS), correlated()
    inputs[:, 40] = 0
    problem = read_problem(gram(inputs), 0.01, act_order=True)
    found = solve(weight.clone(), problem, GRIDS["Q8_0"], 32, 96).values()
    assert float((found[:, 40].double() - weight[:, 40]).abs().max()) < 0.02


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("type_name", ["Q3_K", "Q4_K", "IQ4_XS", "Q8_0"])
def test_scales_of_scales_stay_and_codes_equal_the_loop(type_name: str, act_order: bool) -> None:
    weight, inputs = random_(3, 256).float().double(), correlated(columns=256)
    problem = read_problem(gram(inputs), 0.01, act_order=act_order)
    rounded = unpack(quantize_rows(weight.float().numpy(), type_name), type_name)
    found = solve_lattice(weight.clone(), problem, rounded, 96)
    np.testing.assert_array_equal(found.steps(), rounded.steps())
    hessian = (inputs.T @ inputs).numpy()
    inverse = np.linalg.inv(hessian + 0.01 * np.trace(hessian) / 256 * np.eye(256))
    w, width = weight.numpy().copy(), 256 // rounded.steps().shape[1]
    expected = np.zeros(w.shape, np.int16)
    visit = sorted(range(256), key=lambda j: -hessian[j, j]) if act_order else range(256)
    for j in visit:
        for r in range(3):
            step, offset = rounded.steps()[r, j // width], rounded.offsets()[r, j // width]
            values = rounded.levels * float(step) + float(offset)
            expected[r, j] = np.abs(values - w[r, j]).argmin()
            w[r] -= (w[r, j] - values[expected[r, j]]) / inverse[j, j] * inverse[j]
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    differ = found.codes - rounded.lowest != expected  # values in the middle of two levels
    assert differ.mean() < 0.005


@pytest.mark.parametrize("type_name", [name for name in LATTICES if name not in GRIDS])
def test_k_quants_beat_rounding_in_output_error(type_name: str) -> None:
    weight, inputs = random_(24, 256), correlated(600, columns=256)
    statistic = gram(inputs)
    problem = read_problem(statistic, 0.01, act_order=True)
    rows = weight.float().numpy()
    plain = quantize_rows(rows, type_name, importance=statistic.total.diagonal().float().numpy())
    found = solve_lattice(weight.clone(), problem, unpack(plain, type_name), 128).pack()

    def error(blocks: Any) -> float:
        values = torch.from_numpy(decode_rows(blocks, type_name)).double()
        return float(((values - weight) @ inputs.T).square().sum())

    assert error(found) < 0.6 * error(plain)


def test_the_factor_of_many_inputs_is_that_of_the_inverse_in_the_order_of_the_visit() -> None:
    inputs = random_(900, 600)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    factor, dead = inverse_factor(gram(inputs), 0.1, order)
    hessian = (inputs.T @ inputs).numpy()[order][:, order]
    hessian += 0.1 * np.trace(hessian) / 600 * np.eye(600)
    assert torch.equal(factor, factor.triu())
    np.testing.assert_allclose((factor.T @ factor).numpy() @ hessian, np.eye(600), atol=1e-9)
    assert not dead.any()
