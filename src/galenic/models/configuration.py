"""Read transformers configurations, and turn errors of libraries into `UserError`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from galenic.errors import UserError, is_panic
from galenic.limits import one_line

__all__ = [
    "changed_configuration",
    "loading",
    "read_configuration",
    "refusals",
]


def read_configuration(folder: Path, name: str) -> Any:
    """Read a model folder's configuration with transformers.

    Args:
        folder: folder that holds ``config.json``.
        name: name of the model, for error messages.

    Raises:
        UserError: transformers does not know the architecture, or rejects the values.
    """
    import transformers

    def say(why: str) -> UserError:
        return UserError(
            f"transformers {transformers.__version__} cannot read the configuration of {name}: "
            f"{why}\nThe files may be damaged or made for another version; models that bring code "
            "of their own are not run."
        )

    with refusals(say):
        config = transformers.AutoConfig.from_pretrained(folder)
    _check_positive(config, name)
    return config


def _check_positive(config: Any, name: str) -> None:
    """Raise UserError for sizes and rotary bases that transformers takes and computes NaN with."""
    inner = config.get_text_config()
    rope = getattr(inner, "rope_parameters", None) or {}
    parts = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    values = [("rope_theta", part["rope_theta"]) for part in parts if "rope_theta" in part]
    values.append(("max_position_embeddings", getattr(inner, "max_position_embeddings", None)))
    for key, value in values:
        if isinstance(value, int | float) and not value > 0:
            raise UserError(f"config.json of {name}: {key} is {value!r}, not a positive number.")


def changed_configuration(config: Any, changes: dict[str, Any]) -> Any:
    """Return a copy of a configuration with some values changed.

    Raises:
        ValueError: transformers rejects the values for this architecture.
    """
    with refusals(ValueError):
        return type(config)(**copy.deepcopy(config).to_dict() | changes)


@contextmanager
def refusals(say: Callable[[str], Exception]) -> Iterator[None]:
    """Context manager that turns any exception of a file-reading library into ``say(why)``.

    transformers, tokenizers and safetensors validate little, so a bad file may raise anything.
    ``why`` is the message on one line; where the exception wraps a ValueError or TypeError, that
    one's message is used, without the prefix that huggingface_hub adds. UserError, MemoryError and
    ModuleNotFoundError pass unchanged.
    """
    try:
        yield
    except (UserError, MemoryError, ModuleNotFoundError):
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        named = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
        why = one_line(str(named)) or type(named).__name__
        raise say(why) from error


def loading(name: str) -> AbstractContextManager[None]:
    """Context manager that turns any exception of transformers while loading into a `UserError`.

    Args:
        name: name of the model, for error messages.
    """
    import transformers

    return refusals(
        lambda why: UserError(
            f"transformers {transformers.__version__} cannot load {name}: {why}\nThe files may be "
            "damaged or made for another version; models that bring code of their own are not run."
        )
    )
