"""Check weight files for NaN and infinite values before they are used.

Only exponent bits are tested, of floating-point weights and of the scales of quantized blocks;
nothing is decoded. Blocks: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.cache import Progress, note, noted
from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.gguf.header import read_header
from galenic.models.tensors import list_tensors

__all__ = ["BLOCK_SCALES", "check_finite"]

TABLE = "finite.json"
CHUNK_BYTES = 1 << 24
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""By floating type: integer dtype of the same size, and the mask of its exponent bits, which are
all set in NaN and infinity."""
BLOCK_SCALES = {
    "Q4_0": (18, (0,)),
    "Q4_1": (20, (0, 2)),
    "Q5_0": (22, (0,)),
    "Q5_1": (24, (0, 2)),
    "Q8_0": (34, (0,)),
    "Q2_K": (84, (80, 82)),
    "Q3_K": (110, (108,)),
    "Q4_K": (144, (0, 2)),
    "Q5_K": (176, (0, 2)),
    "Q6_K": (210, (208,)),
    "IQ2_XXS": (66, (0,)),
    "IQ2_XS": (74, (0,)),
    "IQ2_S": (82, (0,)),
    "IQ3_XXS": (98, (0,)),
    "IQ3_S": (110, (0,)),
    "IQ1_S": (50, (0,)),
    "IQ4_NL": (18, (0,)),
    "IQ4_XS": (136, (0,)),
    "TQ1_0": (54, (52,)),
    "TQ2_0": (66, (64,)),
}
"""By quantized type: bytes of a block, and byte offsets of the float16 scales in it."""


@dataclass(frozen=True)
class _Stored:
    name: str
    kind: str
    offset: int
    num_bytes: int


def check_finite(path: Path, sha256: str, *, progress: Progress | None = None) -> None:
    """Check that all weights of a GGUF or safetensors file are finite; a pass is cached by hash.

    Args:
        path: the file, whose header was checked before.
        sha256: SHA-256 of the file.
        progress: called as the file is read.

    Raises:
        UserError: a weight, or the scale of a block of them, is NaN or infinite.
    """
    if noted(TABLE, sha256):
        return
    size = path.stat().st_size
    for tensor in _tensors(path):
        for done, chunk in _chunks(path, tensor):
            if not _is_finite(tensor.kind, chunk):
                raise UserError(
                    f"{path}: tensor {one_line(tensor.name, 80)} has weights that are not finite "
                    "numbers (NaN or infinite): the file is damaged. Download or convert it again."
                )
            if progress is not None:
                progress(f"checking {path.name}", done, size)
    note(TABLE, sha256)


def _tensors(path: Path) -> list[_Stored]:
    if path.suffix == ".safetensors":
        stored = list_tensors([path]).values()
        return [_Stored(one.name, one.dtype, one.offset, one.num_bytes) for one in stored]
    return [
        _Stored(one.name, one.type, one.offset, one.num_bytes) for one in read_header(path).tensors
    ]


def _chunks(path: Path, tensor: _Stored) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield a tensor's bytes in chunks of whole values or blocks, each with its end in the file."""
    if tensor.kind in EXPONENTS:
        unit = np.dtype(EXPONENTS[tensor.kind][0]).itemsize
    elif tensor.kind in BLOCK_SCALES:
        unit = BLOCK_SCALES[tensor.kind][0]
    else:  # integers, and packed weights whose scales are separate tensors
        return
    step, end = CHUNK_BYTES // unit * unit, tensor.offset + tensor.num_bytes
    for start in range(tensor.offset, end, step):
        size = min(step, end - start)
        yield start + size, np.fromfile(path, np.uint8, size, offset=start)


def _is_finite(kind: str, data: NDArray[np.uint8]) -> bool:
    if kind in EXPONENTS:
        integers, bits = EXPONENTS[kind]
        return _all_finite(data.view(integers), bits)
    size, places = BLOCK_SCALES[kind]
    blocks = data.reshape(-1, size)
    integers, bits = EXPONENTS["F16"]
    return all(
        _all_finite(np.ascontiguousarray(blocks[:, at : at + 2]).view(integers), bits)
        for at in places
    )


def _all_finite(values: NDArray[np.unsignedinteger], bits: int) -> bool:
    return not bool(np.any((values & values.dtype.type(bits)) == bits))
