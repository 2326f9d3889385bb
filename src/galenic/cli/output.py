"""How much a command says: ``--quiet``, ``--verbose`` and ``--log-file``, on every command.

Results go to standard output and are not touched. Progress messages go to standard error, and
to the log file if one is named. Questions and notes of users are never in it.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from galenic import __version__
from galenic.errors import UserError
from galenic.limits import escaped

__all__ = [
    "PlainConsole",
    "echo",
    "is_verbose",
    "log",
    "progress_console",
    "say",
    "with_output_options",
    "written",
]

log = logging.getLogger("galenic")
PANEL = "Output"
FORMAT = "%(asctime)s %(message)s"


class PlainConsole(Console):
    """A console on which no text steers the terminal: its control characters are escaped.

    Texts come from models, records, documents and folders of others, and an escape sequence in
    them could change what the terminal shows. Styles are the console's own.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of what is printed, with plain texts."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(escaped(segment.text), segment.style)


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line, also JSON, with control characters escaped; see `PlainConsole`."""
    typer.echo(escaped(str(text)), err=err)


class _Formatter(logging.Formatter):
    """Messages as a console shows them."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


@dataclass
class _Chosen:
    quiet: bool = False
    verbose: bool = False


_chosen = _Chosen()

Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Print only results and errors.", rich_help_panel=PANEL),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Also print when each step begins, and the traceback of an internal error.",
        rich_help_panel=PANEL,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        help="Append progress messages, with times, to this file.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
OPTIONS = {"quiet": (Quiet, False), "verbose": (Verbose, False), "log_file": (LogFile, None)}


def written(output: Path) -> dict[str, Any]:
    """A new file or folder for ``--json``: its path, and the size of each file in bytes."""
    if output.is_file():
        return {"path": str(output), "files": {output.name: output.stat().st_size}}
    files = sorted(path for path in output.rglob("*") if path.is_file())
    sizes = {path.relative_to(output).as_posix(): path.stat().st_size for path in files}
    return {"path": str(output), "files": sizes}


def with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with the three options of this module."""
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in OPTIONS.items()
    ]

    def run(**values: Any) -> None:
        _choose(**{name: values.pop(name) for name in OPTIONS})
        command(**values)

    parameters = [*own.parameters.values(), *added]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = command.__doc__
    return run


def is_verbose() -> bool:
    """Whether a fault shows its traceback."""
    return _chosen.verbose


def progress_console() -> Console:
    """Where progress is shown: standard error, or nowhere with ``--quiet``."""
    return PlainConsole(stderr=True, quiet=_chosen.quiet)


def say(text: str) -> None:
    """One line about the work, on standard error."""
    log.info("%s", text)
    progress_console().print(text, markup=False, highlight=False, soft_wrap=True)


def _choose(quiet: bool, verbose: bool, log_file: Path | None) -> None:
    if quiet and verbose:
        raise UserError("--quiet and --verbose exclude each other. Give one of them.")
    _chosen.quiet, _chosen.verbose = quiet, verbose
    for handler in [*log.handlers]:
        log.removeHandler(handler)
        handler.close()
    if verbose:
        log.addHandler(logging.StreamHandler(sys.stderr))
    if log_file is not None:
        try:
            log.addHandler(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"--log-file {log_file}: {error.strerror or error}. "
                "Name a file that can be written."
            ) from error
    for handler in log.handlers:
        handler.setFormatter(_Formatter(FORMAT))
    log.propagate = False
    log.setLevel(logging.INFO if log.handlers else logging.WARNING)
    log.info("galenic %s", __version__)
