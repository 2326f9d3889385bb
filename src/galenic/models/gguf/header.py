"""Read the header of a GGUF file: metadata and tensor table.

Only the header is read, whatever the size of the file. Every length in it is checked against the
file before use, so a damaged or hostile file raises `UserError` and cannot make the reader hang.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.files import LFS_POINTER
from galenic.models.gguf.split import parts_of

__all__ = [
    "GgufHeader",
    "TensorInfo",
    "check_gguf",
    "count_parameters",
    "quantization_label",
    "read_header",
    "read_metadata",
    "tensor_types",
]

MAGIC = b"GGUF"
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
MAX_KEYS, MAX_TENSORS, MAX_ITEMS, MAX_DIMS, MAX_NAME = 1 << 16, 1 << 20, 1 << 24, 4, 128


@dataclass(frozen=True)
class TensorInfo:
    """One row of the tensor table.

    Attributes:
        name: as in the file, for example ``"blk.0.attn_q.weight"``.
        shape: fastest-varying dimension first, as in the file (the reverse of PyTorch's order).
        type: name of the ggml type, for example ``"Q4_1"``.
        offset: first byte, counted from the start of the file.
        num_bytes: stored size.
        file: the part of a split model that holds it; None for the header's own file.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    num_bytes: int
    file: Path | None = None


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF.

    Attributes:
        version: version of the format, 2 or 3.
        metadata: values by key; of the arrays, only those that were requested.
        array_lengths: number of items of every array, by key.
        types: type of each value, or of an array's items, by key: `struct` format characters, or
            ``"s"`` for a string.
        tensors: the tensor table in file order.
    """

    version: int
    metadata: Mapping[str, Any]
    array_lengths: Mapping[str, int]
    types: Mapping[str, str]
    tensors: tuple[TensorInfo, ...]


def check_gguf(path: Path) -> GgufHeader:
    """Check that a file is a complete model, and return its header.

    For a split model, ``path`` is the first part; the header lists the tensors of all parts.

    Raises:
        UserError: not a GGUF, damaged, truncated (the message states both sizes), a later part of a
            split model, a split model with missing parts, or not a model (an adapter, a
            vocabulary).
    """
    header = read_header(path)
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise UserError(f"{path} holds a GGUF of type {_short(kind)}; a model is needed.")
    number, count = (header.metadata.get(f"split.{key}") for key in ("no", "count"))
    if isinstance(number, int) and isinstance(count, int) and number > 0:
        raise UserError(
            f"{path} holds part {number + 1} of {count} of a split model: name the first, "
            f"NAME-00001-of-{count:05}.gguf, with the others beside it under their own names."
        )
    if not isinstance(header.metadata.get("general.architecture"), str):
        raise UserError(f"{path} does not name its architecture (general.architecture).")
    if header.metadata.get("split.count", 1) not in (0, 1):
        header = _join(path, header)
    if not header.tensors:
        raise UserError(f"{path} has no weights; it may be a vocabulary only.")
    return header


def _join(path: Path, first: GgufHeader) -> GgufHeader:
    """Return the first part's header with the tensors of all parts of a split model."""
    count, parts = first.metadata["split.count"], parts_of(path)
    if len(parts) != count:
        raise UserError(
            f"{path} is one of {_short(count)} parts of a split model, and not named so; the first "
            "is to be named NAME-00001-of-0000N.gguf, with N parts."
        )
    tensors: list[TensorInfo] = []
    for number, part in enumerate(parts):
        header = first if part == path else read_header(part)
        said = [header.metadata.get(f"split.{key}") for key in ("no", "count", "tensors.count")]
        if said[:2] != [number, count] or said[2] != first.metadata.get("split.tensors.count"):
            raise UserError(f"{part} is not part {number + 1} of the model that {path} begins.")
        tensors += [replace(tensor, file=part) for tensor in header.tensors]
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors) or len(tensors) != first.metadata.get("split.tensors.count"):
        raise UserError(
            f"the parts of {path} hold {len(names)} tensors; the model has "
            f"{_short(first.metadata.get('split.tensors.count'))}. Download it again."
        )
    return replace(first, tensors=tuple(tensors))


def read_metadata(path: Path, *, arrays: Collection[str] = ()) -> Mapping[str, Any]:
    """Read the metadata: all numbers, booleans and strings, and the arrays named in ``arrays``.

    Other arrays are skipped, because some (the vocabulary) are long.

    Raises:
        UserError: as `read_header`.
    """
    return read_header(path, arrays=arrays).metadata


def tensor_types(path: Path) -> Counter[str]:
    """Stored bytes by tensor type, for example ``{"Q4_1": 66_355_200, "Q8_0": ...}``.

    Raises:
        UserError: as `check_gguf`.
    """
    total: Counter[str] = Counter()
    for tensor in check_gguf(path).tensors:
        total[tensor.type] += tensor.num_bytes
    return total


