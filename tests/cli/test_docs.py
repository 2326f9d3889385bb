"""docs/cli.md is what the commands themselves say; `make docs` writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_commands_is_up_to_date(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    writer = [sys.executable, "-m", "typer", "galenic.cli.main", "utils", "docs"]
    flags = ["--name", "galenic", "--title", "Commands", "--output", str(made)]
    subprocess.run([*writer, *flags], check=True, capture_output=True)
    if not (DOCS / "cli.md").is_file():
        pytest.skip("installed without the repository's docs folder")
    assert made.read_text(encoding="utf-8") == (DOCS / "cli.md").read_text(encoding="utf-8"), (
        "docs/cli.md is old: run `make docs`"
    )
