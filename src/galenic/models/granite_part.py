"""Rewrite a Granite 4 model without recurrent blocks as the Granite model that it is.

The dense models of Granite 4 have the configuration of the hybrid ones (``granitemoehybrid``),
with attention in every block and no experts. Then they compute what a ``granite`` model does, under
other names: gate and up are the halves of one matrix,
https://github.com/huggingface/transformers/blob/main/src/transformers/models/granitemoehybrid.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from galenic.cache import cache_folder, made_once
from galenic.errors import UserError
from galenic.models.configuration import read_configuration
from galenic.models.files import ModelFiles
from galenic.models.folder import check_folder, config_json
from galenic.models.save import FolderWriter
from galenic.models.shapes import empty_model, main_dtype, tensor_names
from galenic.models.tensors import StoredTensor, list_tensors

__all__ = ["granite_part"]

logger = logging.getLogger(__name__)

FORMAT = 1
"""Version of the conversion; increased when its output for the same model changes."""
HYBRID = "granitemoehybrid"
HALVES = {
    "mlp.gate_proj": ("shared_mlp.input_linear", 0),
    "mlp.up_proj": ("shared_mlp.input_linear", 1),
    "mlp.down_proj": ("shared_mlp.output_linear", None),
}
"""Linear layer of a Granite block to its weight in the hybrid one, and which half of the rows."""


def granite_part(files: ModelFiles) -> ModelFiles:
    """Return the model with the path of its copy as ``granite``; made once, then cached.

    Any other model is returned unchanged, a hybrid with recurrent blocks or experts too.

    Args:
        files: the model.

    Raises:
        UserError: transformers is missing, or the folder lacks weights.
    """
    if files.kind == "gguf" or not _is_dense(config_json(files.path)):
        return files
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"reading {files.name} needs an extra: pip install 'galenic[train]'."
        ) from error
    config = _as_granite(read_configuration(files.path, files.name))
    target = cache_folder("text-parts") / f"{files.path.name}-{files.sha256[:16]}-granite-{FORMAT}"
    return replace(files, path=made_once(target, partial(_copy, files.path, config)))


def _is_dense(config: Mapping[str, Any]) -> bool:
    kinds = config.get("layer_types") or config.get("layers_block_type") or ["mamba"]
    return (
        config.get("model_type") == HYBRID
        and set(kinds) <= {"attention", "full_attention"}
        and config.get("num_local_experts") == 0
        and config.get("position_embedding_type") == "rope"
        and "quantization_config" not in config
    )


def _as_granite(config: Any) -> Any:
    import transformers

    plain = transformers.GraniteConfig()
    kept = {
        key: value
        for key, value in config.to_dict().items()
        if hasattr(plain, key) and key not in ("model_type", "architectures", "layer_types")
    }
    return transformers.GraniteConfig(
        **kept | {"intermediate_size": config.shared_intermediate_size}
    )


def _copy(source: Path, config: Any, folder: Path) -> None:
    import torch

    folder.mkdir()
    stored = list_tensors(check_folder(source))
    dtype = main_dtype(stored)
    logger.info("writing %s once as the Granite model that it is", source)
    with FolderWriter(folder, config, source, dtype) as writer:
        for name in tensor_names(empty_model(config)):
            writer.write(name, torch.from_numpy(_values(name, stored, source)))


def _values(name: str, stored: Mapping[str, StoredTensor], source: Path) -> Any:
    wanted, half = name, None
    for ours, (theirs, which) in HALVES.items():
        if f".{ours}." in name:
            wanted, half = name.replace(ours, theirs), which
    if wanted not in stored:
        raise UserError(f"{source} lacks the tensor {wanted}. Download it again.")
    values = stored[wanted].decode(stored[wanted].map())
    if half is None:
        return values
    each = len(values) // 2
    return values[half * each : (half + 1) * each]
