"""Choose a type for each tensor: minimise the total error within a budget of bytes.

Each tensor takes one of a few types, each with a size and an error: a multiple-choice knapsack.
Tensor sizes share large common divisors, so dynamic programming over sizes is exact for small
models; for large ones, sizes are rounded up to a unit of 1/65536 of the range of total sizes.
https://en.wikipedia.org/wiki/Knapsack_problem#Multiple-choice_knapsack_problem
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from galenic.compression.quantize.kquant import (
    BLOCK_TYPES,
    Importance,
    check_importance,
    decode_rows,
    quantize_rows,
)
from galenic.errors import UserError
from galenic.models.gguf.write import (
    CHUNK_VALUES,
    GgufSource,
    SourceTensor,
    encode_dense,
    stored_bytes,
)
from galenic.units import format_size

__all__ = ["TypeChoice", "allocate", "measure_choices"]

UNITS = 1 << 16
"""Maximum number of distinct sizes in the dynamic programming."""
SAMPLED_VALUES = 1 << 18
"""Maximum number of a tensor's weights used to measure errors; larger tensors are sampled."""
SAMPLED_RUN = 8
"""Number of adjacent rows in each run of the sample."""


@dataclass(frozen=True)
class TypeChoice:
    """One way to store a tensor.

    Attributes:
        type: name of the ggml type.
        num_bytes: size of the tensor in this type.
        error: error caused by this type, in an additive measure; not negative.
    """

    type: str
    num_bytes: int
    error: float


Choices: TypeAlias = Mapping[str, Sequence[TypeChoice]]


