"""Appending to JSON Lines files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["append_jsonl"]


def append_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Append one line per row and flush them to disk before returning.

    On a full disk the file stays as it was, so that no line is there in part.

    Args:
        path: the file; created if missing.
        rows: JSON-serializable values. A string is written as is, as a line of JSON.
    """
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    left = memoryview("".join(f"{line}\n" for line in lines).encode())
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
