"""Models of the Hugging Face Hub: ``org/name`` or ``org/name@revision``."""

from __future__ import annotations

import re
from pathlib import Path

from galenic.errors import UserError

__all__ = ["hub_folder", "is_hub_id"]

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", re.ASCII)
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


def hub_folder(name: str) -> Path:
    """Download a model's config, tokenizer and safetensors into the Hugging Face cache.

    Cached files are not downloaded again, and interrupted downloads are resumed; without a network
    the cached copy is used.

    Raises:
        UserError: the ``hub`` extra is missing, the model does not exist, is gated, or cannot be
            reached.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(
            f"{name!r} looks like a Hugging Face Hub id, and that needs an extra: "
            "pip install 'galenic[hub]'. If a file or folder was meant: it does not exist."
        ) from error
    repository, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=PATTERNS
        )
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
    except (errors.LocalEntryNotFoundError, OSError) as error:
        # HfHubHTTPError and connection errors are subclasses of OSError
        raise UserError(
            f"{name} is not (wholly) in the local cache and the Hugging Face Hub cannot be "
            f"reached: {_first_line(error)}. Try again with a network (and without "
            "HF_HUB_OFFLINE), or give the path of a GGUF file or a model folder."
        ) from error
    return Path(folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
