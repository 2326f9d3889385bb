"""A model folder that Galenic made: whole or not there, and it says how it came to be."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from galenic.cache import locked, replacing
from galenic.errors import UserError
from galenic.models.folder import MANIFEST
from galenic.strict_json import read_object

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "Parent",
    "Stage",
    "check_new",
    "new_artifact",
    "read_manifest",
    "versions",
    "write_manifest",
]

FORMAT = 1
ROOM = 1.05
"""Free disk that is asked for, as a multiple of the weights: tokenizer and manifest come on top."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parent(_Record):
    """The model a stage began with.

    Attributes:
        name: as the user wrote it.
        sha256: of its weights, as `galenic.models.files.ModelFiles` has it.
    """

    name: str
    sha256: str


class Stage(_Record):
    """One thing that was done to the model.

    Attributes:
        stage: what kind, for example ``"prune"``.
        method: registry name.
        reference_url: the method's paper.
        options: every option with the value it had; version 0.1.0 called them ``knobs``, and
            such manifests are read.
        parent: what it was done to.
        calibration: sources with their hashes, sizes, seed and the hash of the tokens; None
            without.
        parameters: ``before`` and ``after``: ``total``, ``embeddings``, ``blocks``, and how many
            are exactly zero (not counted in blocks of a quantized file).
        removed: share of the parent's parameters that are gone or zero: of the ``blocks`` and of
            the ``whole`` model.
        sizes: bytes of the weight files: ``before`` and ``after``; ``dense`` where the parent was
            quantized already.
        notes: what a reader must know, for example that the parent was quantized.
        checks: what was checked after saving, with the values found.
        versions: of the libraries that did it.
    """

    stage: str
    method: str
    reference_url: str
    options: dict[str, Any] = Field(validation_alias=AliasChoices("options", "knobs"))
    parent: Parent
    calibration: dict[str, Any] | None
    parameters: dict[str, dict[str, int]]
    removed: dict[str, float]
    sizes: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    checks: dict[str, float]
    versions: dict[str, str]


class FileRecord(_Record):
    """A file of the folder."""

    sha256: str
    num_bytes: int


class Manifest(_Record):
    """What ``manifest.json`` holds.

    Attributes:
        format: of this file.
        stages: everything that was done to the model, the first thing first.
        recipe: the recipe that the stages follow, with every option; None without one.
        files: name to hash and size, of every other file of the folder.
    """

    format: int = FORMAT
    stages: tuple[Stage, ...]
    recipe: dict[str, Any] | None = None
    files: dict[str, FileRecord]


def check_new(path: Path, num_bytes: int = 0) -> None:
    """Check that a folder can be written: the name is free, the disk has room.

    Args:
        path: the folder to be.
        num_bytes: size of its weights; 0 checks the name only. Otherwise what a killed process
            left of the folder is swept away first, for it takes room.

    Raises:
        UserError: it exists, its parent cannot be written to, or there is too little room.
    """
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists. Give another folder with -o, or delete it first.")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be made: {nearest} cannot be written to.")
    if num_bytes and nearest == path.absolute().parent:
        with _own(path.absolute()):
            pass
    free = shutil.disk_usage(nearest).free
    if num_bytes * ROOM > free:
        raise UserError(
            f"{path} will take {num_bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free there. "
            "Make room, or give a folder on another disk with -o."
        )


@contextmanager
def new_artifact(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` to write to; renamed to it when the block ends well.

    When the block raises, nothing is left. What a killed process left is swept away.

    Raises:
        UserError: another process has made the folder meanwhile.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _own(path):
        check_new(path)
        with replacing(path) as part:
            part.mkdir()
            yield part


@contextmanager
def _own(path: Path) -> Iterator[None]:
    """Hold the lock of ``path``, without what killed processes left."""
    with locked(path):
        try:
            yield
        finally:  # unlike in the cache, a lock file would lie in the user's own folder
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


def versions(*names: str) -> dict[str, str]:
    """Versions of Python, of Galenic and of the named libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in ("galenic", *names):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_manifest(
    folder: Path, stages: Sequence[Stage], *, recipe: dict[str, Any] | None = None
) -> Manifest:
    """Hash the files of a finished folder and write its manifest, last of all."""
    files = {
        file.relative_to(folder).as_posix(): _record(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    manifest = Manifest(stages=tuple(stages), recipe=recipe, files=files)
    text = manifest.model_dump_json(indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None when Galenic did not make it.

    Raises:
        UserError: the manifest is damaged or of another format.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    if _made_by_others(path):
        return None
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is damaged ({where}: {first['msg']}). Make it anew.") from error
    if manifest.format != FORMAT:
        raise UserError(
            f"{path} has the format {manifest.format}; this version of Galenic reads {FORMAT}."
        )
    return manifest


def _made_by_others(path: Path) -> bool:
    """Whether it is a manifest of something else: the name is a common one."""
    with suppress(UserError):
        return "stages" not in read_object(path)
    return False


def _record(file: Path) -> FileRecord:
    with file.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileRecord(sha256=sha256, num_bytes=file.stat().st_size)
