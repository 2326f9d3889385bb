"""Read LoRA adapters and apply them to a GGUF, without PyTorch.

Supported are adapters saved by peft for LoRA (https://arxiv.org/abs/2106.09685) and rsLoRA
(https://arxiv.org/abs/2312.03732), which replace a weight ``W`` by ``W + s B A``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.cache import cache_folder, file_sha256, made_once
from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.families import FAMILIES, model_type_of
from galenic.models.files import ModelFiles
from galenic.models.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_adapter
from galenic.models.gguf.header import GgufHeader, check_gguf, read_header
from galenic.models.gguf.names import file_name, pair_order
from galenic.models.gguf.write import GgufSource, SourceTensor
from galenic.models.tensors import list_tensors
from galenic.strict_json import read_object

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "LowRank",
    "adapted_source",
    "adapted_tensors",
    "read_adapter",
    "with_adapter",
    "write_adapter",
]

PREFIX = "base_model.model."
_OTHER_SUMS = (
    "use_dora",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "modules_to_save",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
)
"""PEFT settings under which the merged weight is not ``W + s B A``; such adapters are refused."""
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Values of ``init_lora_weights`` that also modify the base weights."""
LORA = "adapter.gguf"
NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64")
"""Types of GGUF tensors with which llama.cpp cannot multiply; it ends with SIGSEGV."""
MOST_RANK = 1 << 20
MOST_ALPHA = 1e9
"""Limits far above what is used, within which nothing overflows in float32."""


