"""A low-rank adapter added to the weights of a GGUF, without PyTorch.

The adapter is what the library peft saves for LoRA (https://arxiv.org/abs/2106.09685) or rsLoRA
(https://arxiv.org/abs/2312.03732): ``W + s B A`` stands in place of ``W``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.families import FAMILIES, model_type_of
from galenic.models.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_adapter
from galenic.models.gguf.header import GgufHeader
from galenic.models.gguf.names import file_name, pair_order
from galenic.models.gguf.write import GgufSource, SourceTensor
from galenic.models.tensors import list_tensors

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "LowRank",
    "adapted_source",
    "adapted_tensors",
    "read_adapter",
]

PREFIX = "base_model.model."


@dataclass(frozen=True)
class LowRank:
    """What is added to one weight matrix.

    Attributes:
        up: B, shape (rows, rank).
        down: A, shape (rank, columns).
        scale: s.
    """

    up: NDArray[np.float32]
    down: NDArray[np.float32]
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight matrix."""
        return self.up.shape[0], self.down.shape[1]

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """These rows of ``s B A``, shape (stop - start, columns)."""
        product: NDArray[np.float32] = self.up[start:stop] @ self.down
        return product * np.float32(self.scale)


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """Read an adapter; keys are the names of the weights in transformers.

    Raises:
        UserError: it is not there, is damaged, or is of a kind that is not a plain sum (DoRA,
            trained biases, ranks of their own for single layers).
    """
    config = _read_config(folder)
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    stored = list_tensors([folder / ADAPTER_WEIGHTS])
    values = {name: tensor.decode(np.array(tensor.map())) for name, tensor in stored.items()}
    found = {}
    for name in [name for name in values if name.endswith(".lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        up, down = values.pop(f"{stem}.lora_B.weight", None), values.pop(name)
        if up is None or up.ndim != 2 or down.shape[0] != rank or up.shape[1] != rank:
            raise UserError(f"{folder} is damaged: {stem} lacks a factor of rank {rank}.")
        found[f"{stem.removeprefix(PREFIX)}.weight"] = LowRank(up, down, scale)
    if values or not found:
        odd = f" ({min(values)})" if values else ""
        raise UserError(f"{folder} holds something else than low-rank factors{odd}.")
    return found


def _read_config(folder: Path) -> dict[str, Any]:
    check_adapter(folder)
    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_bytes())
        _ = int(config["r"]), float(config["lora_alpha"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/{ADAPTER_CONFIG} is damaged: {error!r}.") from error
    odd = [key for key in ("use_dora", "rank_pattern", "alpha_pattern") if config.get(key)]
    odd += ["bias"] if config.get("bias", "none") != "none" else []
    if odd or config.get("peft_type", "LORA") != "LORA":
        raise UserError(
            f"{folder} is not a plain LoRA or rsLoRA adapter ({', '.join(odd) or 'other type'}); "
            "`galenic merge` merges it."
        )
    return config


def adapted_source(
    source: GgufSource, header: GgufHeader, adapter: Mapping[str, LowRank]
) -> GgufSource:
    """The same model with the adapter added.

    Args:
        source: of a GGUF.
        header: of the same file.
        adapter: from `read_adapter`.

    Raises:
        UserError: the adapter is one of another model.
    """
    added = adapted_tensors(header, adapter)
    shapes = {tensor.name: tensor.shape for tensor in source.tensors}
    for name, (part, _) in added.items():
        if shapes.get(name) != part.shape:
            raise UserError(
                f"this is an adapter of another model: {name} has the shape "
                f"{shapes.get(name, 'of no tensor')}, and what is added to it {part.shape}."
            )
    return replace(source, tensors=tuple(_adapted(t, added.get(t.name)) for t in source.tensors))


def adapted_tensors(
    header: GgufHeader, adapter: Mapping[str, LowRank]
) -> dict[str, tuple[LowRank, NDArray[np.intp] | None]]:
    """What is added to which tensor of the file, and the order of its rows there.

    Raises:
        UserError: the architecture stores its weights otherwise than adapters do.
    """
    metadata = header.metadata
    architecture = str(metadata["general.architecture"])
    family = FAMILIES.get(model_type_of(architecture))
    if family is None or family.fused:
        raise UserError(f"adapters cannot be added to a GGUF of the architecture {architecture}.")
    layers = int(metadata[f"{architecture}.block_count"])
    return {
        file_name(architecture, layers, name): (
            part,
            _order(metadata, architecture, name) if family.rotary_pairs else None,
        )
        for name, part in adapter.items()
    }


def _order(metadata: Mapping[str, Any], architecture: str, name: str) -> NDArray[np.intp] | None:
    heads = int(metadata[f"{architecture}.attention.head_count"])
    kv_heads = int(metadata.get(f"{architecture}.attention.head_count_kv", heads))
    width = int(metadata[f"{architecture}.embedding_length"])
    head_dim = int(metadata.get(f"{architecture}.attention.key_length", width // heads))
    return pair_order(name, heads, kv_heads, head_dim)


def _adapted(
    tensor: SourceTensor, added: tuple[LowRank, NDArray[np.intp] | None] | None
) -> SourceTensor:
    if added is None:
        return tensor
    part, order = added
    if order is not None:
        part = replace(part, up=part.up[order])
    return replace(tensor, read=partial(_read, tensor, part))


def _read(tensor: SourceTensor, part: LowRank, start: int, stop: int) -> NDArray[np.float32]:
    return tensor.read(start, stop) + part.rows(start, stop)
