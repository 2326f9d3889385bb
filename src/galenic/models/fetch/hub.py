"""Models of the Hugging Face Hub: ``org/name`` or ``org/name@revision``."""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import Any

from galenic.cache import Progress, file_sha256
from galenic.errors import UserError
from galenic.hub_failures import hub_failures

__all__ = ["hub_folder", "is_hub_id"]

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", re.ASCII)
NOT_STORED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""``errno`` of a full disk, and of a folder that cannot be written to."""
SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
PATTERNS = [
    "config.json",
    "generation_config.json",
    "model*.safetensors",  # not consolidated.safetensors, a duplicate of the weights
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spm.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
]


def is_hub_id(name: str) -> bool:
    """Whether a name has the form ``org/name`` or ``org/name@revision``."""
    return HUB_ID.fullmatch(name) is not None


def hub_folder(name: str, *, progress: Progress | None = None) -> Path:
    """Download a model's config, tokenizer and safetensors into the Hugging Face cache.

    Cached files are not downloaded again, and interrupted downloads are resumed; without a network
    the cached copy is used if it is whole.

    Raises:
        UserError: the ``hub`` extra is missing, the model does not exist, is gated, or cannot be
            reached; or a file is not the one that the Hub lists.
    """
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(
            f"{name!r} looks like a Hugging Face Hub id, and that needs an extra: "
            "pip install 'galenic[hub]'. If a file or folder was meant: it does not exist."
        ) from error
    repository, _, revision = name.partition("@")
    try:
        folder = _snapshot(repository, revision or None)
    except errors.GatedRepoError as error:
        raise UserError(
            f"{repository} is gated: accept its terms at https://huggingface.co/{repository}, "
            "then sign in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"the Hugging Face Hub has no model {repository!r}, or it is private: check the "
            "spelling, or sign in with `hf auth login`. If a file or folder was meant: it does "
            "not exist."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{repository} has no revision {revision!r}.") from error
    except errors.HFValidationError as error:
        raise UserError(f"{repository!r} is not a Hub id: {error}") from error
    except hub_failures() as error:
        if isinstance(error, OSError) and error.errno in NOT_STORED:
            raise UserError(
                f"{name} cannot be stored in the cache of the Hugging Face Hub ({error}). Make "
                "room there, or name another folder in the environment variable HF_HOME."
            ) from error
        raise UserError(
            f"{name} is not (wholly) in the local cache and the Hugging Face Hub cannot be "
            f"reached: {_first_line(error)}. Try again with a network (and without "
            "HF_HUB_OFFLINE), or give the path of a GGUF file or a model folder."
        ) from error
    _check_blobs(Path(folder), name, progress)
    return Path(folder)


def _snapshot(repository: str, revision: str | None) -> str:
    """The library's folder; where the connection breaks off, its cached copy if that is whole.

    The library itself takes the cached copy where it gets no connection. Versions that know
    whether a copy is whole have an error for one that is not.
    """
    import huggingface_hub
    from huggingface_hub import errors

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": PATTERNS}
    try:
        return str(huggingface_hub.snapshot_download(repository, **wanted))
    except (OSError, errors.HFValidationError):
        raise
    except hub_failures():
        if not hasattr(errors, "IncompleteSnapshotError"):
            raise
        try:
            return str(
                huggingface_hub.snapshot_download(repository, local_files_only=True, **wanted)
            )
        except errors.LocalEntryNotFoundError:
            pass
        raise


def _check_blobs(folder: Path, name: str, progress: Progress | None) -> None:
    """Refuse a cached file whose content is not the one that its name in the cache states.

    The library compares sizes alone. It names a file by the hash that the Hub lists: SHA-256 of
    large files, git's SHA-1 of others (plain SHA-1 through some mirrors).

    Raises:
        UserError: a file has another hash.
    """
    for link in folder.rglob("*"):
        # one link only: a blob may be a link to a shared store, whose names are of another kind
        blob = link.parent.resolve() / link.readlink() if link.is_symlink() else link
        blob = blob.parent.resolve() / blob.name
        if not SHA.fullmatch(blob.name) or not blob.is_file():
            continue
        if len(blob.name) == 64:
            whole = file_sha256(blob, progress=progress) == blob.name
        else:
            content = blob.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            plain = hashlib.sha1(content, usedforsecurity=False)
            whole = blob.name in (git.hexdigest(), plain.hexdigest())
        if not whole:
            raise UserError(
                f"{link.name} of {name} in the local cache is not the file that the Hub lists (its "
                f"hash is another): the download was damaged. Delete {blob} and try again."
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