def allocate(choices: Choices, budget: int) -> dict[str, str]:
    """Choose a type for every tensor such that the sum of the errors is minimal.

    A larger budget never gives a larger total error.

    Args:
        choices: the possible choices, at least one, by tensor name.
        budget: maximum size of all tensors together, in bytes.

    Returns:
        Type by tensor name.

    Raises:
        UserError: even the smallest types exceed the budget.
        ValueError: a tensor has no choices, or an error is negative or not finite.
    """
    for name, options in choices.items():
        if not options:
            raise ValueError(f"{name} has no choices")
        if not all(math.isfinite(option.error) and option.error >= 0 for option in options):
            raise ValueError(f"{name} has an error that is negative or not finite")
    smallest = {name: min(o.num_bytes for o in options) for name, options in choices.items()}
    spare = budget - sum(smallest.values())
    if spare < 0:
        raise UserError(
            f"the smallest types take {format_size(sum(smallest.values()))}, and the budget is "
            f"{format_size(budget)}. Raise the target, or exclude fewer types."
        )
    extras = [
        [option.num_bytes - smallest[name] for option in options]
        for name, options in choices.items()
    ]
    unit = _unit(extras)
    most = sum(max(row) // unit + (max(row) % unit > 0) for row in extras)
    # sizes are rounded up and the room down, so the budget is never exceeded
    chosen = _solve(
        [[-(-extra // unit) for extra in row] for row in extras],
        [[option.error for option in options] for options in choices.values()],
        min(spare // unit, most),
    )
    return {
        name: options[number].type
        for (name, options), number in zip(choices.items(), chosen, strict=True)
    }


def _unit(extras: list[list[int]]) -> int:
    """Size of a step in bytes: a multiple of the common divisor, for at most about `UNITS` steps.

    It must not depend on the budget: otherwise a larger budget might give a larger error.
    """
    common = math.gcd(*(extra for row in extras for extra in row)) or 1
    steps = -(-sum(max(row) for row in extras) // UNITS)
    return -(-steps // common) * common or common


def _solve(sizes: list[list[int]], errors: list[list[float]], room: int) -> list[int]:
    """Return the index of each tensor's choice; sizes are relative to its smallest choice."""
    # a multiple-choice knapsack, solved exactly by dynamic programming over the room
    best: NDArray[np.float64] = np.zeros(room + 1)  # least error of the tensors so far, by room
    taken: list[NDArray[np.uint8]] = []
    for row, costs in zip(sizes, errors, strict=True):
        total = np.full(room + 1, np.inf)
        choice = np.zeros(room + 1, np.uint8)
        for number, (size, cost) in enumerate(zip(row, costs, strict=True)):
            if size > room:
                continue
            candidate = best[: room + 1 - size] + cost
            better = candidate < total[size:]
            total[size:][better] = candidate[better]
            choice[size:][better] = number
        best = total
        taken.append(choice)
    chosen = []  # read back from the last tensor: its choice tells the room left for the others
    for row, choice in zip(reversed(sizes), reversed(taken), strict=True):
        number = int(choice[room])
        chosen.append(number)
        room -= row[number]
    return chosen[::-1]


def measure_choices(
    source: GgufSource,
    options: Mapping[str, Iterable[str]],
    *,
    importance: Importance | None = None,
    row_importance: Importance | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, tuple[TypeChoice, ...]]:
    """Quantize every tensor in each of its possible types, and measure the output error.

    The error is the sum of ``importance * (quantized - original)^2``. With the mean squared
    activation as importance, it is the expected squared change of the output if columns are
    uncorrelated. For large tensors it is estimated from a sample of rows. Tensors that are
    not quantized have a single choice, F32, with error 0.

    Args:
        source: from `galenic.compression.quantize.kquant.model_source`.
        options: possible types by tensor name; tensors without any are skipped.
        importance: weights of input columns, by tensor name; equal for tensors without an entry.
        row_importance: weights of output rows, likewise. With the mean squared gradient at the
            outputs, the error is twice the change of the model's loss, and thus comparable between
            tensors.
        advance: called with the number of tensors done.

    Raises:
        UserError: a type is unknown, or an importance does not match its tensor.
    """
    weights = dict(importance or {})
    check_importance(source, weights)
    choices = {}
    rows = dict(row_importance or {})
    for number, tensor in enumerate(source.tensors):
        advance(number + 1)
        types = list(options.get(tensor.name, ()))
        if not types:
            continue
        errors = _errors(tensor, types, weights.get(tensor.name), rows.get(tensor.name))
        choices[tensor.name] = tuple(
            TypeChoice(kind, stored_bytes(tensor.shape, kind), error)
            for kind, error in zip(types, errors, strict=True)
        )
    return choices


def _errors(
    tensor: SourceTensor,
    types: list[str],
    weights: NDArray[np.float32] | None,
    row_weights: NDArray[np.float32] | None,
) -> list[float]:
    if types == ["F32"]:
        return [0.0]
    totals = np.zeros(len(types))
    covered, counts = 0.0, np.ones(tensor.shape[0], np.float64)
    if row_weights is not None:
        counts = row_weights.astype(np.float64)
    for start, stop in _parts(tensor):
        part = tensor.read(start, stop).reshape(-1, tensor.shape[-1])
        inner = counts[start:stop].repeat(len(part) // (stop - start))
        covered += float(counts[start:stop].sum())
        for number, kind in enumerate(types):
            totals[number] += _error(tensor, part, kind, weights, inner)
    scale = float(counts.sum()) / covered if covered else 0.0
    return [float(total) * scale for total in totals]


def _parts(tensor: SourceTensor) -> Iterable[tuple[int, int]]:
    """Ranges of rows to measure on: all rows, in chunks; for a large tensor, evenly spaced runs."""
    rows, width = tensor.shape[0], math.prod(tensor.shape[1:])
    if rows * width <= SAMPLED_VALUES:
        step = max(1, CHUNK_VALUES // width)
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]
    runs = max(1, SAMPLED_VALUES // (SAMPLED_RUN * width))
    starts = np.linspace(0, max(0, rows - SAMPLED_RUN), runs).astype(int)
    return [(int(start), min(int(start) + SAMPLED_RUN, rows)) for start in starts]


def _error(
    tensor: SourceTensor,
    rows: NDArray[np.float32],
    kind: str,
    weights: NDArray[np.float32] | None,
    row_weights: NDArray[np.float64],
) -> float:
    """Weighted squared error of storing some rows in a type."""
    if kind in BLOCK_TYPES:
        decoded = decode_rows(quantize_rows(rows, kind, importance=weights), kind)
    else:
        from gguf import GGMLQuantizationType, quants

        decoded = quants.dequantize(encode_dense(tensor, kind, rows), GGMLQuantizationType[kind])
    columnwise = row_weights @ np.square(decoded.reshape(rows.shape) - rows).astype(np.float64)
    return float(columnwise.sum() if weights is None else columnwise @ weights)
