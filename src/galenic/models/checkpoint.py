"""A model folder opened for changing it: what it is without weights first, then the weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.cache import Progress
from galenic.errors import UserError
from galenic.models.layers import Layout, check_family, count_parameters, read_layout
from galenic.models.load import ModelFiles
from galenic.models.quiet import quiet_transformers

__all__ = ["Checkpoint", "load_layout", "open_checkpoint"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model that can be taken apart, not loaded yet.

    Attributes:
        files: the model as the user named it.
        folder: Hugging Face folder with its weights; of a GGUF, the dequantized copy.
        dtype: ``torch.dtype`` in which the folder's weights are stored.
        shapes: the model on the device ``meta``: every shape, no weight.
    """

    files: ModelFiles
    folder: Path
    dtype: Any
    shapes: Layout

    @property
    def num_bytes(self) -> int:
        """Size of the weights as stored."""
        return count_parameters(self.shapes).total * int(self.dtype.itemsize)


def open_checkpoint(files: ModelFiles, *, progress: Progress | None = None) -> Checkpoint:
    """Read the configuration and build the model without weights; quick, but for a new GGUF.

    Raises:
        UserError: the ``train`` extra is missing, the architecture is unknown, or the weights are
            quantized in a way that cannot be undone here.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError("compressing needs an extra: pip install 'galenic[train]'.") from error
    folder = files.path
    if files.kind == "gguf":
        from galenic.models.dequantize import dequantized_folder

        folder = dequantized_folder(files, progress=progress)
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
    except (ValueError, KeyError) as error:
        raise UserError(f"transformers cannot read the model in {folder}: {error}") from error
    check_family(config.model_type)
    if getattr(config, "quantization_config", None) is not None:
        raise UserError(
            f"the weights in {folder} are quantized. Compress the model they were made from: "
            "quantizing comes last."
        )
    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(f"the configuration in {folder} describes no model: {error}") from error
    dtype = config.dtype or torch.float32
    return Checkpoint(files, folder, dtype, read_layout(model))


def load_layout(checkpoint: Checkpoint) -> Layout:
    """Load the weights in float32, in which all fitting is done, ready for evaluation.

    Raises:
        UserError: weights are missing or misshapen, or there is too little memory.
    """
    import psutil
    import torch
    import transformers

    folder = checkpoint.folder
    # The model to change, and at the end the saved one that is read back beside it.
    need = 4 * count_parameters(checkpoint.shapes).total + checkpoint.num_bytes
    free = psutil.virtual_memory().available
    if need > free:
        raise UserError(
            f"changing {folder} and checking the result takes {need / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free. Close other programs or take a smaller model."
        )
    try:
        with quiet_transformers():
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True
            )
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(f"transformers cannot load {folder}: {error}") from error
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"{folder} lacks {len(missing)} tensors of the model, among them {missing[0]}. "
            "Download it again."
        )
    if unexpected := sorted(info["unexpected_keys"]):
        log.warning("%s holds tensors that the model does not use: %s", folder, unexpected[:5])
    return read_layout(model.eval())
