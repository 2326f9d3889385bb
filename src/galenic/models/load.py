"""Resolve a model name to files: embedded model, dose, GGUF, Hugging Face folder or Hub id."""

from __future__ import annotations

import hashlib
from pathlib import Path

from galenic.cache import Progress, file_sha256
from galenic.errors import UserError, unknown_name
from galenic.models.fetch.dose import DOSES, dose_path
from galenic.models.fetch.embedded import EMBEDDED, embedded_path
from galenic.models.fetch.hub import hub_folder, is_hub_id
from galenic.models.files import ModelFiles
from galenic.models.finite import check_finite
from galenic.models.folder import ADAPTER_CONFIG, check_folder
from galenic.models.gguf.header import check_gguf
from galenic.models.gguf.split import first_part, parts_of
from galenic.reading import files_in, has_suffix

__all__ = [
    "resolve_model",
]


def resolve_model(name: str, *, progress: Progress | None = None) -> ModelFiles:
    """Find a model's files, download them if needed, and check that they are complete.

    Args:
        name: an embedded model (``smollm2-135m``), a dose that was pulled, the path of a GGUF
            file or of a Hugging Face folder, or a Hub id (``org/name``, ``org/name@revision``),
            tried in this order.
        progress: called while a large file is downloaded or hashed.

    Raises:
        UserError: no model has this name, its files are incomplete or damaged, or a weight is NaN
            or infinite.
    """
    if name in EMBEDDED:
        return _from_path(name, embedded_path(name, progress=progress), progress)
    if name in DOSES:
        return _from_path(name, dose_path(name, progress=progress), progress)
    path = Path(name).expanduser()
    if name and path.exists():
        return _from_path(name, path.absolute(), progress)
    if _looks_like_path(name):
        raise UserError(f"there is no file or folder {name} (from {Path.cwd()}).")
    if is_hub_id(name):
        return _from_path(name, hub_folder(name, progress=progress), progress)
    known = unknown_name("model", name, [*EMBEDDED, *DOSES])
    raise UserError(
        f"{known} Also accepted: the path of a .gguf file or of a Hugging Face model folder, or a "
        "Hub id `org/name`."
    )


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "~", "/"))
        or name.endswith("/")
        or has_suffix(name, ".gguf", ".safetensors", ".bin")
        or "\\" in name
        or name.partition("@")[0].count("/") > 1
    )


def _from_path(name: str, path: Path, progress: Progress | None) -> ModelFiles:
    if path.is_dir():
        ggufs = files_in(path, ".gguf")
        if (path / "config.json").exists() or not ggufs:
            return _from_folder(name, path, progress)
        if len(ggufs) > 1 and parts_of(first_part(ggufs[0])) != ggufs:
            listed = ", ".join(gguf.name for gguf in ggufs[:10])
            raise UserError(f"{path} holds {len(ggufs)} GGUF files; name one of them: {listed}.")
        path = ggufs[0]
    path = first_part(path)
    parts = parts_of(path)
    check_gguf(path)
    hashes = [_whole(part, progress) for part in parts]
    joined = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return ModelFiles(name, "gguf", path, hashes[0] if len(hashes) == 1 else joined)


def _from_folder(name: str, folder: Path, progress: Progress | None) -> ModelFiles:
    if (folder / ADAPTER_CONFIG).exists() and not (folder / "config.json").exists():
        raise UserError(
            f"{folder} is an adapter, not a model. Merge it into its base first: "
            f"galenic merge BASE {folder} -o merged/"
        )
    digest = hashlib.sha256()
    for file in check_folder(folder):
        digest.update(f"{file.name}\n{_whole(file, progress)}\n".encode())
    return ModelFiles(name, "folder", folder, digest.hexdigest())


def _whole(file: Path, progress: Progress | None) -> str:
    """Return the SHA-256 of a weight file after checking that its weights are finite."""
    sha256 = file_sha256(file, progress=progress)
    check_finite(file, sha256, progress=progress)
    return sha256
