"""Importance of each row and column of the weights, measured on calibration text.

Changing a weight matrix by ``D`` changes the log-probability of a token by ``g . D x`` to first
order, where ``x`` is the layer's input and ``g`` the gradient at its output. With labels sampled
from the model's own prediction, half the mean square of that is the Kullback-Leibler divergence to
second order (the Fisher information). If rows and columns are assumed independent, it becomes

    0.5 * sum_ij  mean(g_i^2) * mean(x_j^2) * D_ij^2

in nats per token. The unit is the same for every tensor, so errors are comparable between tensors.
Kunstner et al. (2019), https://arxiv.org/abs/1905.12558, explain why labels must be sampled from
the model instead of taken from the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.families import FAMILIES
from galenic.models.layers import Block
from galenic.models.paged import PagedModel

__all__ = ["Onlooker", "Sensitivity", "head_name", "measure_sensitivity"]

SAMPLED = 16
"""Number of sequences used for gradients; column statistics use all sequences."""


@dataclass(frozen=True)
class Sensitivity:
    """Importance of rows and columns by GGUF tensor name, rows in GGUF order.

    Attributes:
        columns: mean square of the input of each column.
        rows: mean square of the gradient at each output; empty if not measured.
        fitted: used instead of ``columns`` for tensors fitted by GPTQ: cost of each column's
            error after compensation.
    """

    columns: Mapping[str, NDArray[np.float32]]
    rows: Mapping[str, NDArray[np.float32]]
    fitted: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Onlooker(Protocol):
    """Observer of the calibration run, to gather further statistics in the same pass."""

    def reading(self, block: Block) -> AbstractContextManager[None]:
        """Context in which the whole text is run through the block."""

    def read_head(self, normed: Any) -> None:
        """Called with the head's inputs for each sequence, shape (1, seq_len, hidden)."""


class _MeanSquares:
    """Accumulates mean squares by name, in float64."""

    def __init__(self) -> None:
        self.total: dict[str, Any] = {}
        self.count: dict[str, int] = {}

    def add(self, name: str, values: Any) -> None:
        flat = values.detach().flatten(0, -2).double().square()
        self.total[name] = self.total.get(name, 0) + flat.sum(dim=0)
        self.count[name] = self.count.get(name, 0) + flat.shape[0]

    def means(self) -> dict[str, NDArray[np.float64]]:
        return {name: (total / self.count[name]).numpy() for name, total in self.total.items()}


def measure_sensitivity(
    model: PagedModel,
    tokens: Any,
    scratch: Path,
    advance: Callable[[int], None],
    *,
    gradients: bool,
    seed: int = 0,
    onlooker: Onlooker | None = None,
) -> Sensitivity:
    """Measure importance on calibration text, with one block in memory at a time.

    Args:
        model: the model.
        tokens: calibration text, shape (num_samples, seq_len).
        scratch: folder for temporary files with the hidden states between blocks.
        advance: called with the number of block passes done; one per block, two with gradients.
        gradients: also measure row importance, on the first `SAMPLED` sequences.
        seed: seed for sampling labels.
        onlooker: observer of the forward pass.

    Raises:
        UserError: the model computes values that are not finite.
    """
    columns, rows = _MeanSquares(), _MeanSquares()
    sampled = tokens[:SAMPLED] if gradients else tokens[:0]
    hidden, settings = model.enter(tokens)
    blocks = model.layout.blocks
    kept = [scratch / f"hidden-{block.index}.npy" for block in blocks]
    try:
        for block in blocks:
            if gradients:  # the backward pass runs each block again, from its input
                np.save(kept[block.index], hidden[: len(sampled)].numpy())
            reading = _reading(model, block.index, columns)
            looking = onlooker.reading(block) if onlooker else nullcontext()
            with torch.no_grad(), model.block(block.index) as module, reading, looking:
                for sample in hidden.split(1):  # activations of one sequence at a time
                    sample.copy_(module(sample, **settings[block.index]))
            advance(block.index + 1)
        if onlooker:
            _show_head(model, hidden, onlooker)
        gradient = _head(model, hidden, sampled, columns, rows, seed)
        for block in reversed(blocks if gradients else ()):
            entered = torch.from_numpy(np.load(kept[block.index]))
            with model.block(block.index) as module, _reading(model, block.index, None, rows):
                gradient = _backward(module, entered, gradient, settings[block.index])
            advance(2 * len(blocks) - block.index)
    finally:
        for file in kept:
            file.unlink(missing_ok=True)
    if gradients:
        _embedding(model, sampled, gradient, columns, rows)
    # converters permute the rows of query and key for llama.cpp's rotary embedding
    in_order = {name: model.to_gguf_order(name, values) for name, values in rows.means().items()}
    return Sensitivity(_finite(model, columns.means()), _finite(model, in_order))


