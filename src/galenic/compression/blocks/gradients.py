"""Gradients of the loss at the inputs of linear layers, with one block in memory at a time.

The forward pass stores the input of each block in a temporary file. The backward pass recomputes
each block from its stored input, and backpropagates the gradient of the block after it. Memory
thus holds one block, its activations for one sequence, and the gradient at one block boundary
(``num_samples * seq_len * hidden_size`` numbers), whatever the number of blocks. The file is
not memory-mapped, because mapped pages would count as memory of this process.
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
"""Name of an input: of a block's linear layers, or ``hidden`` for the block itself."""
See: TypeAlias = Callable[[Block, Mapping[Shown, tuple[Any, Any]]], None]
"""Callback, called for each block and sequence with (inputs, gradient of the loss) by input name;
both of shape (seq_len, inputs)."""

LOSS_POSITIONS = 64
"""Number of positions whose logits are computed at once, to limit memory."""


class BoundaryFile:
    """Temporary file for the hidden states at the block boundaries, deleted when closed.

    Args:
        folder: folder in which the file is created.
        num_boundaries: number of boundaries to be stored, to check the free disk space.
        shape: shape of the hidden states, (num_samples, seq_len, hidden).

    Raises:
        UserError: there is not enough free disk space.
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
        """Close and delete the file."""
        self.file.close()

    def write(self, boundary: int, sample: int, hidden: Any) -> None:
        """Store one sequence's hidden states, (1, seq_len, hidden) in float32."""
        self.file.seek((boundary * self.shape[0] + sample) * self.sample_bytes)
        self.file.write(hidden.detach().float().contiguous().numpy().tobytes())

    def read(self, boundary: int, sample: int) -> Any:
        """Return the hidden states stored by `write`, (1, seq_len, hidden) in float32."""
        self.file.seek((boundary * self.shape[0] + sample) * self.sample_bytes)
        raw = bytearray(self.file.read(self.sample_bytes))
        return torch.frombuffer(raw, dtype=torch.float32).view(1, *self.shape[1:])


def walk_back(stream: Stream, tokens: Any, folder: Path, see: See, advance: Any) -> None:
    """Compute the loss gradient at the inputs of each block and of its output layers.

    The loss is the next-token cross-entropy summed over all tokens, in nats. Blocks are visited
    from last to first.

    Args:
        stream: the model.
        tokens: text, shape (num_samples, seq_len), no padding.
        folder: folder for a temporary file.
        see: called with the inputs ``heads``, ``channels`` and ``hidden`` and their gradients.
        advance: called with the number of block passes done, out of two per block.

    Raises:
        UserError: there is not enough free disk space, or activations are not finite.
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
    """Gradient of the summed cross-entropy at the last block's output; overwrites ``hidden``."""
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
    """Context that yields a dict, which each run of the block fills with the named inputs.

    Inputs that require gradients retain them.
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
