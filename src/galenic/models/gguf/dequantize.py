"""Convert a GGUF to a Hugging Face folder with float32 weights, for the torch runtime.

Families of `galenic.models.families` are converted here, tensor by tensor, as the inverse of
`galenic.models.gguf.folder`. Other architectures are converted by transformers, and refused if
they scale rotary positions, which transformers would drop. The tokenizer is always built here,
because transformers does not know every pre-tokenizer of a GGUF. Results stay in the user cache.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.cache import cache_folder, made_once
from galenic.errors import UserError, no_room
from galenic.models.configuration import refusals
from galenic.models.families import FAMILIES
from galenic.models.files import ModelFiles
from galenic.models.gguf.config import header_config, header_type
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.family import ModelShape, expected_tensors, read_shape
from galenic.models.gguf.header import GgufHeader, check_gguf, count_parameters
from galenic.models.gguf.names import from_gguf, gguf_name, stack_of
from galenic.models.gguf.rope_config import ROPE_TENSORS
from galenic.models.gguf.write import SourceTensor
from galenic.models.quiet import quiet_transformers

__all__ = ["check_conversion", "check_room", "dequantized_folder"]

logger = logging.getLogger(__name__)

FORMAT = 2
"""Version of the conversion; increased when its output for the same file changes."""
INSTEAD = "Use the llama runtime for this file, or the model's Hugging Face folder."


def dequantized_folder(files: ModelFiles) -> Path:
    """Convert a GGUF, unless the cache has it, and return the folder.

    The first conversion takes a few seconds per 100 million weights.

    Args:
        files: a model of kind ``"gguf"``.

    Raises:
        UserError: the ``train`` extra is missing, disk space or memory is short, or the model
            cannot be converted exactly.
    """
    if files.kind != "gguf":
        raise ValueError(f"{files.path} is not a GGUF")
    target = _target(files)

    def make(part: Path) -> None:
        header = check_gguf(files.path)
        _check(files.path, header, target.parent)
        logger.info("converting %s to float32 once; this takes a while", files.path)
        _convert(files.path, header, part)

    return made_once(target, make)


def check_conversion(files: ModelFiles) -> None:
    """Check, without converting, that a GGUF can be converted or already was.

    Raises:
        UserError: as `dequantized_folder`.
    """
    target = _target(files)
    if not target.is_dir():
        _check(files.path, check_gguf(files.path), target.parent)
        gguf_source(files.path)  # refuses types that cannot be decoded


def check_room(files: ModelFiles) -> None:
    """Check, without converting, that a GGUF is convertible and fits into memory as float32.

    Raises:
        UserError: as `dequantized_folder`, or too little memory is free.
    """
    check_conversion(files)
    _check_free(files.path, check_gguf(files.path), "memory", _free_memory())


def _target(files: ModelFiles) -> Path:
    return cache_folder("dequantized") / f"{files.path.stem}-{files.sha256[:16]}-v{FORMAT}"


def _check(path: Path, header: GgufHeader, room: Path) -> None:
    """Raise UserError for a model that could not be converted correctly, before any slow work."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            "the torch runtime needs an extra: pip install 'galenic[train]'. "
            "The llama runtime works without it."
        ) from error
    if _is_known(header):
        _shape(path, header)
    else:
        architecture = header.metadata["general.architecture"]
        scaling = header.metadata.get(f"{architecture}.rope.scaling.type", "none")
        if scaling != "none" or any(t.name in ROPE_TENSORS for t in header.tensors):
            raise UserError(
                f"{path} rescales its rotary positions, and transformers does not take that over "
                f"from a GGUF of {architecture}: its predictions would be wrong. {INSTEAD}"
            )
        logger.warning("conversion of %r has not been compared with llama.cpp", architecture)
        _check_free(path, header, "memory", _free_memory())
    _check_free(path, header, "disk", shutil.disk_usage(room).free)


def _is_known(header: GgufHeader) -> bool:
    return header_type(header) in FAMILIES


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _check_free(path: Path, header: GgufHeader, what: str, free: int) -> None:
    need = 4 * count_parameters(header)
    if need * 1.1 > free:
        refuse = no_room if what == "disk" else UserError
        raise refuse(
            f"{path} in float32 takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB of {what} "
            f"are free. {INSTEAD}"
        )


