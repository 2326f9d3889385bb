"""JSON of others: within limits, every key once, all of it text that can be written again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import JSON_BYTES, one_line

__all__ = ["parse_json", "parse_object", "read_object"]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        UserError: the file cannot be read, is too large, or holds something else.
    """
    try:
        size = path.stat().st_size
        if size > JSON_BYTES:
            raise UserError(f"{path} has {size:,} bytes; a JSON file may have {JSON_BYTES:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_object(data, str(path))


def parse_object(data: bytes, origin: str) -> dict[str, Any]:
    """The JSON object in some bytes; as `parse_json`.

    Raises:
        UserError: as there, or it is another kind of value.
    """
    value = parse_json(data, origin)
    if not isinstance(value, dict):
        raise UserError(f"{origin} is damaged: a JSON object was expected.")
    return value


def parse_json(data: bytes, origin: str) -> Any:
    """The JSON value in some bytes.

    NaN and infinity are taken, as Python writes them: some configurations need them.

    Args:
        data: UTF-8, with or without a mark at its start.
        origin: name of the file, for messages.

    Raises:
        UserError: no JSON, nested too deeply, a key twice, or half of a surrogate pair, which no
            file and no terminal takes.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique)
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
