"""A model's configuration as transformers has it; what is wrong with one is said in one way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galenic.errors import UserError

__all__ = ["changed_configuration", "read_configuration", "refusals"]


def read_configuration(folder: Path, name: str) -> Any:
    """Read a model folder's configuration.

    Args:
        folder: with ``config.json``.
        name: of the model, for messages.

    Raises:
        UserError: transformers does not know the architecture, or does not accept the values.
    """
    import transformers

    def say(why: str) -> UserError:
        return UserError(
            f"transformers {transformers.__version__} cannot read the configuration of {name}: "
            f"{why}\nThe files may be damaged or made for another version; models that bring code "
            "of their own are not run."
        )

    with refusals(say):
        return transformers.AutoConfig.from_pretrained(folder)


def changed_configuration(config: Any, changes: dict[str, Any]) -> Any:
    """A configuration of the same architecture with other values.

    Raises:
        ValueError: transformers does not accept them for this architecture.
    """
    with refusals(ValueError):
        return type(config)(**copy.deepcopy(config).to_dict() | changes)


@contextmanager
def refusals(say: Callable[[str], Exception]) -> Iterator[None]:
    """Around what makes a configuration: whatever transformers raises becomes ``say(why)``.

    The checks of huggingface_hub, which it uses, raise no ValueError; the name of the check that
    found the fault is left out.
    """
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (ValueError, TypeError, KeyError, OSError, StrictDataclassError) as error:
        named = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
        raise say(str(named)) from error
