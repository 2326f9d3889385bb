"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["GALENIC", "galenic"]

GALENIC = [sys.executable, "-c", "from galenic.cli.main import main; main()"]


def galenic(
    *arguments: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a wide terminal unless ``COLUMNS`` says otherwise."""
    return subprocess.run(
        [*GALENIC, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
