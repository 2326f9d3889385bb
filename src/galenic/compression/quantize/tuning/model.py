"""A quantized GGUF as a transformers model whose stored values can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.compression.quantize.kquant import BLOCK_TYPES
from galenic.compression.quantize.tuning.matrix import TunedMatrix
from galenic.models.checkpoint import Checkpoint
from galenic.models.folder import config_json
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.family import read_shape
from galenic.models.gguf.header import TensorInfo, read_header
from galenic.models.gguf.names import gguf_name, row_order
from galenic.models.paged import PagedModel

__all__ = ["TunedModel", "fast"]


def fast(size: int) -> Any:
    """Context for bfloat16 matrix products, if the model is large and the CPU supports them."""
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if size < 512 or has is None or not has():
        return nullcontext()
    return torch.autocast("cpu", torch.bfloat16)


class TunedModel:
    """Trainable model of a GGUF file; norms and biases also have trained factors.

    Args:
        checkpoint: the dense model, which determines the shapes.
        path: path of the GGUF.

    Attributes:
        paged: the file as a transformers model, for the parts outside the blocks.
        matrices: quantized matrices, by transformers name.
        factors: trained factors on norms and biases, by transformers name.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path) -> None:
        self.paged = PagedModel(checkpoint, gguf_source(path))
        self.layout = self.paged.layout
        self.shape = read_shape(config_json(checkpoint.folder), str(checkpoint.folder))
        self.matrices: dict[str, TunedMatrix] = {}
        self.vectors: dict[str, Any] = {}
        self.factors: dict[str, Any] = {}
        self.fixed: dict[str, Any] = {}
        stored = {info.name: info for info in read_header(path).tensors}
        for name, _ in self.layout.model.named_parameters():
            info = stored.get(gguf_name(self.shape, name))
            if info is None:
                continue  # tied head
            if info.type in BLOCK_TYPES:
                order = row_order(self.shape, name)
                self.matrices[name] = TunedMatrix(info.type, _bytes(path, info), order)
            elif len(info.shape) == 1:
                self.vectors[name] = self.paged.tensor(name)
                self.factors[name] = torch.nn.Parameter(torch.ones_like(self.vectors[name]))
            else:
                self.fixed[name] = self.paged.tensor(name)

    @property
    def head(self) -> str:
        """Transformers name of the head's weight (the embedding's if tied)."""
        tied = bool(self.layout.model.config.tie_word_embeddings)
        return self.shape.family.embedding if tied else "lm_head.weight"

    def final_norm(self) -> dict[str, Any]:
        """Return the final norm's parameters as the file will store them."""
        name = self.shape.family.final_norm
        return {
            part: self.value(f"{name}.{part}") for part, _ in self.layout.norm.named_parameters()
        }

    def value(self, name: str) -> Any:
        """Return a parameter as the file will store it, differentiable in what is trained."""
        if name in self.matrices:
            return self.matrices[name].weight()
        if name in self.vectors:
            return self.vectors[name] * self.factors[name]
        return self.fixed[name]

    def of_block(self, index: int) -> Iterator[tuple[str, str]]:
        """Yield (name within the block, name in the model) of every parameter of a block."""
        prefix = self.paged.prefix(index)
        for name, _ in self.layout.blocks[index].module.named_parameters():
            yield name, f"{prefix}{name}"

    def block_values(self, index: int) -> dict[str, Any]:
        """Return a block's parameters as the file will store them, by name within the block."""
        return {short: self.value(name) for short, name in self.of_block(index)}

    def run_block(
        self,
        index: int,
        hidden: Any,
        settings: Mapping[str, Any],
        values: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return a block's output, shape (samples, seq_len, hidden).

        Args:
            index: index of the block.
            hidden: its input, of the same shape.
            settings: its other arguments.
            values: its `block_values`, if already computed.
        """
        module = self.layout.blocks[index].module
        held = dict(self.block_values(index) if values is None else values)
        return torch.func.functional_call(module, held, (hidden,), dict(settings))

    def run_on_(self, index: int, hidden: Any, settings: Mapping[str, Any]) -> None:
        """Replace hidden states, shape (samples, seq_len, hidden), by the block's output.

        Processes one sample at a time.
        """
        with torch.no_grad(), fast(hidden.shape[-1]):
            values = self.block_values(index)
            for sample in hidden.split(1):
                sample.copy_(self.run_block(index, sample, settings, values))

    def all_factors(self) -> list[Any]:
        """All trained factors (everything trained except codes), in a fixed order."""
        matrices = self.matrices.values()
        pairs = (factor for matrix in matrices for factor in (matrix.factor, matrix.min_factor))
        return [factor for factor in (*pairs, *self.factors.values()) if factor is not None]

    def refresh_embedding_(self) -> None:
        """Update the embedding layer's weight from its current bytes and factors."""
        weight = self.layout.model.get_input_embeddings().weight
        if (matrix := self.matrices.get(self.shape.family.embedding)) is not None:
            with torch.no_grad():
                weight.copy_(matrix.weight())

    def forget_factors_(self) -> None:
        """Reset all factors to 1; call after `stored`, which has applied them to the values."""
        for matrix in self.matrices.values():
            matrix.close_codes_(keep=False)
        for name, factor in self.factors.items():
            self.vectors[name] = self.value(name).detach()
            factor.data.fill_(1)
        self.refresh_embedding_()

    def stored(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield GGUF name and content, rows in GGUF order, of everything that was trained."""
        for name, matrix in self.matrices.items():
            matrix.store_()
            yield gguf_name(self.shape, name), matrix.blocks
        for name in self.vectors:
            values = self.value(name).detach().numpy()
            if name.endswith("norm.weight"):
                values = values + np.float32(self.shape.family.norm_shift or 0)
            order = row_order(self.shape, name)
            yield gguf_name(self.shape, name), values if order is None else values[order]


def _bytes(path: Path, info: TensorInfo) -> NDArray[np.uint8]:
    rows = int(np.prod(info.shape[1:]))
    return np.fromfile(path, np.uint8, info.num_bytes, offset=info.offset).reshape(rows, -1)