@contextmanager
def _reading(
    model: PagedModel, index: int, columns: _MeanSquares | None, rows: _MeanSquares | None = None
) -> Iterator[None]:
    """Context that adds the block's linear inputs to ``columns``, output gradients to ``rows``."""
    hooks = []
    block = model.layout.blocks[index]
    modules = {id(linear.module): linear.module for linear in block.linears.values()}
    for name, module in block.module.named_modules():
        if id(module) not in modules:
            continue
        hook = partial(_show, f"{model.prefix(index)}{name}.weight", columns, rows)
        hooks.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _show(
    name: str,
    columns: _MeanSquares | None,
    rows: _MeanSquares | None,
    _module: Any,
    args: tuple[Any, ...],
    output: Any,
) -> None:
    if columns is not None:
        columns.add(name, args[0])
    if rows is not None:
        output.register_hook(lambda gradient: rows.add(name, gradient))


def _show_head(model: PagedModel, hidden: Any, onlooker: Onlooker) -> None:
    with torch.no_grad():
        for sample in hidden.split(1):
            onlooker.read_head(model.layout.norm(sample))


def _head(
    model: PagedModel,
    hidden: Any,
    sampled: Any,
    columns: _MeanSquares,
    rows: _MeanSquares,
    seed: int,
) -> Any:
    """Gradient at the last block's output for ``sampled``; also gathers the head's statistics."""
    generator = torch.Generator().manual_seed(seed)
    name = head_name(model)
    gradients = []
    for number, sample in enumerate(hidden.split(1)):
        if number >= len(sampled):
            with torch.no_grad():
                columns.add(name, model.layout.norm(sample))
            continue
        state = sample.detach().requires_grad_()
        normed, logits = model.leave(state)
        columns.add(name, normed)
        chances = torch.softmax(logits.detach()[0], dim=-1)
        labels = torch.multinomial(chances, 1, generator=generator)[:, 0]
        # its square p(1 - p) is the expected squared gradient at a logit, over sampled labels
        rows.add(name, (chances * (1 - chances)).sqrt()[None])
        torch.nn.functional.cross_entropy(logits[0], labels, reduction="sum").backward()
        gradients.append(state.grad)
    return torch.cat(gradients) if gradients else None


def _backward(module: Any, entered: Any, gradient: Any, settings: Mapping[str, Any]) -> Any:
    gradients = []
    for sample, above in zip(entered.split(1), gradient.split(1), strict=True):
        state = sample.requires_grad_()
        module(state, **settings).backward(above)
        gradients.append(state.grad)
        state.requires_grad_(False)
    return torch.cat(gradients)


def head_name(model: PagedModel) -> str:
    """Name of the head's weight in transformers (the embedding's if tied)."""
    tied = model.layout.model.config.tie_word_embeddings
    return FAMILIES[model.layout.family].embedding if tied else "lm_head.weight"


def _embedding(
    model: PagedModel, sampled: Any, gradient: Any, columns: _MeanSquares, rows: _MeanSquares
) -> None:
    """Add statistics of an untied embedding: a row's importance is its token's frequency.

    A tied embedding only uses the head's statistics, since nearly all of its error arises there.
    """
    name = FAMILIES[model.layout.family].embedding
    if head_name(model) == name:
        return
    vocabulary = model.layout.model.get_input_embeddings().weight.shape[0]
    counts = torch.bincount(sampled.flatten(), minlength=vocabulary).double() + 1.0
    columns.add(name, gradient)
    rows.add(name, (counts / counts.sum()).sqrt()[None])


def _finite(
    model: PagedModel, means: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float32]]:
    found = {}
    for name, values in means.items():
        if not np.isfinite(values).all():
            raise UserError(
                f"the model computes values that are not finite at {name} on the calibration "
                "text: its weights are damaged."
            )
        if values.max() > 0:  # all-zero inputs: importance is irrelevant
            found[model.gguf_name(name)] = values.astype(np.float32)
    return found
