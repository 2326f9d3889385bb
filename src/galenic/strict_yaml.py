"""Strict parsing of YAML files: duplicate and unknown keys are errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from galenic.errors import UserError, unknown_name
from galenic.limits import YAML_BYTES, YAML_DEPTH, YAML_NODES, one_line
from galenic.reading import read_file

__all__ = [
    "StrictLoader",
    "check_keys",
    "parse_yaml",
    "read_yaml",
]


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; duplicate keys are an error.

    Raises:
        UserError: it cannot be read, or is not valid YAML.
    """
    try:
        text = read_file(path, YAML_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML text; duplicate keys are an error.

    Args:
        text: content of the file.
        origin: file name for messages.

    Raises:
        UserError: it is not valid YAML.
    """
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        why = one_line(str(getattr(error, "problem", None) or error))
        raise UserError(f"{origin} is not valid YAML: {why}{line}.") from error
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
        # numbers with thousands of digits, invalid dates, `!!bool x`: not caught by the library
        why = one_line(str(error))
        raise UserError(f"{origin} has a value that cannot be read: {why}.") from error


class StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses duplicate keys (PyYAML keeps the last), aliases and large input."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, enforcing the limits of `galenic.limits`."""
        self.nodes += 1
        mark = self.get_mark()
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not taken; write the value out", mark
            )
        if self.nodes > YAML_NODES:
            why = f"more than {YAML_NODES:,} keys and values"
            raise yaml.composer.ComposerError(None, None, why, mark)
        if self.depth >= YAML_DEPTH:
            why = f"lists and mappings nested deeper than {YAML_DEPTH}"
            raise yaml.composer.ComposerError(None, None, why, mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(keys):
            twice = next(key for key, number in Counter(keys).items() if number > 1)
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice!r} appears twice", node.start_mark
            )
        return mapping


def check_keys(kind: str, given: Mapping[Any, Any], known: Any) -> None:
    """Raise UserError for the first unknown key, suggesting similar names."""
    for key in given:
        if key not in known:
            raise unknown_name(kind, str(key), known)
