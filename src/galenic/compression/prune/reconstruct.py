"""After a cut, the last map of each block fitted so that the block puts out what its parent did.

With ``X`` what the map reads in the cut model and ``R`` what the block's output lacks of the
parent's, the change ``D`` of least ``|X D^T - R|^2 + d |D|^2`` is added to its weight: ridge
regression, so no learning rate. The blocks are done in order, each on what the fitted ones before
it put out, so that drift is corrected as well. Reconstruction block by block needs a tenth of the
text that healing by adapters does (https://arxiv.org/abs/2510.14444).
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
"""Added to the diagonal of the Hessian, as a share of its mean."""
TOLERANCE = 1e-3
"""How far a block may be from adding what its last map puts out, as a share of the output."""


def matching_blocks(parent: Stream, cut: Stream) -> list[int]:
    """Of each block of a cut model, which one of its parent it was; told by their weights."""
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
    """Fit the last map of every block and write the model.

    Where the parent has blocks that the cut model lacks, the block before them learns what they put
    out as well.

    Args:
        parent: the dense model.
        cut: the model after the cut, its residual stream as wide as before.
        tokens: calibration text, shape (num_samples, seq_len).
        origins: of each block, which one of the parent it was, ascending.
        folder: to write to; exists.
        advance: told after each block how many are done.

    Returns:
        ``checks`` of the `galenic.models.save.FolderWriter`, and what was lacking of the outputs of
        the parent's blocks, as a share of their squares, over all blocks, before each was fitted
        and after.

    Raises:
        UserError: the model's blocks do something to what their last maps put out.
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
    """Fit a block and replace hidden states by what it puts out then.

    Returns:
        Squares of what is lacking before and after, and of what is wanted.
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
                "the blocks of this model do not add what their last map puts out as it is: they "
                "cannot be reconstructed. Leave --reconstruct and --steps out."
            )
        run_on_(block, hidden, settings)
        squares[1] = (wanted - hidden).double().square().sum()
    return squares


def _run(block: Block, sample: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """What a block puts out, and what its last map reads, shape (tokens, channels)."""
    with inputs_of(block, ("channels",)) as inputs:
        found = run_block(block, sample, settings)
    return found, inputs["channels"].flatten(0, -2)


def _solved(gram: Any, cross: Any) -> Any:
    """The change of the weight; none where the inputs are always zero."""
    moments = gram.double()
    shift = DAMPING * float(moments.diagonal().mean())
    if not shift > 0:
        return torch.zeros_like(cross)
    moments.diagonal().add_(shift)
    factor = torch.linalg.cholesky(moments)
    return torch.cholesky_solve(cross.double().T, factor).T.float()
