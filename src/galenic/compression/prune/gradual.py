"""Pruning in several steps, fitting the blocks to those of the dense model after each step.

Several cuts of 5 % with healing in between beat a single cut (https://arxiv.org/abs/2502.03460).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from galenic.compression.prune.base import Pruner
from galenic.compression.prune.reconstruct import matching_blocks, reconstruct
from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.files import ModelFiles
from galenic.models.layers import count_parameters
from galenic.models.stream import Stream, open_stream
from galenic.watcher import Watcher

__all__ = ["cut_gradually"]


def cut_gradually(
    parent: Stream, pruner: Pruner, tokens: Any, steps: int, folder: Path, watcher: Watcher
) -> dict[str, float]:
    """Prune and reconstruct ``steps`` times, until the pruner's ``share`` is removed.

    Args:
        parent: the dense model.
        pruner: a method with ``reconstructs`` set.
        tokens: calibration text, shape (num_samples, seq_len).
        steps: number of steps, each removing the same fraction of the dense model's blocks.
        folder: existing folder for the result.
        watcher: reports progress.

    Returns:
        Result of the last `galenic.compression.prune.reconstruct.reconstruct`.
    """
    current, origins = parent, list(range(len(parent.layout.blocks)))
    whole, checks = _in_blocks(parent.checkpoint), {}
    with TemporaryDirectory(prefix=".steps-", dir=folder) as scratch:
        for step in range(1, steps + 1):
            told = f", cut {step} of {steps}" if steps > 1 else ""
            left = 1 - pruner.share * step / steps
            share = max(0.0, 1 - left * whole / _in_blocks(current.checkpoint))
            cut = Path(scratch) / f"cut-{step}"
            cut.mkdir()
            watcher.stage(f"pruning with {pruner.name}{told}", total=len(current.layout.blocks))
            part = pruner.model_copy(update={"sparsity": share})
            part.apply(current, tokens, cut, watcher.advance)
            pruned = _open(current.checkpoint, cut)
            origins = [origins[index] for index in matching_blocks(current, pruned)]
            target = folder if step == steps else Path(scratch) / f"step-{step}"
            target.mkdir(exist_ok=True)
            watcher.stage(f"reconstructing{told}", total=len(origins))
            checks = reconstruct(parent, pruned, tokens, origins, target, watcher.advance)
            current = _open(current.checkpoint, target)
    return checks


def _open(source: Checkpoint, folder: Path) -> Stream:
    files: ModelFiles = replace(source.files, kind="folder", path=folder)
    return open_stream(open_checkpoint(files))


def _in_blocks(checkpoint: Checkpoint) -> int:
    return count_parameters(checkpoint.shapes).blocks
