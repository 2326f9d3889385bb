"""A model for transport: sparse, quantized, entropy coded; unpacked bit for bit.

Han et al., Deep Compression (2015), https://arxiv.org/abs/1510.00149, whose last stage this is:
pruning leaves zeros and quantization few levels, and a code that gives frequent values few bits
makes the file small. Each tensor is cut into planes of bytes that are alike (all scales, all codes,
all exponents), floating tensors with many zeros into a map of the zeros and the rest, and each
plane is coded by Zstandard (https://facebook.github.io/zstd/). The packed file is a zip archive of
such planes with a list that says what they were.
"""

from __future__ import annotations

import hashlib
import json
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
from galenic.models.load import resolve_model
from galenic.models.tensors import list_tensors
from galenic.strict_json import parse_object
from galenic.watcher import Watcher

__all__ = ["Packed", "pack", "unpack"]

INDEX = "index.json"
FORMAT = 1
PIECE = 1 << 26
"""Bytes of a tensor that are coded at once, at most: they bound the memory."""
SPARSE = 0.1
"""Share of zeros from which on a floating tensor is stored as a map of them and the rest."""
BROKEN = (
    zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError,
    struct.error,
)  # fmt: skip
"""What `zipfile` raises on files that break the format."""
LEVEL = 9
"""Of Zstandard; higher ones take far longer and save less than 1 % on what has no repeats."""


@dataclass(frozen=True)
class Packed:
    """What packing did.

    Attributes:
        num_bytes: of the files before.
        packed_bytes: of the packed file.
        plain_bytes: that Zstandard of the same level makes of the files as they are.
    """

    num_bytes: int
    packed_bytes: int
    plain_bytes: int


@dataclass(frozen=True)
class _Part:
    """Neighbouring bytes of a file: of one tensor, or between tensors.

    Attributes:
        start: in the file.
        size: in bytes.
        record: bytes of one block or number, whose places are told apart; 1 for anything else.
        floating: whether a record of zero bytes may be left out.
    """

    start: int
    size: int
    record: int = 1
    floating: bool = False


def pack(name: str, target: Path, watcher: Watcher) -> Packed:
    """Pack a model's files into one; it is unpacked in memory and compared before it gets its name.

    Args:
        name: an embedded model, a GGUF, a folder or a Hub id.
        target: the file to write; must not exist.
        watcher: told of progress, in bytes.

    Raises:
        UserError: as `resolve_model`, or the file exists or cannot be written.
    """
    if target.suffix != ".galenic":
        raise UserError(f"-o {target}: a packed model ends in .galenic, for example dose.galenic.")
    check_new(target)
    model = resolve_model(name)
    folder = model.path if model.path.is_dir() else model.path.parent
    files = [model.path] if model.path.is_file() else sorted(_files(folder))
    total = sum(file.stat().st_size for file in files)
    check_new(target, total)
    watcher.stage(f"packing {name}", total=total)
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    plain, done = 0, 0
    index: dict[str, Any] = {"format": FORMAT, "folder": model.path.is_dir(), "files": {}}
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
        target: the file (of a packed GGUF) or the folder to make; must not exist.
        watcher: told of progress, in bytes.

    Returns:
        The files written.

    Raises:
        UserError: ``source`` is something else or damaged; nothing is left under ``target`` then.
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
    """Links are followed: a folder of the Hub's cache has nothing else."""
    return (file for file in folder.rglob("*") if file.is_file())


def _write(
    source: Path, folder: Path, only: Path | None, advance: Callable[[int], None]
) -> list[str]:
    """Write the files into a folder, or the only one where it is told; returns their names."""
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
    """A file's tensors in the order of their bytes, and what stands between them."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors: list[_Part] = []
    if file.suffix == ".gguf":
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
    """The same bytes, none of the parts larger than `PIECE`."""
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
    archive.writestr(zipfile.ZipInfo(name), data)  # without a time: same model, same bytes


# unpacking


def _read_index(source: Path) -> dict[str, Any]:
    """The list in a packed file.

    Raises:
        UserError: not such a file, cut short, of another format, or with names that lead elsewhere.
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
    """The bytes of a member, which `pack` does not compress.

    Raises:
        ValueError: it is compressed, or has more than so many bytes.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or not 0 <= info.file_size <= most:
        raise ValueError(f"{name} is compressed, or larger than {most:,} bytes")
    return archive.read(info)


def _check_names(source: Path, names: list[str]) -> None:
    """Raise unless each name is that of a file below the folder, and none that of a folder too."""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        path = PurePosixPath(name)
        odd = not path.name or not name.isprintable() or str(path) != name or len(name) > 1000
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
    """The bytes of every file, piece by piece, each file checked against its hash at its end."""
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
    """The bytes of a part.

    Raises:
        ValueError: they are not as many as were packed.
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
