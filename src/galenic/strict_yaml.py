"""YAML files that people write: every key once, and none that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from galenic.errors import UserError, unknown_name

__all__ = [
    "StrictLoader",
    "check_keys",
    "parse_yaml",
    "read_yaml",
]


def read_yaml(path: Path) -> Any:
    """What a YAML file says, every key once.

    Raises:
        UserError: it cannot be read, or is no valid YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> Any:
    """What YAML text says, every key once.

    Args:
        text: of the file.
        origin: its name, for messages.

    Raises:
        UserError: it is no valid YAML.
    """
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is no valid YAML: {error}") from error


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which plain YAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def check_keys(kind: str, given: Mapping[Any, Any], known: Any) -> None:
    """Raise UserError for the first key that is not known, with near names."""
    for key in given:
        if key not in known:
            raise unknown_name(kind, str(key), known)
