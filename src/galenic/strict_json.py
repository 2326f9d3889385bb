"""Strict parsing of untrusted JSON: size limits, no duplicate keys, only encodable text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import JSON_BYTES, one_line
from galenic.reading import read_file

__all__ = ["parse_json", "parse_object", "read_object", "unique_keys"]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        UserError: the file cannot be read, is too large, or is not a JSON object.
    """
    try:
        data = read_file(path, JSON_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_object(data, str(path))


def parse_object(data: bytes, origin: str) -> dict[str, Any]:
    """Parse a JSON object from bytes; see `parse_json`.

    Raises:
        UserError: as in `parse_json`, or the value is not an object.
    """
    value = parse_json(data, origin)
    if not isinstance(value, dict):
        raise UserError(f"{origin} is damaged: a JSON object was expected.")
    return value


def parse_json(data: bytes, origin: str) -> Any:
    """Parse a JSON value from bytes.

    NaN and infinity are accepted as Python writes them, since some configurations use them.

    Args:
        data: UTF-8, with or without a byte order mark.
        origin: file name for messages.

    Raises:
        UserError: it is not JSON, is nested too deeply, or contains a duplicate key or a lone
            surrogate, which cannot be written to a file or terminal.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_keys)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise UserError(
            f"{origin} is damaged: not readable as JSON (nested too deeply)."
        ) from error
    except ValueError as error:
        why = one_line(str(error))
        raise UserError(f"{origin} is damaged: not readable as JSON ({why}).") from error
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its pairs (``object_pairs_hook``); ValueError if a key appears twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return found