def _convert(path: Path, header: GgufHeader, folder: Path) -> None:
    from galenic.models.gguf.tokenizer import gguf_tokenizer

    tokenizer = gguf_tokenizer(path)  # first: it is fast and may raise
    if _is_known(header):
        _write(path, header, folder)
    else:
        with quiet_transformers():
            model = _load(path, header)
            folder.mkdir()
            model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _shape(path: Path, header: GgufHeader) -> tuple[Any, ModelShape]:
    """Return configuration and shape; raise UserError if the file's tensors do not match them."""
    config = header_config(header, path)
    shape = read_shape(config.to_dict(), str(path))
    expected = dict(_place(shape, *one) for one in expected_tensors(shape).items())
    found = {tensor.name: tuple(reversed(tensor.shape)) for tensor in header.tensors}
    for name, size in expected.items():
        if found.get(name) != size:
            raise UserError(
                f"{path} is not a whole {shape.family.title} model: tensor {name} "
                f"{f'has the shape {found[name]}' if name in found else 'is missing'}; its header "
                f"says {size}. {INSTEAD}"
            )
    if odd := sorted(found.keys() - expected.keys() - set(ROPE_TENSORS)):
        raise UserError(
            f"{path} holds {len(odd)} tensors that a {shape.family.title} model has no place for, "
            f"for example {odd[0]}. {INSTEAD}"
        )
    return config, shape


def _write(path: Path, header: GgufHeader, folder: Path) -> None:
    import transformers

    config, shape = _shape(path, header)
    config.architectures = [
        transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]
    ]
    config.dtype = "float32"
    folder.mkdir()
    config.save_pretrained(folder)
    transformers.GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    ).save_pretrained(folder)
    stored = {tensor.name: tensor for tensor in gguf_source(path).tensors}
    tensors = {name: _tensor(shape, name, stored) for name in expected_tensors(shape)}
    _write_weights(folder / "model.safetensors", shape, tensors)


def _place(shape: ModelShape, name: str, size: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Name and shape of the GGUF tensor that holds a model tensor."""
    if shape.experts is not None and (stack := stack_of(shape, name)):
        return stack[0], (shape.experts.count, *size)
    return gguf_name(shape, name), size


def _tensor(shape: ModelShape, name: str, stored: Mapping[str, SourceTensor]) -> SourceTensor:
    """Return a model tensor by its transformers name; an expert is cut out of its stack."""
    if (stack := stack_of(shape, name)) is None:
        return stored[gguf_name(shape, name)]
    whole, number = stored[stack[0]], stack[1]

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return whole.read(number, number + 1).reshape(whole.shape[1:])[start:stop]

    return SourceTensor(name, whole.shape[1:], read)


def _write_weights(file: Path, shape: ModelShape, tensors: Mapping[str, SourceTensor]) -> None:
    """Write a safetensors file, with one tensor in memory at a time."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in sorted(tensors.items()):
        start, end = end, end + 4 * math.prod(tensor.shape)
        table[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the first tensor begins at a multiple of 8
    with file.open("wb") as handle:
        handle.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in sorted(tensors.items()):
            values = from_gguf(shape, name, tensor.read(0, tensor.shape[0]).reshape(tensor.shape))
            handle.write(np.ascontiguousarray(values, np.float32).data)


def _load(path: Path, header: GgufHeader) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": path.name}
    if hasattr(transformers, "GgufConfig"):  # before 5.23, loading always dequantized
        options["quantization_config"] = transformers.GgufConfig(
            gguf_file=path.name, dequantize=True
        )

    def say(why: object) -> UserError:
        return UserError(f"transformers cannot convert {path}: {why} {INSTEAD}")

    try:
        with refusals(say):
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, dtype=torch.float32, output_loading_info=True, **options
            )
    except RuntimeError as error:
        raise say(error) from error
    lost = {name: sorted(keys)[:3] for name, keys in info.items() if keys}
    found, expected = sum(p.numel() for p in model.parameters()), count_parameters(header)
    if lost or found != expected:
        raise UserError(
            f"transformers does not read all of {path}: {found:,} of {expected:,} weights, "
            f"{lost or 'none missing by name'}. {INSTEAD}"
        )
    return model
