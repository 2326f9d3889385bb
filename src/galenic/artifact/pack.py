"""Lossless compression of model files for transport.

This is the last stage of Deep Compression (Han et al. 2015, https://arxiv.org/abs/1510.00149):
after pruning and quantization, frequent values are entropy coded with few bits. The bytes of a
tensor are grouped by their position in a block or number (all scales, all codes, all exponents).
Floating tensors with many zeros are stored as a bitmap and the non-zero values. The result is
compressed by Zstandard (https://facebook.github.io/zstd/). The packed file is a zip archive of
these parts, with an index that describes them.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.artifact.manifest import check_new, new_artifact
from galenic.cache import CHUNK, replacing
from galenic.errors import UserError
from galenic.limits import PACK_INDEX, one_line
from galenic.models.gguf.header import read_header
from galenic.models.gguf.split import parts_of
from galenic.models.load import resolve_model
from galenic.models.tensors import list_tensors
from galenic.reading import has_suffix
from galenic.strict_json import parse_object
from galenic.watcher import Watcher

__all__ = ["Packed", "pack", "unpack"]

INDEX = "index.json"
FORMAT = 1
PIECE = 1 << 26
"""Maximum bytes of a tensor that are compressed at once, which limits memory."""
SPARSE = 0.1
"""Share of zeros above which a floating tensor is stored as a bitmap and its other values."""
BROKEN = (
    zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError,
    struct.error,
)  # fmt: skip
"""Exceptions that `zipfile` raises for malformed files."""
LEVEL = 9
"""Zstandard level; higher ones take far longer and save less than 1 % on data without repeats."""

RESERVED = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[. ]")
"""Names that Windows cannot store."""


@dataclass(frozen=True)
class Packed:
    """Sizes in bytes before and after packing.

    Attributes:
        num_bytes: size of the original files.
        packed_bytes: size of the packed file.
        plain_bytes: size after plain Zstandard compression at the same level, for comparison.
    """

    num_bytes: int
    packed_bytes: int
    plain_bytes: int


@dataclass(frozen=True)
class _Part:
    """Contiguous bytes of a file: of one tensor, or between tensors.

    Attributes:
        start: offset in the file.
        size: number of bytes.
        record: bytes of a block or number, by whose positions bytes are grouped; 1 for other data.
        floating: whether records of only zero bytes may be omitted.
    """

    start: int
    size: int
    record: int = 1
    floating: bool = False


def pack(name: str, target: Path, watcher: Watcher) -> Packed:
    """Pack a model's files into one file, which is unpacked in memory and verified before saving.

    Args:
        name: an embedded model, a dose, a GGUF, a folder or a Hub id.
        target: file to write, with suffix ``.galenic``; must not exist.
        watcher: receives progress in bytes.

    Raises:
        UserError: as `resolve_model`, or ``target`` exists, has another suffix or is not writable.
    """
    if not has_suffix(target, ".galenic"):
        raise UserError(f"-o {target}: a packed model ends in .galenic, for example dose.galenic.")
    check_new(target)
    model = resolve_model(name)
    folder = model.path if model.path.is_dir() else model.path.parent
    files = parts_of(model.path) if model.path.is_file() else sorted(_files(folder))
    _check_names(folder, [file.relative_to(folder).as_posix() for file in files])
    total = sum(file.stat().st_size for file in files)
    check_new(target, total)
    watcher.stage(f"packing {name}", total=total)
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    plain, done = 0, 0
    whole = model.path.is_dir() or len(files) > 1
    index: dict[str, Any] = {"format": FORMAT, "folder": whole, "files": {}}
    with replacing(target.absolute()) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for number, file in enumerate(files):
                entry = _pack_file(archive, number, file)
                index["files"][file.relative_to(folder).as_posix()] = entry
                plain += _plain_size(file)
                done += entry["size"]
                watcher.advance(done)
            _add(archive, INDEX, json.dumps(index).encode())
        watcher.stage("unpacking in memory to compare", total=total)
        for _ in _unpacked(part, watcher.advance):
            pass
        return Packed(total, part.stat().st_size, plain)


def unpack(source: Path, target: Path, watcher: Watcher) -> list[Path]:
    """Unpack a file that `pack` made.

    Args:
        source: the packed file.
        target: file (for a packed GGUF) or folder to create; must not exist.
        watcher: receives progress in bytes.

    Returns:
        Paths of the files written.

    Raises:
        UserError: ``source`` is not a packed model or is damaged; ``target`` is then not created.
    """
    check_new(target)
    index = _read_index(source)
    total = sum(entry["size"] for entry in index["files"].values())
    check_new(target, total)
    watcher.stage(f"unpacking {source.name}", total=total)
    if index["folder"]:
        with new_artifact(target) as part:
            names = _write(source, part, None, watcher.advance)
        return [target / name for name in names]
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with replacing(target.absolute()) as part:
        _write(source, part.parent, part, watcher.advance)
    return [target]


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder. Links are followed: the Hugging Face cache consists of links."""
    return (file for file in folder.rglob("*") if file.is_file())


