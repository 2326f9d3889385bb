"""Check an export by reading it back: it must give the same logits as its source.

llama.cpp runs the GGUF and transformers runs the folder on a short text. The accepted difference
follows from how llama.cpp rounds the inputs of the tensor types in the file
(`galenic.compression.quantize.agreement`). A copy must be identical in every byte.
"""

from __future__ import annotations

import filecmp
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import TensorInfo, check_gguf, quantization_label

if TYPE_CHECKING:
    from galenic.compression.quantize.agreement import Reference

__all__ = ["check_copy", "check_engines", "check_joined"]

NOT_COMPARED = "logits not compared: PyTorch is not installed (galenic[train] adds it)"


def check_copy(source: Path, target: Path) -> None:
    """Check that a copied file is identical to its source.

    Raises:
        UserError: the files differ.
    """
    if not filecmp.cmp(source, target, shallow=False):
        raise UserError(
            f"nothing was exported: the copy of {source} reads back differently. Export to another "
            "drive; this one may be failing."
        )


def check_joined(source: Path, target: Path) -> None:
    """Check that a joined GGUF has all tensors of the split one, identical in every byte.

    Raises:
        UserError: a tensor is missing or differs.
    """
    found = {tensor.name: tensor for tensor in check_gguf(target).tensors}
    for tensor in check_gguf(source).tensors:
        own = found.get(tensor.name)
        if own is None or (own.shape, own.type) != (tensor.shape, tensor.type):
            raise UserError(f"nothing was exported: {tensor.name} is missing or misshapen.")
        if not np.array_equal(_bytes(source, tensor), _bytes(target, own)):
            raise UserError(f"nothing was exported: {tensor.name} reads back differently.")


def _bytes(path: Path, tensor: TensorInfo) -> NDArray[np.uint8]:
    return np.memmap(tensor.file or path, np.uint8, "r", tensor.offset, (tensor.num_bytes,))


def check_engines(folder: Path, gguf: Path, *, converted: bool = False) -> list[str]:
    """Compare tokens and logits of a folder in transformers with those of a GGUF in llama.cpp.

    Args:
        folder: a Hugging Face model.
        gguf: the GGUF made from the folder, or the GGUF that the folder was made from.
        converted: whether the folder was made from the GGUF.

    Returns:
        Lines with the result: which texts are split otherwise, if any are, and by how much the
        logits differ; or that nothing was compared because PyTorch is missing.

    Raises:
        UserError: the logits differ by more than rounding explains, the tokenizers split a plain
            text differently, or a model cannot be loaded.
    """
    if not all(map(find_spec, ("torch", "transformers", "accelerate"))):
        return [NOT_COMPARED]
    from galenic.compression.quantize.agreement import measure_agreement
    from galenic.runtimes.token_check import compare_tokens

    tokens = compare_tokens(folder, gguf, converted=converted)
    if not tokens.holds:
        raise UserError(
            f"nothing was exported: {folder.name} and {gguf.name} split the same plain text into "
            "different tokens."
        )
    header = check_gguf(gguf)
    types = {tensor.name: tensor.type for tensor in header.tensors}
    found = measure_agreement(_reference(folder, types), gguf, types)
    label = quantization_label(header)
    if not found.holds:
        raise UserError(
            f"nothing was exported: llama.cpp and transformers differ by {found.difference:.2g} of "
            f"the logits' spread, where rounding ({label}) explains at most {found.tolerance:.2g}."
        )
    return [
        *tokens.told(),
        f"logits of transformers and llama.cpp differ by {found.difference:.2g} of their spread; "
        f"rounding ({label}) explains up to {found.tolerance:.2g}",
    ]


def _reference(folder: Path, types: dict[str, str]) -> Reference:
    """Open the folder with transformers; block by block if memory is short."""
    import psutil

    from galenic.compression.quantize.whole import WholeModel

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if 2.5 * size < psutil.virtual_memory().available:  # 16-bit weights become float32
        return WholeModel(folder, types)
    from galenic.models.checkpoint import open_checkpoint
    from galenic.models.gguf.folder import folder_source
    from galenic.models.paged import PagedModel

    checkpoint = open_checkpoint(ModelFiles(str(folder), "folder", folder, ""))
    return PagedModel(checkpoint, folder_source(folder))
