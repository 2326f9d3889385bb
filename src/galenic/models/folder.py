"""Checks of a Hugging Face model folder before any slow work: whole weights, config, tokenizer.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.files import LFS_POINTER

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "MANIFEST",
    "check_adapter",
    "check_folder",
    "check_safetensors",
    "config_json",
]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MANIFEST = "manifest.json"
"""File beside the weights that says how Galenic made them."""
MAX_HEADER = 100_000_000  # the limit of the safetensors library itself
TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spm.model",),
)


def check_adapter(folder: Path) -> None:
    """Raise UserError if the folder holds no adapter, or one in a format that can run code."""
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not an adapter: it has no {name}.")


def check_folder(folder: Path) -> list[Path]:
    """Check that a folder is a whole Hugging Face model; return its weight files by name.

    Raises:
        UserError: config, tokenizer or weights are missing, damaged or truncated.
    """
    config = folder / "config.json"
    if not config.is_file():
        adapter = (folder / "adapter_config.json").is_file()
        hint = " It holds a LoRA adapter: merge it into its base model first." if adapter else ""
        raise UserError(f"{folder} is not a model folder: it has no config.json.{hint}")
    settings = config_json(folder)
    if "model_type" not in settings and "architectures" not in settings:
        raise UserError(f"{config} names neither a model_type nor architectures.")
    weights = _weight_files(folder)
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        wanted = ", ".join(" + ".join(names) for names in TOKENIZERS)
        raise UserError(f"{folder} has no tokenizer; expected one of: {wanted}.")
    return weights


def config_json(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        UserError: it is no JSON object.
    """
    return _read_object(folder / "config.json")


def _weight_files(folder: Path) -> list[Path]:
    single = folder / "model.safetensors"
    if single.is_file():
        check_safetensors(single)
        return [single]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _check_shards(index)
    if any(folder.glob("pytorch_model*.bin")):
        raise UserError(
            f"{folder} has its weights as pytorch_model.bin only, a pickle that can run any code "
            "when it is read. Get the safetensors form of the model, or convert it where you trust "
            "it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER); of an "
            "encoder, AutoModel."
        )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    found = f" It has {', '.join(others[:5])}, but no index of them." if others else ""
    raise UserError(
        f"{folder} has no weights; expected model.safetensors or model.safetensors.index.json "
        f"with its shards.{found}"
    )


def _check_shards(index: Path) -> list[Path]:
    shards = _read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} has no weight_map.")
    names = sorted({str(name) for name in shards.values()})
    if any(Path(name).name != name for name in names):
        raise UserError(f"{index} names files outside its own folder.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise UserError(
            f"{index.parent} lacks {len(missing)} of {len(names)} weight files: "
            f"{', '.join(missing[:5])}. Download them again."
        )
    held = {name: check_safetensors(index.parent / name) for name in names}
    for tensor, name in shards.items():
        if tensor not in held[str(name)]:
            raise UserError(f"{index.parent / name} lacks the tensor {tensor!r} of the index.")
    return [index.parent / name for name in names]


def check_safetensors(path: Path) -> set[str]:
    """Check that the header of a safetensors file is sound and fits the file; return its tensors.

    Raises:
        UserError: damaged, or shorter or longer than the header says.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise UserError(f"{path} is a Git LFS pointer, not the file: run `git lfs pull`.")
        if len(start) < 8:
            raise UserError(f"{path} is not a safetensors file: it has only {size} bytes.")
        length = int(struct.unpack("<Q", start[:8])[0])
        if length > MAX_HEADER:
            raise UserError(f"{path} is not a safetensors file: it begins with {start[:8]!r}.")
        if 8 + length > size:
            raise _wrong_size(path, 8 + length, size)
        handle.seek(8)
        table = _parse_object(path, handle.read(length))
    table.pop("__metadata__", None)
    ends = [_end(path, name, row) for name, row in table.items()]
    needed = 8 + length + max(ends, default=0)
    if needed != size:
        raise _wrong_size(path, needed, size)
    return set(table)


def _end(path: Path, name: str, row: Any) -> int:
    offsets = row.get("data_offsets") if isinstance(row, dict) else None
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(isinstance(offset, int) for offset in offsets)
        or not 0 <= offsets[0] <= offsets[1]
    ):
        raise UserError(f"{path} is damaged: tensor {name!r} has the offsets {offsets!r}.")
    return int(offsets[1])


def _wrong_size(path: Path, needed: int, size: int) -> UserError:
    what = "truncated" if needed > size else "damaged"
    return UserError(
        f"{path} is {what}: its header describes {needed:,} bytes, the file has {size:,}. "
        "Download it again."
    )


def _read_object(path: Path) -> dict[str, Any]:
    return _parse_object(path, path.read_bytes())


def _parse_object(path: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: not readable as JSON ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: a JSON object was expected.")
    return value