def _write(
    source: Path, folder: Path, only: Path | None, advance: Callable[[int], None]
) -> list[str]:
    """Write the unpacked files into a folder, or a single file to ``only``; returns their names."""
    handle, current, names = None, None, []
    try:
        for name, data in _unpacked(source, advance):
            if name != current:
                if handle:
                    handle.close()
                path = only or folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, current = path.open("wb"), name
                names.append(name)
            if handle:
                handle.write(data)
    finally:
        if handle:
            handle.close()
    return names


# packing


def _pack_file(archive: zipfile.ZipFile, number: int, file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    rows: list[dict[str, Any]] = []
    with file.open("rb") as handle:
        for part in _pieces(_parts(file)):
            handle.seek(part.start)
            data = handle.read(part.size)
            digest.update(data)
            sparse = part.floating and _zero_share(data, part.record) > SPARSE
            coded = _encode(data, part.record, sparse=sparse)
            _add(archive, f"{number}/{len(rows)}", coded)
            rows.append(asdict(part) | {"sparse": sparse})
    return {"size": file.stat().st_size, "sha256": digest.hexdigest(), "parts": rows}


def _parts(file: Path) -> list[_Part]:
    """Split a file into its tensors and the bytes between them, in file order."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors: list[_Part] = []
    if has_suffix(file, ".gguf"):
        for one in read_header(file).tensors:
            record = GGML_QUANT_SIZES[GGMLQuantizationType[one.type]][1]
            tensors.append(_Part(one.offset, one.num_bytes, record, one.type in _FLOATING))
    elif file.suffix == ".safetensors":
        for tensor in list_tensors([file]).values():
            record = _FLOATING.get(tensor.dtype, 1)
            tensors.append(_Part(tensor.offset, tensor.num_bytes, record, record > 1))
    parts, at = [], 0
    for part in sorted(tensors, key=lambda one: one.start):
        if part.start > at:
            parts.append(_Part(at, part.start - at))
        parts.append(part)
        at = part.start + part.size
    if file.stat().st_size > at:
        parts.append(_Part(at, file.stat().st_size - at))
    return [part for part in parts if part.size]


_FLOATING = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def _pieces(parts: list[_Part]) -> Iterator[_Part]:
    """Split parts that are larger than `PIECE`."""
    for part in parts:
        step = PIECE // part.record * part.record
        for start in range(0, part.size, step):
            size = min(step, part.size - start)
            yield _Part(part.start + start, size, part.record, part.floating)


def _records(data: bytes, record: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, record)


def _zero_share(data: bytes, record: int) -> float:
    return 1 - float(_records(data, record).any(axis=1).mean())


def _encode(data: bytes, record: int, *, sparse: bool) -> bytes:
    import zstandard

    coder = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    rows = _records(data, record) if record > 1 else np.frombuffer(data, np.uint8)[:, None]
    if not sparse:
        return coder.compress(np.ascontiguousarray(rows.T).tobytes())
    there = rows.any(axis=1)
    rest = np.ascontiguousarray(rows[there].T).tobytes()
    return coder.compress(np.packbits(there).tobytes() + rest)


def _plain_size(file: Path) -> int:
    import zstandard

    coder = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    size = 0
    with file.open("rb") as handle:
        while data := handle.read(CHUNK):
            size += len(coder.compress(data))
    return size + len(coder.flush())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # no timestamp, so that output is deterministic


# unpacking


def _read_index(source: Path) -> dict[str, Any]:
    """Read and check the index of a packed file.

    Raises:
        UserError: not a packed model, truncated, of another format version, or with file names that
            point outside the folder.
    """
    if not source.is_file():
        raise UserError(f"{source} is not a file.")
    try:
        with zipfile.ZipFile(source) as archive:
            index = parse_object(_member(archive, INDEX, PACK_INDEX), f"the list in {source}")
        if index["format"] != FORMAT:
            raise UserError(
                f"{source} has the format {index['format']}; this version of Galenic reads "
                f"{FORMAT}."
            )
        if not isinstance(index["folder"], bool) or len(index["files"]) < 1 + index["folder"]:
            raise ValueError("no whole model")  # a folder has at least weights and config
        _check_names(source, list(index["files"]))
        for name, entry in index["files"].items():
            _check_entry(source, name, entry)
    except UserError:
        raise
    except (*BROKEN, KeyError, TypeError, AttributeError) as error:
        raise _damaged(source, "it is cut short, or no packed model at all") from error
    return index


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read a member of the zip archive; `pack` stores members without zip compression.

    Raises:
        ValueError: the member is compressed, or larger than ``most`` bytes.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or not 0 <= info.file_size <= most:
        raise ValueError(f"{name} is compressed, or larger than {most:,} bytes")
    return archive.read(info)


def _check_names(source: Path, names: list[str]) -> None:
    """Raise UserError unless all names are safe relative paths that every system can store."""
    if len({name.casefold() for name in names}) < len(names):
        raise UserError(
            f"{source} has names that differ only in upper and lower case, which Windows cannot "
            "store."
        )
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        path = PurePosixPath(name)
        odd = not path.name or not name.isprintable() or str(path) != name or len(name) > 1000
        odd = odd or any(RESERVED.fullmatch(part) for part in path.parts)
        if odd or path.is_absolute() or ".." in path.parts or set(name) & set('\\:*?"<>|'):
            raise UserError(
                f"{source} names files outside its own folder, or that no folder can hold: "
                f"{one_line(repr(name), 80)}."
            )
        if name in folders:
            raise _damaged(source, f"{one_line(name, 80)} is a file and a folder")


def _check_entry(source: Path, name: str, entry: dict[str, Any]) -> None:
    at = 0
    if not isinstance(entry["sha256"], str):
        raise _damaged(source, f"the list of {name} has no hash")
    for row in entry["parts"]:
        part = _Part(**{key: row[key] for key in ("start", "size", "record", "floating")})
        if part.start != at or not 0 < part.size <= PIECE or part.record < 1:
            raise _damaged(source, f"the list of {name} has gaps")
        if part.size % part.record:
            raise _damaged(source, f"the list of {name} does not fit its tensors")
        at += part.size
    if at != entry["size"]:
        raise _damaged(source, f"the list of {name} is not whole")


def _unpacked(source: Path, advance: Callable[[int], None]) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, bytes) pieces of all files; each file's hash is checked at its end."""
    import zstandard

    index = _read_index(source)
    done = 0
    with zipfile.ZipFile(source) as archive:
        for number, (name, entry) in enumerate(index["files"].items()):
            digest = hashlib.sha256()
            for place, row in enumerate(entry["parts"]):
                try:
                    data = _decode(_member(archive, f"{number}/{place}", 2 * PIECE), row)
                except (*BROKEN, zstandard.ZstdError, KeyError) as error:
                    raise _damaged(source, f"a part of {name} cannot be read") from error
                digest.update(data)
                done += len(data)
                yield name, data
                advance(done)
            if digest.hexdigest() != entry["sha256"]:
                raise _damaged(source, f"{name} has another SHA-256 than when it was packed")
            if not entry["parts"]:
                yield name, b""


def _decode(coded: bytes, row: dict[str, Any]) -> bytes:
    """Decompress a part.

    Raises:
        ValueError: its size differs from that of the packed data.
    """
    import zstandard

    size, record = int(row["size"]), int(row["record"])
    count = size // record
    most = size + count // 8 + 1 if row["sparse"] else size
    if zstandard.frame_content_size(coded) > most:
        raise ValueError("more than was packed")
    data = np.frombuffer(zstandard.ZstdDecompressor().decompress(coded, max_output_size=most), "u1")
    if not row["sparse"]:
        return np.ascontiguousarray(data.reshape(record, count).T).tobytes()
    map_bytes = -(-count // 8)
    there = np.unpackbits(data[:map_bytes], count=count).astype(bool)
    rows = np.zeros((count, record), np.uint8)
    rows[there] = data[map_bytes:].reshape(record, -1).T
    return rows.tobytes()


def _damaged(source: Path, why: str) -> UserError:
    return UserError(f"{source} is damaged or was not made by `galenic pack`: {why}.")
