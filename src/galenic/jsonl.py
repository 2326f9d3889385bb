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

    Args:
        path: the file; created if missing.
        rows: JSON-serializable values. A string is written as is, as a line of JSON.
    """
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
