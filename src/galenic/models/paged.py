"""A transformers model whose blocks are loaded only while they run.

Weights come from a `GgufSource`, made from a GGUF or from a Hugging Face folder. So the same code
runs a model and its compressed version, and memory does not grow with the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.families import finish_logits
from galenic.models.folder import config_json
from galenic.models.forward import embed
from galenic.models.gguf.family import read_shape
from galenic.models.gguf.names import gguf_name, read_values, row_order
from galenic.models.gguf.write import GgufSource
from galenic.models.layers import Layout, read_layout
from galenic.models.shapes import empty_model
from galenic.models.stream import assign_, block_prefix

__all__ = ["PagedModel"]


class PagedModel:
    """A model in float32, evaluation mode, on the CPU.

    Args:
        checkpoint: describes the model.
        source: provides its weights under their GGUF names.

    Attributes:
        model: the transformers model.
        layout: its parts; embedding, final norm and head are loaded, blocks are on ``meta``.

    Raises:
        UserError: a tensor is missing from the source or has the wrong shape.
    """

    model: Any
    layout: Layout

    def __init__(self, checkpoint: Checkpoint, source: GgufSource) -> None:
        config = checkpoint.shapes.model.config
        self._shape = read_shape(config_json(checkpoint.folder), str(checkpoint.folder))
        self._tensors = {tensor.name: tensor for tensor in source.tensors}
        self._source = source.name
        model = self.model = empty_model(config)
        self.layout = read_layout(model)
        self._names = {
            id(block.module): block_prefix(self.layout, block.index) for block in self.layout.blocks
        }
        self._check()
        blocks = tuple(self._names.values())
        tied = bool(config.tie_word_embeddings)
        for name in dict(model.named_parameters()):
            if not name.startswith(blocks) and not (tied and name.startswith("lm_head.")):
                self._fill_(model, name, name)
        if tied:
            model.get_output_embeddings().weight = model.get_input_embeddings().weight

    @contextmanager
    def block(self, index: int) -> Iterator[Any]:
        """Context manager that yields a block's module with its weights loaded."""
        module = self.layout.blocks[index].module
        self._load_(module)
        try:
            yield module
        finally:
            _unload_(module)

    def logits(self, tokens: Any) -> Any:
        """Run the whole model.

        Args:
            tokens: shape (texts, length), no padding.

        Returns:
            shape (texts, length, vocab), float32.
        """
        hooks = []
        for block in self.layout.blocks:
            hooks.append(block.module.register_forward_pre_hook(lambda m, _: self._load_(m)))
            hooks.append(block.module.register_forward_hook(lambda m, _i, _o: _unload_(m)))
        try:
            with torch.no_grad():
                return self.layout.model(input_ids=tokens, use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
            for block in self.layout.blocks:  # in case one failed half-way
                _unload_(block.module)

    def enter(self, tokens: Any) -> tuple[Any, list[dict[str, Any]]]:
        """Compute the input of the first block, and each block's other arguments (mask, angles).

        Args:
            tokens: shape (texts, length), no padding.

        Returns:
            Hidden states, shape (texts, length, hidden); keyword arguments for each block, valid
            for any number of texts of this length.
        """
        return embed(self.layout, tokens)

    def leave(self, hidden: Any) -> tuple[Any, Any]:
        """Normed hidden states (the head's input) and logits from the last block's output."""
        normed = self.layout.norm(hidden)
        logits = self.layout.model.get_output_embeddings()(normed)
        return normed, finish_logits(self.model.config, logits)

    def gguf_name(self, name: str) -> str:
        """GGUF name of a parameter, by its transformers name."""
        return gguf_name(self._shape, name)

    def to_gguf_order(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Reorder rows, or values for each row, of a parameter to the row order of the GGUF."""
        order = row_order(self._shape, name)
        return rows if order is None else rows[order]

    def prefix(self, index: int) -> str:
        """Common prefix of the names of a block's parameters."""
        return self._names[id(self.layout.blocks[index].module)]

    def tensor(self, name: str) -> Any:
        """Read a parameter by its transformers name, as float32."""
        values = read_values(self._shape, name, self._tensors)
        return torch.from_numpy(np.array(values, np.float32))

    def _load_(self, module: Any) -> None:
        prefix = self._names[id(module)]
        for name in [name for name, _ in module.named_parameters()]:
            self._fill_(module, name, f"{prefix}{name}")

    def _fill_(self, module: Any, name: str, full: str) -> None:
        assign_(module, name, self.tensor(full))

    def _check(self) -> None:
        for name, parameter in self.layout.model.named_parameters():
            if ".experts." in name:
                continue  # checked when they are read
            stored = self._tensors.get(gguf_name(self._shape, name))
            if stored is None and name.startswith("lm_head."):
                continue  # tied to the embedding
            if stored is None or stored.shape != tuple(parameter.shape):
                found = "is missing" if stored is None else f"has the shape {stored.shape}"
                raise UserError(
                    f"{self._source}: the tensor for {name} {found}; the model needs "
                    f"{tuple(parameter.shape)}."
                )


def _unload_(module: Any) -> None:
    for part in module.modules():
        for leaf, parameter in part._parameters.items():
            if parameter is not None and parameter.device.type != "meta":
                empty = torch.empty_like(parameter, device="meta")
                part._parameters[leaf] = torch.nn.Parameter(empty, requires_grad=False)
