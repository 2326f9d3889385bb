"""The language model inside one that reads images too, as a folder of its own.

Gemma 3 from 4B on (MedGemma among them) and models built like LLaVA keep an ordinary decoder beside
a vision tower. Compression is for text, so the decoder alone is taken out, unchanged, into the
user's cache; the vision tower stays where it is. The whole model uses its head alone: where the
decoder by itself would scale or cap the head's output (Granite, Gemma 2), the copy does not.
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
from galenic.errors import UserError
from galenic.models.configuration import changed_configuration, read_configuration
from galenic.models.families import unfinished
from galenic.models.files import ModelFiles
from galenic.models.folder import check_folder, config_json
from galenic.models.layers import text_config
from galenic.models.save import FolderWriter
from galenic.models.shapes import empty_model, main_dtype, tensor_names
from galenic.models.tensors import StoredTensor, list_tensors

__all__ = ["text_part"]

logger = logging.getLogger(__name__)

FORMAT = 2
"""Raised when this code writes something else than before for the same model."""
INNER = "language_model"
"""What transformers calls the decoder, in every model that has one beside other parts."""


def text_part(files: ModelFiles) -> ModelFiles:
    """The same model, its path that of the decoder within, which is taken out once.

    A GGUF, and a folder that is nothing but a decoder or whose decoder is of an unknown
    architecture, comes back as it is.

    Args:
        files: the whole model.

    Raises:
        UserError: there is too little room, or the folder lacks weights of the decoder.
    """
    if files.kind == "gguf" or "text_config" not in config_json(files.path):
        return files
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
        raise UserError(
            f"the text model within {source} takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            f"are free at {folder.parent}. Make room, or set GALENIC_CACHE to a folder elsewhere."
        )
    logger.info("copying the text model of %s once; what reads images is left out", source)
    with FolderWriter(folder, config, source, dtype) as writer:
        for name, tensor in names.items():  # in the order of the model: embedding, blocks, rest
            writer.write(name, torch.from_numpy(tensor.decode(tensor.map())))


def _find(name: str, stored: Mapping[str, StoredTensor], source: Path) -> StoredTensor:
    """The decoder's tensor in the whole model; versions of transformers call it differently."""
    whole = (f"{INNER}.{name}", name.replace("model.", f"model.{INNER}.", 1), name)
    for candidate in whole:
        if candidate in stored:
            return stored[candidate]
    raise UserError(f"{source} lacks the tensor {whole[0]} of its text model. Download it again.")
