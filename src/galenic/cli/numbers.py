"""Numbers that a command has measured: on the terminal, and in a file where asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from galenic.cli.output import echo
from galenic.errors import UserError

__all__ = ["check_file", "show_numbers"]

T = TypeVar("T")


def check_file(output: Path | None) -> None:
    """Check, before any work, that there is a folder for the file of ``-o``.

    Raises:
        UserError: there is none.
    """
    if output is not None and not output.absolute().parent.is_dir():
        raise UserError(f"-o {output}: there is no folder {output.absolute().parent}.")


def show_numbers(
    found: T, show: Callable[[T], None], output: Path | None, *, as_json: bool
) -> None:
    """Write numbers to a JSON file where asked, and print them.

    Args:
        found: a dataclass.
        show: prints it for people.
        output: the file.
        as_json: print what the file has, instead.
    """
    import json
    from dataclasses import asdict

    from galenic.cache import write_atomically

    numbers: Any = found
    text = json.dumps(asdict(numbers), indent=1, allow_nan=False)
    if output is not None:
        write_atomically(output.absolute(), text + "\n")
    if as_json:
        echo(text)
    else:
        show(found)
