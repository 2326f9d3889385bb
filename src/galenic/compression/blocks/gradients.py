"""The gradient of the loss at the inputs of every block's maps, with one block in memory at a time.

Going forward, what enters each block is put into a temporary file. Going back, each block is run
again from there, with the gradient that came out of the block behind it. So memory holds one
block, its activations for one sequence, and the gradient at one boundary: ``num_samples * seq_len *
hidden_size`` numbers, however many blocks there are. The file is written and read by plain calls:
mapped pages would count as memory of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from galenic.errors import UserError
from galenic.models.layers import Block, InputName

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["BoundaryFile", "See", "Shown", "inputs_of", "walk_back"]

Shown: TypeAlias = InputName | Literal["hidden"]
"""Inputs of a block's linear maps, or of the block itself."""
See: TypeAlias = Callable[[Block, Mapping[Shown, tuple[Any, Any]]], None]
"""Shown, for each block and sequence, (inputs, gradient of the loss at them), both of shape
(seq_len, inputs)."""

LOSS_POSITIONS = 64
"""Positions whose logits are in memory at once: vocabularies are wide."""


class BoundaryFile:
    """Hidden states at the block boundaries, in a file that is gone when it is closed.

    Args:
        folder: where the file is made.
        num_boundaries: how many will be written, for the check of the free space.
        shape: of the hidden states, (num_samples, seq_len, hidden).

    Raises:
        UserError: the disk is too full.
    """

    def __init__(self, folder: Path, num_boundaries: int, shape: tuple[int, int, int]) -> None:
        import shutil

        self.shape = shape
        self.sample_bytes = 4 * shape[1] * shape[2]
        need, free = num_boundaries * shape[0] * self.sample_bytes, shutil.disk_usage(folder).free
        if need > free:
            raise UserError(
                f"the activations between blocks take {need / 1e9:.1f} GB for a while, and "
                f"{folder} has {free / 1e9:.1f} GB free. Make room, or lower --num-samples."
            )
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by close()

    def close(self) -> None:
        """Free the file."""
        self.file.close()

    def write(self, boundary: int, sample: int, hidden: Any) -> None:
        """Store one sequence's hidden states, (1, seq_len, hidden) in float32."""
        self.file.seek((boundary * self.shape[0] + sample) * self.sample_bytes)
        self.file.write(hidden.detach().float().contiguous().numpy().tobytes())

    def read(self, boundary: int, sample: int) -> Any:
        """What `write` stored there."""
        self.file.seek((boundary * self.shape[0] + sample) * self.sample_bytes)
        raw = bytearray(self.file.read(self.sample_bytes))
        return torch.frombuffer(raw, dtype=torch.float32).view(1, *self.shape[1:])


def walk_back(stream: Stream, tokens: Any, folder: Path, see: See, advance: Any) -> None:
    """Show the inputs of each block's output maps with the gradient of the loss, last block first.

    The loss is the sum over all tokens of the next-token cross-entropy in nats.

    Args:
        stream: the model.
        tokens: text, shape (num_samples, seq_len), no padding.
        folder: for a temporary file.
        see: told of the inputs ``heads``, ``channels`` and ``hidden``.
        advance: told how many block runs are done, of two for each block.

    Raises:
        UserError: the disk is too full, or activations are not finite.
    """
    from galenic.models.forward import embed

    hidden, settings = embed(stream.layout, tokens)
    blocks = len(settings)
    store = BoundaryFile(folder, blocks, tuple(hidden.shape))
    try:
        for index, kept in enumerate(settings):
            with stream.block(index) as block, torch.no_grad():
                for number, sample in enumerate(hidden.split(1)):
                    store.write(index, number, sample)
                    sample.copy_(block.module(sample, **kept))
            advance(index + 1)
        gradient = _loss_gradient_(stream, hidden, tokens)
        for index in reversed(range(blocks)):
            with stream.block(index) as block:
                block.module.requires_grad_(False)
                for number, behind in enumerate(gradient.split(1)):
                    entering = store.read(index, number).requires_grad_()
                    with inputs_of(block, ("heads", "channels")) as inputs:
                        block.module(entering, **settings[index]).backward(behind)
                    behind.copy_(entering.grad)
                    shown: dict[Shown, Any] = {"hidden": entering}
                    shown.update((name, x) for name, x in inputs.items())
                    see(block, {n: (x.detach()[0], x.grad[0]) for n, x in shown.items()})
            advance(2 * blocks - index)
    finally:
        store.close()


def _loss_gradient_(stream: Stream, hidden: Any, tokens: Any) -> Any:
    """Gradient of the summed cross-entropy at what leaves the last block; overwrites ``hidden``."""
    from galenic.models.forward import head_logits

    for sample, row in zip(hidden, tokens, strict=True):
        if not bool(torch.isfinite(sample).all()):
            raise UserError(
                "the model computes values that are not finite on the calibration text: its "
                "weights are damaged."
            )
        for start in range(0, len(row), LOSS_POSITIONS):
            part = sample[start : start + LOSS_POSITIONS]
            following = row[start + 1 : start + 1 + LOSS_POSITIONS]
            leaving = part.detach().clone()[None].requires_grad_()
            logits = head_logits(stream.layout, leaving)[0, : len(following)]
            if len(following):
                torch.nn.functional.cross_entropy(logits, following, reduction="sum").backward()
            part.copy_(torch.zeros_like(part) if leaving.grad is None else leaving.grad[0])
    return hidden


@contextmanager
def inputs_of(block: Block, names: tuple[InputName, ...]) -> Iterator[dict[InputName, Any]]:
    """While it is open, each run of the block leaves here what its linear maps of that name read.

    Inputs that take part in a gradient keep theirs.
    """
    seen: dict[InputName, Any] = {}

    def keep(name: InputName, args: tuple[Any, ...]) -> None:
        seen[name] = args[0]
        if args[0].requires_grad:
            args[0].retain_grad()

    with ExitStack() as hooks:
        for name in names:
            module = block.reader(name).module
            hook = module.register_forward_pre_hook(lambda _, args, name=name: keep(name, args))
            hooks.callback(hook.remove)
        yield seen
