"""The ``galenic`` command: a table of subcommands, one file each, heavy imports inside them."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import typer

from galenic import __version__
from galenic.cli.ask import ask, chat, index, search, triage
from galenic.cli.compress import compress, plan, prune, quantize
from galenic.cli.failure import STOPPED, TERMINATED, USAGE, end_with, status_of
from galenic.cli.help import GroupedCommand
from galenic.cli.house import data, doctor, purge
from galenic.cli.measure import baseline, compare, evaluate, inspect, perplexity, report
from galenic.cli.output import with_output_options
from galenic.cli.ship import export, pack, pull, serve, unpack
from galenic.cli.study import status, study
from galenic.cli.train import distill, encoder, finetune, merge, scan
from galenic.errors import Terminated, UserError, is_panic
from galenic.limits import clamped, printable

__all__ = ["app", "main"]

WELCOME = f"""Galenic {__version__}: small medical language models, measured, on your own machine.

Three things to try:
  galenic ask "burning when I pee, is it a UTI?"    an answer with sources
  galenic evaluate smollm2-135m --data sample       a first table in a minute
  galenic serve                                     the assistant as a page

All commands: galenic --help"""

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""What every mistake in the words of a command is; typer has no public name for it."""

app = typer.Typer(
    name="galenic",
    help="Make medical language models small, measure what that cost, and ask health questions "
    "on your own machine. Nothing leaves it.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

GROUPS = {
    "Ask": (ask, chat, triage, search, index),
    "Measure": (evaluate, report, compare, inspect, perplexity, baseline),
    "Compress": (compress, plan, prune, quantize),
    "Train": (finetune, distill, merge, encoder, scan),
    "Study": (study, status),
    "Ship": (pull, serve, export, pack, unpack),
    "House-keeping": (data, doctor, purge),
}

for group, modules in GROUPS.items():
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        app.command(
            name,
            cls=GroupedCommand,
            help=module.HELP,
            short_help=re.split(r"[.:;](?:\s|$)| \(", module.HELP)[0] + ".",
            epilog=module.EXAMPLES,
            rich_help_panel=group,
        )(with_output_options(module.command))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"galenic {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001 - its callback answers it
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options before the subcommand."""
    if ctx.invoked_subcommand is None:
        typer.echo(WELCOME)


def main() -> None:
    """Run the command line; whatever goes wrong prints one clear error and ends with a status.

    A mistake in use ends with 2; the other statuses are those of `galenic.cli.failure`. SIGTERM
    cleans up as Ctrl-C does.
    """
    _open_closed_streams()
    ended = _heed_termination()
    _write_utf8()
    try:
        status = app(standalone_mode=False)
        sys.exit(TERMINATED if ended else status or 0)
    except UserError as error:
        _say_error(str(error))
        sys.exit(status_of(error))
    except _ClickError as error:
        _say_error(_of_usage(error))
        sys.exit(USAGE)
    except typer.Abort:
        _say_error("the input ended before the question was answered.")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(TERMINATED if ended else STOPPED)
    except BrokenPipeError:
        _close_pipes()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        sys.exit(end_with(error, _command()))
    except BaseException as error:
        if not is_panic(error):
            raise
        sys.exit(end_with(error, _command()))
    finally:
        _flush_output()


def _open_closed_streams() -> None:
    """Read nothing from, and write into nothing, what the caller has closed (``<&-``, ``>&-``).

    Otherwise Python has no such stream, and the next file that is opened would take its place.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _write_utf8() -> None:
    """Write UTF-8 where Python would not, as into a file or pipe on Windows.

    A terminal keeps its encoding, and what it cannot show becomes a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or stream.encoding.lower() == "utf-8":
            continue
        if stream.isatty():
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _say_error(text: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    words = escape(printable(clamped(text)))
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {words}", highlight=False)


def _of_usage(error: Exception) -> str:
    """What is wrong with the words of a command, and where its help is, in one line."""
    said = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    said = re.sub(r"\(Possible options: (.*)\)", r"Did you mean \1?", said)
    said = re.sub(r"Input should be a valid integer\b.*", "it must be a whole number", said)
    said = re.sub(r"Input should be a valid number\b.*", "it must be a number", said)
    said = said.replace("Input should be", "it must be")
    if "'--bits': it must be a whole number" in said:
        said += "; --target-bpw takes an average over mixed types, such as 4.5"
    said = re.sub(
        r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)",
        r"What is meant by: \1? Text of several words needs quotes",
        said,
    )
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "galenic"
    if (wrong := getattr(error, "option_name", None)) and context and "?" not in said:
        said += _named_alike(str(wrong), context.command.params)
    return f"{said.removesuffix('.')}{'' if said.endswith('?') else '.'} See: {command} --help"


def _named_alike(wrong: str, params: Sequence[Any]) -> str:
    """Options that hold the word of one that does not exist, as a question; else nothing."""
    word = wrong.lstrip("-")
    found = [name for one in params for name in one.opts if len(word) > 1 and word in name]
    return f". Did you mean {' or '.join(found)}?" if found else ""


def _heed_termination() -> list[int]:
    """Let SIGTERM do what Ctrl-C does; the list that is returned has its number from then on."""
    ended: list[int] = []

    def terminate(number: int, _: object) -> None:
        ended.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    return ended


def _command() -> str:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"galenic {name}" if name in {one.name for one in app.registered_commands} else "galenic"


def _flush_output() -> None:
    """Write what is left; that what reads it has ended is no fault, a full disk is."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_pipes()
    except OSError as error:
        _close_pipes()
        sys.exit(end_with(error, _command()))


def _close_pipes() -> None:
    """Let what is still to be written go nowhere, so that Python says nothing as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
