"""A GGUF as an ordinary Hugging Face folder with float32 weights, for the torch runtime.

transformers reads the weights (from version 5.23 on it would keep them packed and compute with them
very slowly, so it is told not to); the tokenizer is built here, because transformers does not know
every rule by which a GGUF cuts text. The folder is kept in the user's cache.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.cache import cache_folder, made_once
from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import GgufHeader, check_gguf, count_parameters
from galenic.models.quiet import quiet_transformers

__all__ = ["check_room", "dequantized_folder"]

logger = logging.getLogger(__name__)

FORMAT = 1
"""Raised when this code writes something else than before for the same file."""
COMPARED = ("llama", "qwen2")
"""Architectures whose predictions the tests compare with those of llama.cpp."""
INSTEAD = "Use the llama runtime for this file, or the model's Hugging Face folder."


def dequantized_folder(files: ModelFiles) -> Path:
    """Convert a GGUF once and return the folder; it takes 20 to 30 seconds for 100 M weights.

    Args:
        files: a model of kind ``"gguf"``.

    Raises:
        UserError: the extra ``train`` is missing, there is too little room, or the model cannot be
            converted without change.
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


def check_room(files: ModelFiles) -> None:
    """Check, quickly, that a GGUF can be converted and that its float32 weights fit.

    Raises:
        UserError: as `dequantized_folder`; of a file that was converted before, only where memory
            is short.
    """
    header, target = check_gguf(files.path), _target(files)
    if target.is_dir():
        _check_free(files.path, header, {"memory": _free_memory()})
    else:
        _check(files.path, header, target.parent)


def _target(files: ModelFiles) -> Path:
    return cache_folder("dequantized") / f"{files.path.stem}-{files.sha256[:16]}-v{FORMAT}"


def _check(path: Path, header: GgufHeader, room: Path) -> None:
    """Refuse what would be converted wrongly or not at all, before any slow work."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            "the torch runtime needs an extra: pip install 'galenic[train]'. "
            "The llama runtime works without it."
        ) from error
    architecture = header.metadata["general.architecture"]
    scaling = header.metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(t.name.startswith("rope_f") for t in header.tensors):
        raise UserError(
            f"{path} rescales its rotary positions, and transformers does not take that over from "
            f"a GGUF: its predictions would be wrong. {INSTEAD}"
        )
    if architecture not in COMPARED:
        logger.warning("conversion of %r has not been compared with llama.cpp", architecture)
    _check_free(path, header, {"disk": shutil.disk_usage(room).free, "memory": _free_memory()})


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _check_free(path: Path, header: GgufHeader, room: Mapping[str, int]) -> None:
    need = 4 * count_parameters(header)
    for what, free in room.items():
        if need * 1.1 > free:
            raise UserError(
                f"{path} in float32 takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB of {what} "
                f"are free. {INSTEAD}"
            )


def _convert(path: Path, header: GgufHeader, folder: Path) -> None:
    from galenic.models.gguf.tokenizer import gguf_tokenizer

    tokenizer = gguf_tokenizer(path)  # first, for it is quick and may refuse
    with quiet_transformers():
        model = _load(path, header)
        folder.mkdir()
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load(path: Path, header: GgufHeader) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": path.name}
    if hasattr(transformers, "GgufConfig"):  # before 5.23 there was no other way than unpacking
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
            f"transformers does not read {path} as it is: {found:,} of {expected:,} weights, "
            f"{lost or 'none missing by name'}. {INSTEAD}"
        )
    return model
