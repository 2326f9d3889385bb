"""Extract the language model of a multimodal model into a folder of its own.

Gemma 3 from 4B on (including MedGemma) and models built like LLaVA combine an ordinary decoder with
a vision tower. Compression works on text, so the decoder is copied unchanged into the user cache,
without the vision tower. Multimodal models do not scale or cap the head's output, as the decoder
alone would (Granite, Gemma 2), so these settings are reset in the copy.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from galenic.cache import cache_folder, made_once
from galenic.errors import UserError, no_room
from galenic.models.configuration import changed_configuration, read_configuration
from galenic.models.families import unfinished
from galenic.models.files import ModelFiles
from galenic.models.folder import check_folder, config_json
from galenic.models.granite_part import granite_part
from galenic.models.layers import text_config
from galenic.models.save import FolderWriter
from galenic.models.shapes import empty_model, main_dtype, tensor_names
from galenic.models.tensors import StoredTensor, list_tensors

__all__ = ["text_part"]

logger = logging.getLogger(__name__)

FORMAT = 2
"""Version of the extraction; increased when its output for the same model changes."""
INNER = "language_model"
"""Name of the decoder module in multimodal models of transformers."""


def text_part(files: ModelFiles) -> ModelFiles:
    """Return the model with the path of its extracted decoder; extracted once, then cached.

    A GGUF, a text-only model, and a model whose decoder has an unknown architecture are returned
    unchanged, but see `galenic.models.granite_part`.

    Args:
        files: the whole model.

    Raises:
        UserError: transformers is missing, disk space is short, or the folder lacks weights of the
            decoder.
    """
    if files.kind == "gguf" or "text_config" not in config_json(files.path):
        return granite_part(files)
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{files.name} reads images too; taking its text model out needs an extra: "
            "pip install 'galenic[train]'."
        ) from error
    whole = read_configuration(files.path, files.name)
    if (config := text_config(whole)) is whole:
        return files
    if plain := unfinished(config):
        config = changed_configuration(config, plain)
    target = cache_folder("text-parts") / f"{files.path.name}-{files.sha256[:16]}-v{FORMAT}"
    return replace(files, path=made_once(target, partial(_copy, files.path, config)))


def _copy(source: Path, config: Any, folder: Path) -> None:
    import torch

    folder.mkdir()
    stored = list_tensors(check_folder(source))
    names = {name: _find(name, stored, source) for name in tensor_names(empty_model(config))}
    dtype = main_dtype(names)
    need = sum(math.prod(tensor.shape) for tensor in names.values()) * int(dtype.itemsize)
    free = shutil.disk_usage(folder).free
    if need * 1.1 > free:
        raise no_room(
            f"the text model within {source} takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            f"are free at {folder.parent}. Make room, or set GALENIC_CACHE to a folder elsewhere."
        )
    logger.info("copying the text model of %s once, without its image part", source)
    with FolderWriter(folder, config, source, dtype) as writer:
        for name, tensor in names.items():  # in the order of the model: embedding, blocks, rest
            writer.write(name, torch.from_numpy(tensor.decode(tensor.map())))


def _find(name: str, stored: Mapping[str, StoredTensor], source: Path) -> StoredTensor:
    """Find a decoder tensor in the whole model; its name depends on the transformers version."""
    whole = (f"{INNER}.{name}", name.replace("model.", f"model.{INNER}.", 1), name)
    for candidate in whole:
        if candidate in stored:
            return stored[candidate]
    raise UserError(f"{source} lacks the tensor {whole[0]} of its text model. Download it again.")
