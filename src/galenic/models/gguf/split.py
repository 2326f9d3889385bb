"""The parts of a model split over several GGUFs, ``NAME-00001-of-00003.gguf`` and so on.

Format: https://github.com/ggml-org/llama.cpp/blob/master/tools/gguf-split/README.md
"""

from __future__ import annotations

import re
from pathlib import Path

from galenic.errors import UserError

__all__ = ["first_part", "parts_of"]

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def parts_of(path: Path) -> list[Path]:
    """All parts in order, where a file is named as the first of several; else the file alone.

    Raises:
        UserError: it is named as a later part, or others are missing.
    """
    match = _PART.fullmatch(path.name)
    if match is None or int(match["count"]) < 2:
        return [path]
    first = first_part(path)
    if first != path:
        raise UserError(f"{path} is part {int(match['number'])} of a model; name {first.name}.")
    count = int(match["count"])
    parts = [
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    ]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise UserError(
            f"{path.parent} lacks {len(missing)} of {count} parts of the model, among them "
            f"{missing[0]}. Download it again."
        )
    return parts


def first_part(path: Path) -> Path:
    """Where the first part of a split model is; a file that is no part is its own."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return path
    return path.with_name(f"{match['stem']}-00001-of-{match['count']}.gguf")
