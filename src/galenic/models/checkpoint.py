"""Open a model for modification: its structure without weights, checked against the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galenic.errors import UserError
from galenic.models.configuration import read_configuration, refusals
from galenic.models.families import FAMILIES, check_family
from galenic.models.files import ModelFiles
from galenic.models.folder import check_folder
from galenic.models.layers import Layout, count_parameters, read_layout
from galenic.models.packing.experts import ExpertStack, stack_experts
from galenic.models.shapes import empty_model, main_dtype, tensor_names
from galenic.models.tensors import StoredTensor, list_tensors, own_head

__all__ = [
    "Checkpoint",
    "open_checkpoint",
]


@dataclass(frozen=True)
class Checkpoint:
    """A model whose structure is known and whose weights are not loaded yet.

    Attributes:
        files: the model as the user named it.
        folder: Hugging Face folder with the weights; for a GGUF, the dequantized copy; for a
            multimodal model, a copy of its text model (`galenic.models.opened`).
        dtype: ``torch.dtype`` in which most of the folder's weights are stored.
        shapes: the model on the ``meta`` device: shapes without weights.
        tensors: stored weights by name; exactly the tensors of the model.
    """

    files: ModelFiles
    folder: Path
    dtype: Any
    shapes: Layout
    tensors: Mapping[str, StoredTensor | ExpertStack]

    @property
    def num_bytes(self) -> int:
        """Size of all weights in bytes, if each were stored as ``dtype``."""
        return count_parameters(self.shapes).total * int(self.dtype.itemsize)


def open_checkpoint(files: ModelFiles) -> Checkpoint:
    """Read the configuration and build the model without weights.

    Fast, except that a GGUF is dequantized the first time.

    Raises:
        UserError: the ``train`` extra is missing, the architecture is unknown, the folder's
            weights are quantized, or its tensors do not match the model.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError("compressing needs an extra: pip install 'galenic[train]'.") from error
    if files.kind == "gguf":
        from galenic.models.gguf.dequantize import dequantized_folder

        folder = dequantized_folder(files)
    else:
        folder = files.path
    config = read_configuration(folder, str(folder))
    check_family(config.model_type, str(folder))
    if getattr(config, "quantization_config", None) is not None:
        raise UserError(
            f"the weights in {folder} are quantized. Compress the model they were made from: "
            "quantizing comes last."
        )
    stored = list_tensors(check_folder(folder))
    if getattr(config, "tie_word_embeddings", False) and own_head(stored):
        config.tie_word_embeddings = False  # transformers does the same
    with refusals(
        lambda why: UserError(f"the configuration in {folder} describes no model: {why}")
    ):
        model = empty_model(config)
    tensors = _check_tensors(folder, model, stack_experts(config.model_type, model, stored))
    return Checkpoint(files, folder, main_dtype(tensors), read_layout(model), tensors)


def _check_tensors(
    folder: Path, model: Any, stored: dict[str, StoredTensor | ExpertStack]
) -> dict[str, StoredTensor | ExpertStack]:
    """Check names, shapes and types of the stored tensors; return those that the model uses."""
    state, names = model.state_dict(), tensor_names(model)
    if missing := [name for name in names if name not in stored]:
        raise UserError(
            f"{folder} lacks {len(missing)} tensors of the model, among them {missing[0]}. "
            "Download it again."
        )
    known = {alias for aliases in names.values() for alias in aliases}
    unread = FAMILIES[model.config.model_type].names.unread
    if odd := [name for name in stored if name not in known and not name.endswith(unread)]:
        raise UserError(
            f"{folder} holds {len(odd)} tensors that its configuration has no place for, among "
            f"them {odd[0]}."
        )
    for name, aliases in names.items():
        for alias in (alias for alias in aliases if alias in stored):
            found, expected = stored[alias].shape, tuple(state[name].shape)
            if found != expected:
                raise UserError(
                    f"{folder}: tensor {alias} has the shape {found}; the model's configuration "
                    f"says {expected}."
                )
            stored[alias].check()
            if alias != name and not _equal(stored[alias], stored[name]):
                raise UserError(
                    f"{folder}: the configuration says that {alias} and {name} are one tensor "
                    "(tie_word_embeddings), and the stored ones differ."
                )
    return {name: stored[name] for name in names}


def _equal(one: StoredTensor | ExpertStack, other: StoredTensor | ExpertStack) -> bool:
    if isinstance(one, ExpertStack) or isinstance(other, ExpertStack):
        return False  # expert tensors are never tied
    return np.array_equal(one.map(), other.map())
