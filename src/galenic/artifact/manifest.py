"""Create model folders atomically, with a manifest that records how they were made."""

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
from galenic.errors import UserError, no_room
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
"""Required free disk space relative to the weights; the rest is for tokenizer and manifest."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parent(_Record):
    """The input model of a stage.

    Attributes:
        name: the model as the user named it.
        sha256: hash of its weights, see `galenic.models.files.ModelFiles`.
    """

    name: str
    sha256: str


class Stage(_Record):
    """One processing step of the model.

    Attributes:
        stage: kind of step, for example ``"prune"``.
        method: registry name of the method.
        reference_url: paper of the method.
        options: all options with their values; version 0.1.0 called them ``knobs``, and such
            manifests can still be read.
        parent: input model of the step.
        calibration: sources with their hashes, sizes, seed and hash of the tokens; None without
            calibration.
        parameters: ``before`` and ``after``: ``total``, ``embeddings``, ``blocks``, and how many
            are exactly zero (not counted in blocks of a quantized file).
        removed: share of the parent's parameters that were removed or are zero: of the ``blocks``
            and of the ``whole`` model.
        sizes: bytes of the weight files: ``before`` and ``after``; ``dense`` if the parent was
            already quantized.
        notes: remarks for readers, for example that the parent was quantized.
        checks: values measured when the saved model was checked.
        versions: versions of the libraries used.
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
    """SHA-256 and size of a file in the folder."""

    sha256: str
    num_bytes: int


class Manifest(_Record):
    """Content of ``manifest.json``.

    Attributes:
        format: version of the file format.
        stages: all processing steps of the model, oldest first.
        recipe: the recipe behind the stages, with all options; None if there was none.
        files: hash and size of every other file of the folder, by name.
    """

    format: int = FORMAT
    stages: tuple[Stage, ...]
    recipe: dict[str, Any] | None = None
    files: dict[str, FileRecord]


def check_new(path: Path, num_bytes: int = 0) -> None:
    """Check that a folder can be created: the name is free and the disk has space.

    Args:
        path: folder to be created.
        num_bytes: size of its weights; 0 skips the check of disk space. Otherwise, temporary files
            that killed processes left of the folder are deleted first.

    Raises:
        UserError: the path exists or is not UTF-8, its parent is not writable, or disk space is
            short.
    """
    try:
        str(path).encode()  # the name goes into files
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: this name is not UTF-8. Give another folder with -o.") from error
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
        raise no_room(
            f"{path} will take {num_bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free there. "
            "Make room, or give a folder on another disk with -o."
        )


@contextmanager
def new_artifact(path: Path) -> Iterator[Path]:
    """Context manager that yields a temporary folder and renames it to ``path`` on success.

    If the block raises, nothing is left behind. Leftovers of killed processes are deleted first.

    Raises:
        UserError: ``path`` exists, for example because another process created it meanwhile.
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
    """Context manager that holds the lock of ``path`` and deletes leftovers of killed processes."""
    with locked(path):
        try:
            yield
        finally:  # not in the cache: the lock file would stay in the user's folder
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


def versions(*names: str) -> dict[str, str]:
    """Versions of Python, Galenic and those of the named libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in ("galenic", *names):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_manifest(
    folder: Path, stages: Sequence[Stage], *, recipe: dict[str, Any] | None = None
) -> Manifest:
    """Write the manifest of a complete folder, with the hashes of all its files."""
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
    """Read the manifest of a folder; None if the folder was not made by Galenic.

    Raises:
        UserError: the manifest is damaged or has another format version.
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
    """Whether a ``manifest.json``, a common file name, comes from another program."""
    with suppress(UserError):
        return "stages" not in read_object(path)
    return False


def _record(file: Path) -> FileRecord:
    with file.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileRecord(sha256=sha256, num_bytes=file.stat().st_size)
