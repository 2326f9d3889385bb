"""Files of JSON lines that grow while work goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["append_jsonl"]


def append_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Add one line for each row; all are on the disk when this returns.

    Args:
        path: the file; made when missing.
        rows: values that JSON can hold. A string is taken as a line that is JSON already.
    """
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
