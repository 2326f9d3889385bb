"""What an exporter is, and the two forms in which models travel."""

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
from galenic.models.gguf.copy import join_parts
from galenic.models.gguf.split import first_part, parts_of

__all__ = ["ExportJob", "Exporter", "as_folder", "as_gguf", "beside"]

GGUF = "model.gguf"
ADAPTER = "adapter.gguf"
DENSE = "F16"
"""Of matrices, where a folder is turned into a GGUF."""


@dataclass(frozen=True)
class ExportJob:
    """What is exported.

    Attributes:
        model: its files.
        data: folder of the benchmarks' files, for those who take questions along; None without.
        found: what reading back has shown, a line each.
    """

    model: ModelFiles
    data: str | None = None
    found: list[str] = field(default_factory=list)


class Exporter(ABC):
    """Writes a model for one program.

    Attributes:
        name: registry name.
        title: one line for people.
        reference_url: where the program says what it takes.
        adapters: whether it takes an adapter beside a GGUF.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    adapters: ClassVar[bool] = False

    @abstractmethod
    def write(self, job: ExportJob, folder: Path) -> str:
        """Write everything into an existing empty folder, and read it back.

        Returns:
            How to use it: lines of a shell, with FOLDER for the folder's place.

        Raises:
            UserError: the model cannot take this form.
        """


def beside(job: ExportJob, folder: Path) -> Path | None:
    """Put the adapter there that goes along, if one does."""
    if job.model.adapter is None:
        return None
    target = folder / ADAPTER
    link_or_copy(job.model.adapter, target)
    return target


def as_gguf(job: ExportJob, folder: Path) -> Path:
    """Put the model there as a GGUF: the file itself, the parts of a split one joined, or a folder
    turned into one of 16 bits.

    Raises:
        UserError: the folder cannot be turned, or what is read back predicts something else.
    """
    from galenic.exporters.check import check_engines, check_joined

    model = job.model
    target = folder / GGUF
    source = next(iter(model.path.glob("*.gguf")), None) if model.path.is_dir() else model.path
    if source is not None and len(parts_of(first_part(source))) > 1:
        join_parts(first_part(source), target)
        check_joined(first_part(source), target)
        return target
    if source is not None:
        link_or_copy(source, target)
        return target
    from galenic.models.gguf.folder import folder_to_gguf

    folder_to_gguf(model.path, target, DENSE)
    job.found.append(check_engines(model.path, target))
    return target


def as_folder(job: ExportJob, folder: Path) -> Path:
    """Put the model there as transformers reads it: the folder, or a GGUF's weights as float32.

    Raises:
        UserError: the GGUF cannot be turned, or what is read back predicts something else.
    """
    model = job.model
    source = model.path
    if model.kind == "gguf":
        from galenic.models.gguf.dequantize import dequantized_folder

        source = dequantized_folder(model)
    else:
        _check_folder(model)
    for file in sorted(source.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and file.suffix != ".gguf":
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, target)
    (folder / MANIFEST).unlink(missing_ok=True)  # of another folder with other files
    if model.kind == "gguf":
        from galenic.exporters.check import check_engines

        job.found.append(check_engines(folder, model.path))
    return folder


def _check_folder(model: ModelFiles) -> None:
    """Refuse a folder whose weights are not those of its configuration."""
    if find_spec("torch") and find_spec("transformers"):
        from galenic.models.weights import check_weights

        check_weights(model.path, model.name)
        return
    from galenic.models.gguf.folder import folder_source

    folder_source(model.path)  # the families that are known without transformers


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, without copying where the disk can.

    Raises:
        UserError: the copy is not the same.
    """
    try:
        os.link(source, target)
    except OSError:  # not every file system knows hard links
        from galenic.exporters.check import check_copy

        shutil.copyfile(source, target)
        check_copy(source, target)
