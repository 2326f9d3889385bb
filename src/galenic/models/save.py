"""Write a modified model as a Hugging Face folder, and read it back to verify it.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any

from galenic.models.check import check_failed, check_saved, embed_check_tokens
from galenic.models.forward import head_logits, run_block
from galenic.models.layers import Block, Layout, read_layout
from galenic.models.packing.experts import saved_parts
from galenic.models.shapes import empty_model, tensor_names
from galenic.models.stream import assign_, block_prefix, filled, outer_names

__all__ = [
    "LICENCE_FILES",
    "TOKENIZER_FILES",
    "FolderWriter",
]

TOKENIZER_FILES = (
    "tokenizer*",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "generation_config.json",
)
LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*")
"""Files that licences require to be passed on with a model."""


class FolderWriter:
    """Context manager that writes a model folder tensor by tensor.

    The embedding must come first, then the blocks in order, because a few tokens are run through
    the model as it is written; all other tensors may come at any time. On exit, missing tokenizer
    and licence files are copied, the folder is read back, and the logits are compared. Output is
    deterministic.

    Args:
        folder: an existing folder to write to.
        config: configuration of the model to write.
        source: folder of the parent model.
        dtype: ``torch.dtype`` of the stored weights.
        kept: glob patterns of the parent's files to copy.

    Attributes:
        checks: result of `check_saved`, once the folder is complete.

    Raises:
        UserError: a weight is not finite, or the folder read back gives other logits.
        ValueError: a tensor is unknown, misshapen, out of order, written twice or missing.
    """

    def __init__(
        self,
        folder: Path,
        config: Any,
        source: Path,
        dtype: Any,
        *,
        kept: Sequence[str] = (*TOKENIZER_FILES, *LICENCE_FILES),
    ) -> None:
        self.folder, self.source, self.dtype, self.kept = folder, source, dtype, kept
        self.checks: dict[str, float] = {}
        self._config = deepcopy(config)
        self._config.dtype = str(dtype).removeprefix("torch.")
        model = empty_model(self._config)
        self._config.architectures = [type(model).__name__]
        if hasattr(self._config, "auto_map"):  # names code of the parent, which is not copied
            del self._config.auto_map
        self._probe = _Probe(read_layout(model))
        self._names = tensor_names(model)
        state = model.state_dict()
        self._shapes = {name: tuple(state[name].shape) for name in self._names}
        self._left = set(self._names)
        kind = self._config.model_type
        self._saved = {name: saved_parts(kind, name, size) for name, size in self._shapes.items()}

    def __enter__(self) -> FolderWriter:
        self._config.save_pretrained(self.folder)
        shapes = {part.name: part.shape for parts in self._saved.values() for part in parts}
        header, self._offsets = _header(shapes, self.dtype)
        self._handle = (self.folder / "model.safetensors").open("wb")
        self._handle.write(header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.close()
        if kind is not None:
            return
        if self._left:
            raise ValueError(f"{len(self._left)} tensors were not written: {sorted(self._left)[0]}")
        for pattern in self.kept:
            for file in sorted(self.source.glob(pattern)):
                if file.is_file() and not (self.folder / file.name).exists():
                    shutil.copyfile(file, self.folder / file.name)
        expected = self._probe.logits()
        del self._probe  # frees its embedding and head, which are now read again
        self.checks = check_saved(self.folder, expected)

    def write(self, name: str, tensor: Any) -> None:
        """Write one tensor under its saved name; it must not be modified afterwards.

        Once all tensors of a block are written, the check tokens are run through the block.
        """
        import torch

        if name not in self._left:
            raise ValueError(f"{name} is not a tensor of the model or was written before")
        if tuple(tensor.shape) != self._shapes[name]:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, not the model's")
        stored = tensor.detach().to(self.dtype).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise check_failed(f"{name} holds values that are not finite")
        for part in self._saved[name]:
            self._handle.seek(self._offsets[part.name])
            values = stored[part.index].contiguous()
            self._handle.write(memoryview(values.view(torch.uint8).numpy()))
        self._left.discard(name)
        self._probe.take(name, self._names[name], stored.float())

    def write_block(self, block: Block) -> None:
        """Write all parameters of a block at position ``block.index`` of the new model."""
        prefix = block_prefix(self._probe.layout, block.index)
        for name, parameter in block.module.state_dict().items():
            self.write(prefix + name, parameter)

    def write_outer(self, layout: Layout) -> None:
        """Write embedding, final norm and head (a tied head once) of a loaded model."""
        state = layout.model.state_dict()
        for name in outer_names(self._probe.layout):
            self.write(name, state[name])


class _Probe:
    """Runs the check tokens through a model while it is written block by block."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.prefixes = [block_prefix(layout, block.index) for block in layout.blocks]
        self.done = 0
        self.waiting: dict[str, Any] = {}
        self.hidden: Any = None
        self.settings: list[dict[str, Any]] = []

    def take(self, name: str, names: list[str], tensor: Any) -> None:
        """Take a written tensor (float32) and run its block once the block is complete."""
        if not name.startswith(tuple(self.prefixes)):
            assign_(self.layout.model, names, tensor)
            return
        if self.done == len(self.prefixes) or not name.startswith(self.prefixes[self.done]):
            raise ValueError(f"{name} is written before a block in front of it is whole")
        self.waiting[name.removeprefix(self.prefixes[self.done])] = tensor
        module = self.layout.blocks[self.done].module
        if len(self.waiting) == len(module.state_dict()):
            self._run()

    def _run(self) -> None:
        import torch

        block = self.layout.blocks[self.done]
        if self.hidden is None:
            embedding = self.layout.model.get_input_embeddings().weight
            if embedding.is_meta:
                raise ValueError("the embedding must be written before the blocks")
            self.hidden, self.settings = embed_check_tokens(self.layout)
        with filled(block.module, self.waiting.items()), torch.no_grad():
            self.hidden = run_block(block, self.hidden, self.settings[self.done])
        self.waiting.clear()
        self.done += 1

    def logits(self) -> Any:
        """Logits of the check tokens; call after all tensors were taken."""
        import torch

        with torch.no_grad():
            return head_logits(self.layout, self.hidden)


def _header(shapes: dict[str, tuple[int, ...]], dtype: Any) -> tuple[bytes, dict[str, int]]:
    """Return the safetensors header and each tensor's file offset; tensors are in name order."""
    import math

    import torch

    label = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts, end = {}, 0
    for name in sorted(shapes):
        start, end = end, end + math.prod(shapes[name]) * dtype.itemsize
        starts[name] = start
        table[name] = {"dtype": label, "shape": shapes[name], "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the first tensor begins at a multiple of 8
    header = struct.pack("<Q", len(text)) + text
    return header, {name: len(header) + start for name, start in starts.items()}
