"""What callers give: a model by name, path or result; options; who is told of progress."""

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
"""An embedded model or dose, a GGUF, a folder, a Hub id, or what another call has returned."""
Progress: TypeAlias = bool | Watcher
"""False is silent, True prints lines on standard error; or an object of one's own."""

_Built = TypeVar("_Built", bound=BaseModel)


class _Lines(SilentWatcher):
    """A watcher that writes a line for each stage, and what is worth knowing."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.say(text if total is None else f"{text} ({done:,} of {total:,})")

    def say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def watcher_of(progress: Progress) -> Watcher:
    """Who is told of progress."""
    if isinstance(progress, bool):
        return _Lines() if progress else SilentWatcher()
    return progress


def model_name(model: Model) -> str:
    """A model as the rest of the package takes it."""
    return str(model.folder if isinstance(model, Artifact) else model)


def data_folder(data: str | Path | None) -> str | None:
    """The folder of the data files; by default what ``GALENIC_DATA`` names."""
    return os.environ.get("GALENIC_DATA") if data is None else str(data)


def build(kind: type[_Built], values: Mapping[str, Any], what: str) -> _Built:
    """Build a configuration from keyword arguments.

    Raises:
        UserError: an argument is unknown (near names are suggested), missing, or its value is not
            allowed.
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
    """Split options between a stage and its method, and build both.

    Args:
        kind: configuration of the stage.
        methods: that the stage may use.
        method: name of one.
        values: options of either.
        what: the stage, for messages.

    Raises:
        UserError: as `build`, or there is no such method.
    """
    found: Any = methods.load(method)
    own = {name: value for name, value in values.items() if name in kind.model_fields}
    rest = {name: value for name, value in values.items() if name not in own}
    for name in rest:
        if name not in found.model_fields:
            known = {*kind.model_fields, *found.model_fields} - {"method"}
            raise unknown_name(f"option of {what} with {method}", name, known)
    return build(kind, {**own, "method": method}, what), build(found, rest, method)