def quantization_label(header: GgufHeader) -> str:
    """Name of the quantization, for example ``"Q4_K_M"`` or ``"F16"``.

    This is the file type that the metadata states, if the file has tensors of that type; otherwise
    the tensor type that takes most bytes.
    """
    from gguf import LlamaFileType

    total: Counter[str] = Counter()
    for tensor in header.tensors:
        total[tensor.type] += tensor.num_bytes
    said = header.metadata.get("general.file_type")
    known = {int(one): one.name.partition("_")[2] for one in LlamaFileType}  # ALL_F32, MOSTLY_...
    name = known.get(said, "") if isinstance(said, int) else ""
    if any(name == kind or name.startswith(f"{kind}_") for kind in total):
        return name
    return total.most_common(1)[0][0] if total else "none"


def count_parameters(header: GgufHeader) -> int:
    """Number of parameters, embeddings included; a tied output head is not counted again."""
    return sum(math.prod(t.shape) for t in header.tensors if not t.name.startswith("rope_freqs"))


def read_header(path: Path, *, arrays: Collection[str] = ()) -> GgufHeader:
    """Read the header of one file.

    Raises:
        UserError: not a GGUF, an unknown version or type, damaged, or shorter than its tensor
            table says.
    """
    with _mapped(path) as data:
        cursor = _Cursor(path, data)
        version = _check_start(path, data)
        cursor.at = 8
        num_tensors, num_keys = cursor.number("Q"), cursor.number("Q")
        if num_tensors > MAX_TENSORS or num_keys > MAX_KEYS:
            raise cursor.damaged(f"it claims {num_tensors} tensors and {num_keys} metadata keys")
        metadata: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        types: dict[str, str] = {}
        for _ in range(num_keys):
            key = cursor.text("a metadata key")
            if not key or key in metadata or key in lengths:
                raise cursor.damaged(f"metadata key {_short(key)} is empty or appears twice")
            kind = cursor.number("I")
            if kind == ARRAY:
                kind, items = cursor.array(key, keep=key in arrays)
                lengths[key] = items if isinstance(items, int) else len(items)
                if not isinstance(items, int):
                    metadata[key] = items
            else:
                metadata[key] = cursor.value(key, kind)
            types[key] = SCALARS.get(kind, "s")
        rows = [_read_row(cursor) for _ in range(num_tensors)]
        alignment = _alignment(cursor, metadata, types)
        start = -(-cursor.at // alignment) * alignment
        tensors = _place(path, rows, start, len(data))
        _check_places(path, tensors, alignment)
    return GgufHeader(version, metadata, lengths, types, tensors)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    if not path.is_file():
        raise UserError(f"{path} is not a file.")
    with path.open("rb") as handle:
        if path.stat().st_size < 24:  # magic, version, two counts; an empty file cannot be mapped
            raise UserError(f"{path} is not a GGUF: it has only {path.stat().st_size} bytes.")
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _check_start(path: Path, data: mmap.mmap) -> int:
    """Check magic and version; return the version."""
    if data[: len(LFS_POINTER)] == LFS_POINTER:
        raise UserError(f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull`.")
    if data[:4] != MAGIC:
        raise UserError(
            f"{path} is not a GGUF: begins with {data[:4]!r}, not {MAGIC!r}. "
            "Give a .gguf file, a Hugging Face model folder or a Hub id."
        )
    version = int(struct.unpack_from("<I", data, 4)[0])
    if version not in (2, 3):
        order = " It may be big-endian." if version in (2 << 24, 3 << 24) else ""
        raise UserError(f"{path} is a GGUF of version {version}; 2 and 3 can be read.{order}")
    return version


class _Cursor:
    """Reads consecutive values; raises UserError instead of reading beyond the end of the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.end = len(data)
        self.at = 0

    def damaged(self, why: str) -> UserError:
        return UserError(f"{self.path} is a damaged GGUF: {why}. Download or convert it again.")

    def take(self, size: int, what: str) -> int:
        """Advance by ``size`` bytes and return the offset before them."""
        start = self.at
        if size > self.end - start:
            raise UserError(
                f"{self.path} is truncated or damaged: {what} needs {size} bytes at byte {start}, "
                f"but the file ends at {self.end}. Download it again."
            )
        self.at = start + size
        return start

    def number(self, code: str, what: str = "the header") -> Any:
        start = self.take(struct.calcsize("<" + code), what)
        return struct.unpack_from("<" + code, self.data, start)[0]

    def text(self, what: str) -> str:
        length = self.number("Q", what)
        start = self.take(length, what)
        return self.data[start : start + length].decode("utf-8", errors="replace")

    def value(self, key: str, kind: int) -> Any:
        if kind == STRING:
            return self.text(f"metadata {_short(key)}")
        if kind not in SCALARS:
            raise self.damaged(f"metadata {_short(key)} has the unknown type {kind}")
        return self.number(SCALARS[kind], f"metadata {_short(key)}")

    def array(self, key: str, *, keep: bool) -> tuple[int, list[Any] | int]:
        """Read or skip an array; return its item type, and the items (``keep``) or their number."""
        what = f"metadata array {_short(key)}"
        kind, length = self.number("I", what), self.number("Q", what)
        if length > MAX_ITEMS:
            raise self.damaged(f"{what} claims {length} items")
        if kind in SCALARS:
            code = f"<{length}{SCALARS[kind]}"
            start = self.take(struct.calcsize(code), what)
            return kind, list(struct.unpack_from(code, self.data, start)) if keep else length
        if kind != STRING:
            raise self.damaged(f"{what} has items of the unknown type {kind}")
        if keep:
            return kind, [self.text(what) for _ in range(length)]
        self._skip_strings(length, what)
        return kind, int(length)

    def _skip_strings(self, count: int, what: str) -> None:
        # Hot loop (hundreds of thousands of tokens and merges), so it makes no method calls.
        at, data, limit, unpack = self.at, self.data, self.end - 8, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at > limit:
                break
            at += 8 + unpack(data, at)[0]
        else:
            self.take(at - self.at, what)
            return
        self.take(at + 8 - self.at, what)  # beyond the end: raises


def _read_row(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text("a tensor name")
    if len(name) > MAX_NAME:
        raise cursor.damaged(f"a tensor has a name of {len(name):,} letters")
    num_dims = cursor.number("I", "the tensor table")
    if not name or not 1 <= num_dims <= MAX_DIMS:
        raise cursor.damaged(f"tensor {_short(name)} has {num_dims} dimensions")
    shape = tuple(cursor.number("Q", "the tensor table") for _ in range(num_dims))
    kind, offset = cursor.number("I", "the tensor table"), cursor.number("Q", "the tensor table")
    return name, shape, kind, offset


def _alignment(cursor: _Cursor, metadata: Mapping[str, Any], types: Mapping[str, str]) -> int:
    """Return the alignment of tensor data; checked, because llama.cpp aborts on an invalid one."""
    key = "general.alignment"
    value = metadata.get(key, 32)
    if types.get(key, "I") != "I" or value % 8 or not 8 <= value <= 1 << 20 or value & (value - 1):
        raise cursor.damaged(f"{key} is {_short(value)}, no power of two from 8 on")
    return int(value)


def _check_places(path: Path, tensors: tuple[TensorInfo, ...], alignment: int) -> None:
    """Raise UserError if a tensor overlaps another or its offset is not aligned."""
    end = 0
    for one in sorted(tensors, key=lambda tensor: tensor.offset):
        if one.offset % alignment or one.offset < end:
            raise UserError(
                f"{path} is a damaged GGUF: tensor {_short(one.name)} begins at byte "
                f"{one.offset:,}, within another or at no multiple of {alignment}. "
                "Download or convert it again."
            )
        end = one.offset + one.num_bytes


def _short(value: Any) -> str:
    """Shorten a name or value from the file for an error message."""
    return one_line(repr(value), 80)


def _place(
    path: Path, rows: list[tuple[str, tuple[int, ...], int, int]], start: int, size: int
) -> tuple[TensorInfo, ...]:
    """Turn table rows into tensors, checking types, names and that the file holds all bytes."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    known = {int(kind): kind for kind in GGMLQuantizationType}
    tensors = []
    for name, shape, number, offset in rows:
        if number not in known or known[number] not in GGML_QUANT_SIZES:
            raise UserError(
                f"{path}: tensor {_short(name)} has type {number}, which is not known here."
            )
        block, block_bytes = GGML_QUANT_SIZES[known[number]]
        if 0 in shape or shape[0] % block:
            raise UserError(
                f"{path} is a damaged GGUF: tensor {_short(name)} of shape {shape} cannot be "
                f"stored as {known[number].name}, whose blocks have {block} values."
            )
        num_bytes = math.prod(shape) // block * block_bytes
        tensors.append(TensorInfo(name, shape, known[number].name, start + offset, num_bytes))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise UserError(f"{path} is a damaged GGUF: a tensor name appears twice.")
    needed = max((tensor.offset + tensor.num_bytes for tensor in tensors), default=0)
    if needed > size:
        raise UserError(
            f"{path} is truncated: its header describes {needed:,} bytes, the file has {size:,}. "
            "Download it again."
        )
    return tuple(tensors)
