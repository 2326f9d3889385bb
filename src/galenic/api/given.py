"""Handling of arguments that the public functions share: model, options, data, progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from galenic.api.results import Artifact
from galenic.errors import UserError, unknown_name
from galenic.registry import Registry
from galenic.watcher import SilentWatcher, Watcher

__all__ = ["Model", "Progress", "build", "build_method", "data_folder", "model_name", "watcher_of"]

Model: TypeAlias = str | Path | Artifact
"""Name of an embedded model or dose, GGUF path, folder, Hub id, or the result of another call."""
Progress: TypeAlias = bool | Watcher
"""False is silent, True prints lines to standard error; or a `Watcher` that is called."""

_Built = TypeVar("_Built", bound=BaseModel)


class _Lines(SilentWatcher):
    """A watcher that prints a line for each stage and each message to standard error."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.say(text if total is None else f"{text} ({done:,} of {total:,})")

    def say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def watcher_of(progress: Progress) -> Watcher:
    """Return the watcher for a ``progress`` argument."""
    if isinstance(progress, bool):
        return _Lines() if progress else SilentWatcher()
    return progress


def model_name(model: Model) -> str:
    """Return the model's name or path as a string, as the rest of the package expects it."""
    return str(model.folder if isinstance(model, Artifact) else model)


def data_folder(data: str | Path | None) -> str | None:
    """Return the data folder as a string; by default the value of ``GALENIC_DATA``."""
    return os.environ.get("GALENIC_DATA") if data is None else str(data)


def build(kind: type[_Built], values: Mapping[str, Any], what: str) -> _Built:
    """Build a configuration from keyword arguments.

    Raises:
        UserError: an argument is unknown (similar names are suggested), missing, or has a value
            that is not allowed.
    """
    for name in values:
        if name not in kind.model_fields:
            raise unknown_name(f"option of {what}", name, kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
            raise cause from error
        name = str(first["loc"][0]) if first["loc"] else what
        raise UserError(f"{name}={first['input']!r}: {first['msg']}") from error


def build_method(
    kind: type[_Built], methods: Registry, method: str, values: Mapping[str, Any], what: str
) -> tuple[_Built, Any]:
    """Split options between a stage's configuration and its method, and build both.

    Args:
        kind: configuration class of the stage.
        methods: registry of the stage's methods.
        method: name of the method.
        values: options of the stage and of the method.
        what: name of the stage, for messages.

    Raises:
        UserError: as in `build`, or there is no such method.
    """
    found: Any = methods.load(method)
    own = {name: value for name, value in values.items() if name in kind.model_fields}
    rest = {name: value for name, value in values.items() if name not in own}
    for name in rest:
        if name not in found.model_fields:
            known = {*kind.model_fields, *found.model_fields} - {"method"}
            raise unknown_name(f"option of {what} with {method}", name, known)
    return build(kind, {**own, "method": method}, what), build(found, rest, method)
