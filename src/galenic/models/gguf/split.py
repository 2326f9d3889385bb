"""Find the parts of a model split over several GGUFs (``NAME-00001-of-00003.gguf``, ...).

Format: https://github.com/ggml-org/llama.cpp/blob/master/tools/gguf-split/README.md
"""

from __future__ import annotations

import re
from pathlib import Path

from galenic.errors import UserError

__all__ = ["first_part", "parts_of"]

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)", re.I)


def parts_of(path: Path) -> list[Path]:
    """Return all parts in order if ``path`` is named as a first part; otherwise ``[path]``.

    Raises:
        UserError: ``path`` is named as a later part, or parts are missing.
    """
    match = _match(path)
    if match is None or int(match["count"]) < 2:
        return [path]
    first = first_part(path)
    if first != path:
        raise UserError(f"{path} is part {int(match['number'])} of a model; name {first.name}.")
    if match["end"] != ".gguf":
        raise UserError(
            f"{path} is part of a model, and llama.cpp finds parts only under names that end in "
            ".gguf, in small letters. Rename all parts."
        )
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
    """Path of the first part of a split model; ``path`` itself if it is not part of one."""
    match = _match(path)
    if match is None:
        return path
    return path.with_name(f"{match['stem']}-00001-of-{match['count']}{match['end']}")


def _match(path: Path) -> re.Match[str] | None:
    """Match the name of a part; None if it is none, such as ``NAME-00003-of-00002.gguf``."""
    match = _PART.fullmatch(path.name)
    return match if match and 1 <= int(match["number"]) <= int(match["count"]) else None
