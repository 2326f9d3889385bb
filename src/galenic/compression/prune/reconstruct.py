"""Reconstruction after pruning: fit each block's last layer to the output of the dense block.

Let ``X`` be the layer's input in the pruned model, and ``R`` the dense block's output minus the
pruned one's. The update ``D`` of the weight minimises ``|X D^T - R|^2 + d |D|^2``: ridge
regression, which needs no learning rate. Blocks are fitted in order, each on the outputs of the
fitted ones before it, so accumulated error is corrected too. Reconstruction block by block needs a
tenth of the text that healing with adapters does (https://arxiv.org/abs/2510.14444).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from galenic.compression.blocks.gradients import inputs_of
from galenic.compression.blocks.statistics import Gram
from galenic.compression.blocks.walk import embed, run_block, run_on_
from galenic.errors import UserError
from galenic.models.layers import Block
from galenic.models.save import FolderWriter
from galenic.models.stream import Stream, block_prefix, read_tensor

__all__ = ["matching_blocks", "reconstruct"]

DAMPING = 0.01
"""Added to the diagonal of the Hessian, as a fraction of its mean."""
TOLERANCE = 1e-3
"""Relative tolerance of the check that a block's output is linear in its last layer's weight."""


def matching_blocks(parent: Stream, cut: Stream) -> list[int]:
    """For each block of the pruned model, find its index in the parent by comparing weights."""
    if len(parent.layout.blocks) == len(cut.layout.blocks):
        return list(range(len(cut.layout.blocks)))
    found: list[int] = []
    for block in cut.layout.blocks:
        after = found[-1] + 1 if found else 0
        rest = range(after, len(parent.layout.blocks))
        found.append(next(index for index in rest if _same(parent, index, cut, block.index)))
    return found


def _same(parent: Stream, index: int, cut: Stream, other: int) -> bool:
    ours, theirs = block_prefix(cut.layout, other), block_prefix(parent.layout, index)
    stored = cut.checkpoint.tensors
    name = next(n for n in stored if n.startswith(ours) and len(stored[n].shape) == 2)
    same = parent.checkpoint.tensors[f"{theirs}{name.removeprefix(ours)}"]
    return bool(torch.equal(read_tensor(stored[name]), read_tensor(same)))


def reconstruct(
    parent: Stream,
    cut: Stream,
    tokens: Any,
    origins: Sequence[int],
    folder: Path,
    advance: Callable[[int], None],
) -> dict[str, float]:
    """Fit the last layer of every block, and write the model.

    If blocks of the parent were removed, the block before them is fitted to the output of the last
    removed one.

    Args:
        parent: the dense model.
        cut: the pruned model; its residual stream must have the original width.
        tokens: calibration text, shape (num_samples, seq_len).
        origins: for each block, its index in the parent; ascending.
        folder: existing folder to write to.
        advance: called after each block with the number of blocks done.

    Returns:
        ``checks`` of the `galenic.models.save.FolderWriter`, with ``lacking_before`` and
        ``lacking_after``: squared error of the block outputs before and after fitting, summed over
        blocks and relative to the sum of squares of the parent's outputs.

    Raises:
        UserError: the blocks do not simply add their last layer's output to the residual stream.
    """
    hidden, settings = embed(cut, tokens)
    wanted, theirs = embed(parent, tokens)
    ends = [*(index - 1 for index in origins[1:]), len(parent.layout.blocks) - 1]
    reached = 0
    lacking = torch.zeros(3, dtype=torch.float64)
    source = cut.checkpoint
    with FolderWriter(folder, cut.layout.model.config, source.folder, source.dtype) as writer:
        writer.write_outer(cut.layout)
        for index, end in enumerate(ends):
            for number in range(reached, end + 1):
                with parent.block(number) as block:
                    run_on_(block, wanted, theirs[number])
            reached = end + 1
            with cut.block(index) as block:
                lacking += _fit_(block, hidden, wanted, settings[index])
                writer.write_block(block)
            advance(index + 1)
    before, after, total = lacking.tolist()
    return writer.checks | {"lacking_before": before / total, "lacking_after": after / total}


def _fit_(block: Block, hidden: Any, wanted: Any, settings: dict[str, Any]) -> Any:
    """Fit a block, and replace ``hidden`` by its output.

    Returns:
        Squared error before, squared error after, and sum of squares of the target; shape (3,).
    """
    linear = block.linears["down"]
    gram, cross = Gram(linear.num_inputs), torch.zeros(*linear.weight.shape)
    squares = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for sample, target in zip(hidden.split(1), wanted.split(1), strict=True):
            found, read = _run(block, sample, settings)
            gram.update_(read)
            cross.addmm_((target - found)[0].T, read)
            squares[0] += (target - found).double().square().sum()
            squares[2] += target.double().square().sum()
        change = _solved(gram.total, cross)
        sample = hidden[:1].clone()
        plain, read = _run(block, sample, settings)
        linear.weight.add_(change)
        changed, _ = _run(block, sample, settings)
        expected = plain + read @ change.T
        if float((changed - expected).abs().max()) > TOLERANCE * float(expected.abs().max()):
            raise UserError(
                "the blocks of this model do not add the output of their last linear layer: they "
                "cannot be reconstructed. Leave --reconstruct and --steps out."
            )
        run_on_(block, hidden, settings)
        squares[1] = (wanted - hidden).double().square().sum()
    return squares


def _run(block: Block, sample: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Return the block's output and its last layer's input, the latter (tokens, channels)."""
    with inputs_of(block, ("channels",)) as inputs:
        found = run_block(block, sample, settings)
    return found, inputs["channels"].flatten(0, -2)


def _solved(gram: Any, cross: Any) -> Any:
    """Return the update of the weight; zero if the inputs are all zero."""
    moments = gram.double()
    shift = DAMPING * float(moments.diagonal().mean())
    if not shift > 0:
        return torch.zeros_like(cross)
    moments.diagonal().add_(shift)
    factor = torch.linalg.cholesky(moments)
    return torch.cholesky_solve(cross.double().T, factor).T.float()
