"""Pruning methods against plain loops, exact counts, and what the papers say of them."""

from __future__ import annotations

from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.layers import INPUT_OF, Linear
from galenic.registry import PRUNERS

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.blocks.statistics import Gram, SecondMoments  # noqa: E402
from galenic.compression.prune.magnitude import Magnitude  # noqa: E402
from galenic.compression.prune.sparsegpt import SparseGPT  # noqa: E402
from galenic.compression.prune.wanda import Wanda  # noqa: E402

Table = list[list[float]]
ZEROING = ("magnitude", "wanda", "sparsegpt")


def random_(*shape: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def correlated(tokens: int, columns: int, seed: int = 9) -> Any:
    """Inputs that share a few hidden causes and have sizes from 0.3 to 3 in mixed order."""
    causes = random_(tokens, columns // 4, seed=seed) @ random_(
        columns // 4, columns, seed=seed + 1
    )
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    sizes = torch.logspace(-0.5, 0.5, columns, dtype=torch.float64)[order]
    return (causes + random_(tokens, columns, seed=seed + 2)) * sizes


def pruned(method: Any, weight: Any, inputs: Any = None, bias: Any = None) -> Any:
    """The weight as the method leaves it, given one linear map and what it reads."""
    module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    module.weight.data = weight.clone()
    if bias is not None:
        module.bias.data = bias
    linear = Linear("o", "layers.0.o", module, slice(0, weight.shape[0]))
    gathered = {}
    if method.calibrated:
        kind = SecondMoments(weight.shape[1]) if method.name == "wanda" else None
        gathered[INPUT_OF["o"]] = kind or Gram(weight.shape[1], torch.float64)
        for batch in inputs.split(7):
            gathered[INPUT_OF["o"]].update_(batch)
    method.zero_block_([linear], gathered, method.share)
    return module.weight.data


def eliminate(hessian: Table) -> list[Table]:
    """The inverse Hessian of the columns not yet fixed, before each column is (OBS, by hand)."""
    size = len(hessian)
    inverse = torch.linalg.inv(torch.tensor(hessian, dtype=torch.float64)).tolist()
    steps = []
    for j in range(size):
        steps.append([row[:] for row in inverse])
        pivot = inverse[j][j]
        inverse = [
            [inverse[a][b] - inverse[a][j] * inverse[j][b] / pivot for b in range(size)]
            for a in range(size)
        ]
    return steps


def smallest(scores: dict[Any, float], count: int) -> set[Any]:
    return set(sorted(scores, key=lambda at: scores[at])[:count])


def naive_sparsegpt(
    weight: Table, hessian: Table, share: float, block: int, group: tuple[int, int] | None
) -> Table:
    """One entry at a time: pick, remove, let the columns behind make up for it."""
    rows, columns = len(weight), len(hessian)
    mean = sum(hessian[j][j] for j in range(columns)) / columns
    damped = [row[:] for row in hessian]
    for j in range(columns):
        damped[j][j] += 0.01 * mean
    steps, w = eliminate(damped), [row[:] for row in weight]
    gone: set[tuple[int, int]] = set()

    def scores(of_rows: range, of_columns: range) -> dict[tuple[int, int], float]:
        return {(r, c): w[r][c] ** 2 / steps[c][c][c] for r in of_rows for c in of_columns}

    for j in range(columns):
        if group and j % group[1] == 0:
            for r in range(rows):
                near = scores(range(r, r + 1), range(j, j + group[1]))
                gone |= smallest(near, group[1] - group[0])
        if not group and j % block == 0:
            end = min(j + block, columns)
            gone |= smallest(
                scores(range(rows), range(j, end)), round(rows * end * share) - len(gone)
            )
        for r in range(rows):
            if (r, j) in gone:
                error = w[r][j] / steps[j][j][j]
                for c in range(j, columns):
                    w[r][c] -= error * steps[j][j][c]
                w[r][j] = 0.0
    return w


@pytest.mark.parametrize(
    ("options", "block", "group"),
    [
        ({"sparsity": 0.5, "block_size": 128}, 128, None),
        ({"sparsity": 0.3, "block_size": 5}, 5, None),
        ({"pattern": "2:4", "block_size": 8}, 8, (2, 4)),
        ({"pattern": "3:4", "block_size": 4}, 4, (3, 4)),
    ],
)
def test_sparsegpt_equals_the_loop(
    options: dict[str, Any], block: int, group: tuple[int, int] | None
) -> None:
    weight, inputs = random_(6, 12), correlated(40, 12)
    method = SparseGPT(**options)
    expected = naive_sparsegpt(
        weight.tolist(), (inputs.T @ inputs).tolist(), method.share, block, group
    )
    found = pruned(method, weight, inputs)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(found == 0, torch.tensor(expected) == 0)


def test_sparsegpt_drops_what_reads_nothing() -> None:
    inputs = correlated(40, 12)
    inputs[:, 3] = 0
    found = pruned(SparseGPT(sparsity=0.25), random_(6, 12), inputs)
    assert torch.isfinite(found).all()
    assert (found[:, 3] == 0).all()
    assert int((found == 0).sum()) == 18


def test_sparsegpt_leaves_the_statistic_as_it_was() -> None:
    gram = Gram(4, torch.float64)
    gram.update_(random_(9, 4))
    before = gram.total.clone()
    module = torch.nn.Linear(4, 3, bias=False)
    linear = Linear("o", "o", module, slice(0, 3))
    SparseGPT(sparsity=0.5).zero_block_([linear], {"heads": gram}, 0.5)
    assert torch.equal(gram.total, before)


def test_wanda_equals_the_loop() -> None:
    weight, inputs = random_(5, 10), correlated(30, 10)
    found = pruned(Wanda(sparsity=0.3), weight, inputs)
    for row, kept in zip(weight.tolist(), found.tolist(), strict=True):
        norm = [sum(float(x) ** 2 for x in inputs[:, c]) ** 0.5 for c in range(10)]
        gone = smallest({c: abs(row[c]) * norm[c] for c in range(10)}, 3)
        assert kept == [0.0 if c in gone else row[c] for c in range(10)]


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_wanda_with_equal_norms_is_magnitude_within_rows(pattern: str) -> None:
    weight = random_(8, 16)
    signs = torch.sign(random_(50, 16, seed=4))  # every input has the norm sqrt(50)
    scope = {"scope": "row"} if pattern == "unstructured" else {}
    expected = pruned(Magnitude(pattern=pattern, **scope), weight)
    assert torch.equal(pruned(Wanda(pattern=pattern), weight, signs), expected)


@pytest.mark.parametrize("name", ZEROING)
@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.37, 0.9])
def test_counts_are_exact(name: str, sparsity: float) -> None:
    found = pruned(PRUNERS.load(name)(sparsity=sparsity), random_(20, 30), correlated(60, 30))
    zeros = (found == 0).sum(dim=1)
    assert int(zeros.sum()) == round(600 * sparsity)
    if name == "wanda":  # the paper compares within rows
        assert ((zeros - 30 * sparsity).abs() < 1).all()


