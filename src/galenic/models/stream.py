"""Read the blocks of a checkpoint from its files one at a time.

Files are opened for each tensor and closed again, so that no mapped pages stay in memory and memory
use does not grow with the number of blocks.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.layers import Block, Layout, ParameterCounts, count_parameters, read_layout
from galenic.models.packing.experts import ExpertStack
from galenic.models.shapes import empty_model, tensor_names
from galenic.models.tensors import StoredTensor

__all__ = [
    "Stream",
    "assign_",
    "block_prefix",
    "count_stored_zeros",
    "filled",
    "open_stream",
    "read_tensor",
]


@dataclass(frozen=True)
class Stream:
    """A model whose blocks are read from its files one at a time, in float32.

    Attributes:
        checkpoint: the checkpoint it reads from.
        layout: the model in evaluation mode: outer parts (embedding, final norm, head, rotary
            buffers) are loaded, blocks are on ``meta``.
    """

    checkpoint: Checkpoint
    layout: Layout

    @contextmanager
    def block(self, index: int) -> Iterator[Block]:
        """Context manager that yields a block with its weights loaded in float32."""
        block, prefix = self.layout.blocks[index], self.prefix(index)
        loaded = self.tensors(prefix)
        names = list(block.module.state_dict())
        try:
            with filled(block.module, ((n, loaded.pop(f"{prefix}{n}").float()) for n in names)):
                yield block
        finally:
            _return_memory()

    def prefix(self, index: int) -> str:
        """Common prefix of the names of a block's tensors, for example ``"model.layers.3."``."""
        return block_prefix(self.layout, index)

    def tensors(self, prefix: str) -> dict[str, Any]:
        """Read all tensors whose saved names begin with ``prefix``, in their stored type."""
        stored = self.checkpoint.tensors
        return {name: read_tensor(t) for name, t in stored.items() if name.startswith(prefix)}


def open_stream(checkpoint: Checkpoint, *, num_tokens: int = 0) -> Stream:
    """Load the parts outside the blocks.

    Args:
        checkpoint: from `open_checkpoint`, which has checked names and shapes.
        num_tokens: number of calibration tokens whose hidden states will be kept in memory; used
            to estimate memory.

    Raises:
        UserError: too little memory is free.
    """
    _check_memory(checkpoint, num_tokens)
    model = empty_model(checkpoint.shapes.model.config)
    layout = read_layout(model)
    names, outer = tensor_names(model), set(outer_names(layout))
    for name in outer:
        tensor = read_tensor(checkpoint.tensors[name]).float()
        assign_(model, names[name], tensor)
    return Stream(checkpoint, layout)


def _return_memory() -> None:
    """Return the freed memory of a block to the system.

    glibc would keep many small freed pieces and request new memory for the next block.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # other C libraries have none
        trim(0)


def outer_names(layout: Layout) -> list[str]:
    """Saved names of all tensors outside the blocks."""
    inner = tuple(block_prefix(layout, block.index) for block in layout.blocks)
    return [name for name in tensor_names(layout.model) if not name.startswith(inner)]


def block_prefix(layout: Layout, index: int) -> str:
    """Common prefix of the saved names of a block's tensors, for example ``"model.layers.3."``."""
    wanted = layout.blocks[index].module
    return next(f"{n}." for n, module in layout.model.named_modules() if module is wanted)


def _check_memory(checkpoint: Checkpoint, num_tokens: int) -> None:
    """Raise UserError if memory is short.

    Needed are the outer parts twice (the saved model is read back), four blocks, hidden states.
    """
    import psutil

    counts = count_parameters(checkpoint.shapes)
    block = counts.blocks // len(checkpoint.shapes.blocks)
    hidden = num_tokens * checkpoint.shapes.sizes.hidden_size
    need = 4 * (2 * (counts.total - counts.blocks) + 4 * block + hidden)
    free = psutil.virtual_memory().available
    if need > free:
        raise UserError(
            f"changing {checkpoint.folder} block by block takes {need / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free. Close other programs, lower --num-samples or take a "
            "smaller model."
        )


def read_tensor(stored: StoredTensor | ExpertStack) -> Any:
    """Read a stored tensor into memory, in its stored type."""
    import torch

    if isinstance(stored, ExpertStack):
        return torch.stack([torch.cat([read_tensor(one) for one in each]) for each in stored.parts])
    mapped = stored.map()  # checks type and size; reads nothing
    values = torch.from_numpy(
        np.fromfile(stored.file, mapped.dtype, mapped.size, offset=stored.offset)
    )
    if stored.dtype == "BF16":
        values = values.view(torch.bfloat16)
    return values.reshape(stored.shape)


def assign_(model: Any, names: str | list[str], tensor: Any) -> None:
    """Set a model's parameter or buffer, under one name or under several (tied weights)."""
    import torch

    names = [names] if isinstance(names, str) else names
    value = tensor
    if not isinstance(value, torch.nn.Parameter) and names[0] in dict(
        model.named_parameters(remove_duplicate=False)
    ):
        value = torch.nn.Parameter(tensor, requires_grad=False)
    for name in names:
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, value)


@contextmanager
def filled(module: Any, tensors: Iterable[tuple[str, Any]]) -> Iterator[None]:
    """Context manager that sets parameters and buffers of a module and restores them on exit."""
    before = dict(module.state_dict(keep_vars=True))
    try:
        for name, tensor in tensors:
            assign_(module, name, tensor)
        yield
    finally:
        for name, tensor in before.items():
            assign_(module, name, tensor)


def count_stored_zeros(checkpoint: Checkpoint) -> ParameterCounts:
    """Count the stored parameters that are exactly zero, one tensor in memory at a time."""
    layout = checkpoint.shapes
    model, outer = layout.model, set(outer_names(layout))
    ends = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    state = model.state_dict(keep_vars=True)
    total = embeddings = blocks = 0
    for name, stored in checkpoint.tensors.items():
        zeros = int((read_tensor(stored) == 0).sum())
        total += zeros
        embeddings += zeros if any(state[name] is end for end in ends) else 0
        blocks += zeros if name not in outer else 0
    return ParameterCounts(total=total, embeddings=embeddings, blocks=blocks)