@dataclass(frozen=True)
class LowRank:
    """The low-rank update ``s B A`` of one weight matrix.

    Attributes:
        up: B, shape (rows, rank).
        down: A, shape (rank, columns).
        scale: s, the LoRA scaling factor.
    """

    up: NDArray[np.float32]
    down: NDArray[np.float32]
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight matrix: (rows, columns)."""
        return self.up.shape[0], self.down.shape[1]

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of ``s B A``, shape (stop - start, columns)."""
        product: NDArray[np.float32] = self.up[start:stop] @ self.down
        return product * np.float32(self.scale)


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """Read a PEFT adapter folder; keys are the transformers names of the adapted weights.

    Raises:
        UserError: the adapter is missing or damaged, or is not a plain LoRA or rsLoRA (DoRA,
            trained biases, per-layer ranks).
    """
    config = _read_config(folder)
    rank, alpha = _rank_and_alpha(config)
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    stored = list_tensors([folder / ADAPTER_WEIGHTS])
    values = {name: tensor.decode(np.array(tensor.map())) for name, tensor in stored.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise UserError(f"{folder} is damaged: {name} has values that are not finite.")
    found = {}
    for name in [name for name in values if name.endswith(".lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        up, down = values.pop(f"{stem}.lora_B.weight", None), values.pop(name)
        if (
            up is None
            or up.ndim != 2
            or down.ndim != 2
            or down.shape[0] != rank
            or up.shape[1] != rank
        ):
            raise UserError(f"{folder} is damaged: {stem} lacks a factor of rank {rank}.")
        found[f"{stem.removeprefix(PREFIX)}.weight"] = LowRank(up, down, scale)
    if values or not found:
        odd = f" ({min(values)})" if values else ""
        raise UserError(f"{folder} does not hold low-rank factors alone{odd}.")
    return found


def _read_config(folder: Path) -> dict[str, Any]:
    check_adapter(folder)
    try:
        config = read_object(folder / ADAPTER_CONFIG)
        _rank_and_alpha(config)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        why = one_line(repr(error))
        raise UserError(f"{folder}/{ADAPTER_CONFIG} is damaged: {why}.") from error
    odd = [key for key in _OTHER_SUMS if config.get(key)]
    started = str(config.get("init_lora_weights")).lower()
    odd += [started] if started.startswith(_CHANGED_BASE) else []
    odd += ["bias"] if config.get("bias", "none") != "none" else []
    if odd or config.get("peft_type", "LORA") != "LORA":
        raise UserError(
            f"{folder} is not a plain LoRA or rsLoRA adapter ({', '.join(odd) or 'other type'}); "
            "`galenic merge` merges it."
        )
    return config


def _rank_and_alpha(config: Mapping[str, Any]) -> tuple[int, float]:
    """Return the rank and the factor alpha.

    Raises:
        ValueError: one of them is out of range (or another exception: it is no number).
    """
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    if not 1 <= rank <= MOST_RANK or not abs(alpha) <= MOST_ALPHA:
        raise ValueError(f"rank {rank}, lora_alpha {alpha}")
    return rank, alpha


def with_adapter(model: ModelFiles, adapter: Path) -> ModelFiles:
    """Attach an adapter to a GGUF model; it is applied at run time and not merged into the weights.

    Args:
        model: a GGUF.
        adapter: a PEFT adapter folder, which is converted once and kept in the user cache, or a
            LoRA file in llama.cpp's GGUF format.

    Raises:
        UserError: the model is not a GGUF, or the adapter is invalid or made for another model.
    """
    if model.kind != "gguf":
        raise UserError(
            f"--adapter works only with a GGUF, and {model.name} is a folder: `galenic merge` adds "
            "the adapter to its weights."
        )
    if adapter.is_dir():
        check_adapter(adapter)
        digest = file_sha256(adapter / ADAPTER_WEIGHTS)
        config = hashlib.sha256((adapter / ADAPTER_CONFIG).read_bytes()).hexdigest()
        key = hashlib.sha256(f"{model.sha256} {digest} {config}".encode()).hexdigest()

        def make(part: Path) -> None:
            part.mkdir()
            write_adapter(part / LORA, model.path, read_adapter(adapter))

        path = made_once(cache_folder("adapters") / key[:32], make) / LORA
    elif adapter.is_file():
        path = adapter.absolute()
        _check_lora(path, model)
        key = hashlib.sha256(f"{model.sha256} {file_sha256(path)}".encode()).hexdigest()
    else:
        raise UserError(f"--adapter: there is no file or folder {adapter}.")
    return replace(model, name=f"{model.name} + {adapter.name}", sha256=key, adapter=path)


def write_adapter(target: Path, base: Path, adapter: Mapping[str, LowRank]) -> None:
    """Write an adapter in the format llama.cpp loads (``--lora``, ``llama_adapter_lora_init``).

    The layout is that of llama.cpp's convert_lora_to_gguf.py: ``NAME.lora_a`` is A, ``NAME.lora_b``
    is B with its rows in the order of the base GGUF; the update is ``alpha / rank * B A``.

    Args:
        target: file to write.
        base: GGUF of the model.
        adapter: from `read_adapter`.

    Raises:
        UserError: the adapter was made for another model.
    """
    from gguf import GGUFWriter

    header = check_gguf(base)
    added = adapted_tensors(header, adapter)
    shapes = {info.name: tuple(reversed(info.shape)) for info in header.tensors}
    _check_shapes(added, shapes)
    (alpha,) = {part.scale * part.down.shape[0] for part in adapter.values()}
    kept = 1.0 if alpha else 0.0  # llama.cpp takes an alpha of 0 for a scale of 1
    writer = GGUFWriter(target, str(header.metadata["general.architecture"]))
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha or 1.0)
        for name, (part, order) in added.items():
            up = part.up if order is None else part.up[order]
            writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(part.down, np.float32))
            writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(up * kept, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _check_lora(path: Path, model: ModelFiles) -> None:
    header = read_header(path)
    metadata = header.metadata
    kind = (metadata.get("general.type"), metadata.get("adapter.type"))
    if kind != ("adapter", "lora"):
        raise UserError(f"{path} is not a LoRA adapter in llama.cpp's GGUF form.")
    found = metadata.get("general.architecture")
    wanted = read_header(model.path).metadata.get("general.architecture")
    if found != wanted:
        raise UserError(f"{path} is an adapter of the architecture {found}, the model is {wanted}.")
    alpha = metadata.get("adapter.lora.alpha")
    if not (isinstance(alpha, float) and math.isfinite(alpha)):
        raise UserError(f"{path} has the alpha {one_line(str(alpha))}; a finite number is needed.")
    if odd := next((one for one in header.tensors if one.type in NO_WEIGHTS), None):
        raise UserError(
            f"{path}: {one_line(odd.name)} is stored as {odd.type}; llama.cpp takes F32, F16, BF16 "
            "or a quantized type."
        )


def adapted_source(
    source: GgufSource, header: GgufHeader, adapter: Mapping[str, LowRank]
) -> GgufSource:
    """Merge an adapter into a model as it is read.

    Args:
        source: tensors and metadata of a GGUF.
        header: header of the same file.
        adapter: from `read_adapter`.

    Raises:
        UserError: the adapter was made for another model.
    """
    added = adapted_tensors(header, adapter)
    _check_shapes(added, {tensor.name: tensor.shape for tensor in source.tensors})
    return replace(source, tensors=tuple(_adapted(t, added.get(t.name)) for t in source.tensors))


def _check_shapes(
    added: Mapping[str, tuple[LowRank, Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    for name, (part, _) in added.items():
        if shapes.get(name) != part.shape:
            raise UserError(
                f"this is an adapter of another model: {name} has the shape "
                f"{shapes.get(name, 'of no tensor')}, the adapter's update {part.shape}."
            )


def adapted_tensors(
    header: GgufHeader, adapter: Mapping[str, LowRank]
) -> dict[str, tuple[LowRank, NDArray[np.intp] | None]]:
    """Map each adapted GGUF tensor to its update and to the order of its rows in the file.

    The row order is None where the file keeps the order of transformers.

    Raises:
        UserError: the architecture is unknown, or stores fused weights that adapters do not match.
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
