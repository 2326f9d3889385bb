"""Base class of exporters, and helpers that write a model as a GGUF or as a folder."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from galenic.models.files import ModelFiles
from galenic.models.folder import MANIFEST
from galenic.models.gguf.check import check_model
from galenic.models.gguf.copy import join_parts
from galenic.models.gguf.split import first_part, parts_of
from galenic.reading import files_in, has_suffix

__all__ = ["ExportJob", "Exporter", "as_folder", "as_gguf", "beside"]

GGUF = "model.gguf"
ADAPTER = "adapter.gguf"
DENSE = "F16"
"""Type of matrices when a folder is converted to a GGUF."""


@dataclass(frozen=True)
class ExportJob:
    """An export in progress.

    Attributes:
        model: files of the model.
        data: folder of the benchmark files, for exporters that include questions; None if not
            given.
        found: results of checking the written files, one line each; filled by the exporter.
    """

    model: ModelFiles
    data: str | None = None
    found: list[str] = field(default_factory=list)


class Exporter(ABC):
    """Writes a model for one program.

    Attributes:
        name: registry name.
        title: one-line description.
        reference_url: documentation of the program's format.
        adapters: whether the program can load an adapter beside a GGUF.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    adapters: ClassVar[bool] = False

    @abstractmethod
    def write(self, job: ExportJob, folder: Path) -> str:
        """Write all files into an existing empty folder, and read the model back to check it.

        Returns:
            Shell commands that use the export, with FOLDER as placeholder for the folder's path.

        Raises:
            UserError: the model cannot be exported in this format.
        """


def beside(job: ExportJob, folder: Path) -> Path | None:
    """Put the job's adapter, if there is one, into the folder; returns its path or None."""
    if job.model.adapter is None:
        return None
    target = folder / ADAPTER
    link_or_copy(job.model.adapter, target)
    return target


def as_gguf(job: ExportJob, folder: Path) -> Path:
    """Write the model into the folder as a GGUF, and return its path.

    A GGUF is linked or copied, a split one is joined, and a folder is converted with F16 matrices.

    Raises:
        UserError: the model is damaged or cannot be converted, or its predictions differ.
    """
    from galenic.exporters.check import check_engines, check_joined

    model = job.model
    target = folder / GGUF
    source = next(iter(files_in(model.path, ".gguf")), None) if model.path.is_dir() else model.path
    if source is not None:
        check_model(first_part(source))
    if source is not None and len(parts_of(first_part(source))) > 1:
        join_parts(first_part(source), target)
        check_joined(first_part(source), target)
        return target
    if source is not None:
        link_or_copy(source, target)
        return target
    from galenic.models.gguf.folder import folder_to_gguf
    from galenic.models.granite_part import granite_part

    path = granite_part(model).path
    folder_to_gguf(path, target, DENSE)
    job.found.extend(check_engines(path, target))
    return target


def as_folder(job: ExportJob, folder: Path) -> Path:
    """Write the model as a transformers folder; a GGUF's weights are dequantized to float32.

    Raises:
        UserError: the GGUF cannot be converted, or its predictions differ.
    """
    model = job.model
    source = model.path
    if model.kind == "gguf":
        from galenic.models.gguf.dequantize import dequantized_folder

        check_model(source)
        source = dequantized_folder(model)
    else:
        _check_folder(model)
    for file in sorted(source.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and not has_suffix(file, ".gguf"):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, target)
    (folder / MANIFEST).unlink(missing_ok=True)  # it describes the source folder, not this one
    if model.kind == "gguf":
        from galenic.exporters.check import check_engines

        job.found.extend(check_engines(folder, model.path, converted=True))
    return folder


def _check_folder(model: ModelFiles) -> None:
    """Raise UserError for a folder whose weights do not match its configuration."""
    if find_spec("torch") and find_spec("transformers"):
        from galenic.models.weights import check_weights

        check_weights(model.path, model.name)
        return
    from galenic.models.gguf.folder import folder_source

    folder_source(model.path)  # checks the supported families without transformers


def link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link to a file, or a verified copy where the file system has no hard links.

    Raises:
        UserError: the copy differs from the source.
    """
    try:
        os.link(source, target)
    except OSError:  # not every file system knows hard links
        from galenic.exporters.check import check_copy

        shutil.copyfile(source, target)
        check_copy(source, target)