@pytest.mark.parametrize("name", ZEROING)
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8"])
def test_every_group_keeps_n_of_m(name: str, pattern: str) -> None:
    keep, of = (int(part) for part in pattern.split(":"))
    found = pruned(PRUNERS.load(name)(pattern=pattern), random_(6, 32), correlated(60, 32))
    assert ((found.view(6, -1, of) != 0).sum(dim=-1) == keep).all()


@pytest.mark.parametrize("options", [{"sparsity": 0.2}, {"sparsity": 0.5}, {"pattern": "2:4"}])
@pytest.mark.parametrize("seed", [9, 10, 11])
def test_output_error_falls_from_magnitude_to_wanda_to_sparsegpt(
    options: dict[str, Any], seed: int
) -> None:
    weight, inputs = random_(24, 64), correlated(300, 64, seed)

    def error(method: Any) -> float:
        left = pruned(method, weight, inputs)
        return float((inputs @ (left - weight).T).square().sum())

    errors = [error(PRUNERS.load(name)(**options)) for name in ("sparsegpt", "wanda", "magnitude")]
    assert errors[0] < 0.9 * errors[1]
    assert errors[1] < 0.9 * errors[2]


def test_magnitude_scopes() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, -4.0], [5.0, 6.0, -7.0, 8.0]], dtype=torch.float64)
    by_row = pruned(Magnitude(sparsity=0.5, scope="row"), weight)
    assert by_row.tolist() == [[0, 0, 3, -4], [0, 0, -7, 8]]
    by_layer = pruned(Magnitude(sparsity=0.5), weight)
    assert by_layer.tolist() == [[0, 0, 0, 0], [5, 6, -7, 8]]


def test_magnitude_over_a_block() -> None:
    modules = [torch.nn.Linear(2, 2, bias=False) for _ in range(2)]
    modules[0].weight.data = torch.tensor([[1.0, 2.0], [3.0, 9.0]])
    modules[1].weight.data = torch.tensor([[4.0, 5.0], [6.0, 7.0]])
    linears = [Linear("o", "o", module, slice(0, 2)) for module in modules]
    Magnitude(sparsity=0.5, scope="block").zero_block_(linears, {}, 0.5)
    assert modules[0].weight.tolist() == [[0, 0], [0, 9]]
    assert modules[1].weight.tolist() == [[0, 5], [6, 7]]


def test_whole_neurons_go_by_norm_and_take_their_bias_along() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 4.9], [6.0, 0.0], [4.0, 4.0]], dtype=torch.float64)
    bias = torch.ones(4, dtype=torch.float64)
    found = pruned(Magnitude(sparsity=0.5, neurons=True), weight, bias=bias)
    assert found.tolist() == [[0, 0], [0, 0], [6, 0], [4, 4]]
    assert bias.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wanda", {"pattern": "4:2"}, "--pattern '4:2'"),
        ("wanda", {"pattern": "half"}, "unstructured"),
        ("wanda", {"pattern": "2:4", "sparsity": 0.2}, "contradict"),
        ("sparsegpt", {"pattern": "2:4", "block_size": 6}, "--block-size 6"),
        ("magnitude", {"neurons": True, "pattern": "2:4"}, "--neurons"),
        ("magnitude", {"neurons": True, "scope": "row"}, "--neurons"),
        ("magnitude", {"pattern": "2:4", "scope": "row"}, "--scope row"),
    ],
)
def test_options_that_contradict_each_other(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        PRUNERS.load(name)(**options)


@pytest.mark.parametrize("name", list(PRUNERS))
def test_every_method_names_its_paper(name: str) -> None:
    method = PRUNERS.load(name)
    assert method.reference_url.startswith("https://arxiv.org/abs/")
    assert method.title
