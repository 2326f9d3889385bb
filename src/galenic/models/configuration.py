"""A model's configuration as transformers has it; what is wrong with one is said in one way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from galenic.errors import UserError

__all__ = ["changed_configuration", "read_configuration"]


def read_configuration(folder: Path, name: str) -> Any:
    """Read a model folder's configuration.

    Args:
        folder: with ``config.json``.
        name: of the model, for messages.

    Raises:
        UserError: transformers does not know the architecture, or does not accept the values.
    """
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(folder)
    except _refusals() as error:
        raise UserError(
            f"transformers {transformers.__version__} cannot read the configuration of {name}: "
            f"{_reason(error)}\nThe files may be damaged or made for another version; models that "
            "bring code of their own are not run."
        ) from error


def changed_configuration(config: Any, changes: dict[str, Any]) -> Any:
    """A configuration of the same architecture with other values.

    Raises:
        ValueError: transformers does not accept them for this architecture.
    """
    try:
        return type(config)(**copy.deepcopy(config).to_dict() | changes)
    except _refusals() as error:
        raise ValueError(_reason(error)) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What transformers raises; the checks of huggingface_hub are no ValueError."""
    from huggingface_hub.errors import StrictDataclassError

    return (ValueError, TypeError, KeyError, OSError, StrictDataclassError)


def _reason(error: Exception) -> str:
    """Why, without the name of the check that found it."""
    cause = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
    return str(cause)
