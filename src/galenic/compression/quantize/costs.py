"""What GPTQ's rounding of each column will cost, known before anything is rounded.

Once the columns behind have made up for it, an error ``d`` in column ``j`` costs ``d^2 / U_jj^2``
(`galenic.compression.quantize.columns.Problem`), where plain rounding pays ``d^2 H_jj``. Allocating
bits by the former spends them where GPTQ can do least about the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.compression.blocks.statistics import Gram
from galenic.compression.blocks.walk import check_finite, showing
from galenic.compression.quantize.columns import Problem, read_problem
from galenic.compression.quantize.importance import head_name
from galenic.models.layers import INPUT_OF, Block
from galenic.models.paged import PagedModel

__all__ = ["HEAD_DAMPING", "Costs"]

HEAD_DAMPING = 10.0
"""The head is damped so many times more: tied to the embedding, its rows must also stay close to
what they were. Of SmolLM2-135M with nothing but the head in IQ4_NL, the KL to dense on held-out
text is 0.029 nats with once the damping, 0.027 with ten times, 0.030 with a hundred times, and
0.053 where it is rounded with importance."""


class Costs:
    """Looks on while `galenic.compression.quantize.importance.measure_sensitivity` runs a model.

    Args:
        model: that is run.
        damping: as GPTQ's.
        act_order: as GPTQ's.
        blocks: whether the blocks are looked at, or only the head.

    Attributes:
        head: GGUF name of the head's weight, which may be the embedding's.
        columns: GGUF name of a tensor to the mean cost of each column for a token.
    """

    def __init__(self, model: PagedModel, damping: float, *, act_order: bool, blocks: bool) -> None:
        self.head = model.gguf_name(head_name(model))
        self.columns: dict[str, NDArray[np.float32]] = {}
        self._model, self._damping, self._act_order = model, damping, act_order
        self._blocks = blocks
        self._read_by_head = Gram(model.layout.sizes.hidden_size)

    @contextmanager
    def reading(self, block: Block) -> Iterator[None]:
        """Within it, the calibration text passes the block."""
        if not self._blocks:
            yield
            return
        grams = {name: Gram(block.reader(name).num_inputs) for name in INPUT_OF.values()}
        with showing(block, grams):
            yield
        check_finite(block, grams)
        for name, gram in grams.items():
            problem = read_problem(gram, self._damping, act_order=self._act_order)
            for role, linear in block.linears.items():
                if INPUT_OF[role] == name:
                    tensor = self._model.gguf_name(f"model.{linear.name}.weight")
                    self.columns[tensor] = _mean_cost(problem, gram)

    def read_head(self, normed: Any) -> None:
        """Take in what the head reads."""
        self._read_by_head.update_(normed.flatten(0, -2))

    def head_problem(self) -> Problem:
        """For GPTQ of the head; adds its ``columns``.

        Raises:
            UserError: the damped Hessian is not positive definite.
        """
        damping = min(1.0, HEAD_DAMPING * self._damping)
        problem = read_problem(self._read_by_head, damping, act_order=self._act_order)
        self.columns[self.head] = _mean_cost(problem, self._read_by_head)
        return problem


def _mean_cost(problem: Problem, gram: Gram) -> NDArray[np.float32]:
    means: NDArray[np.float64] = (problem.importance / gram.num_tokens).numpy()
    return means.astype(np.float32)
