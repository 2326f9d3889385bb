"""The ``galenic`` command: a table of subcommands, one file each, heavy imports inside them."""

from __future__ import annotations

import os
import sys

import typer

from galenic import __version__
from galenic.cli.ask import ask, chat, index, search, triage
from galenic.cli.compress import compress, plan, prune, quantize
from galenic.cli.failure import STOPPED, end_with
from galenic.cli.house import data, doctor, purge
from galenic.cli.measure import baseline, compare, evaluate, inspect, perplexity, report
from galenic.cli.ship import export, pack, pull, serve, unpack
from galenic.cli.study import status, study
from galenic.cli.train import distill, encoder, finetune, merge, scan
from galenic.errors import UserError
from galenic.limits import printable

__all__ = ["app", "main"]

app = typer.Typer(
    name="galenic",
    help="Compound large medical language models into small private doses: measure what a model "
    "knows of medicine on this machine, with numbers one can trust. Nothing leaves the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (
    pull,
    evaluate,
    perplexity,
    report,
    compare,
    baseline,
    plan,
    study,
    status,
    compress,
    prune,
    quantize,
    finetune,
    distill,
    encoder,
    merge,
    inspect,
    export,
    ask,
    chat,
    serve,
    pack,
    unpack,
    data,
    scan,
    index,
    search,
    triage,
    purge,
    doctor,
):
    name = module.__name__.rpartition(".")[2]
    app.command(name, help=module.HELP or None, epilog=module.EXAMPLES or None)(module.command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"galenic {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options before the subcommand."""


def main() -> None:
    """Run the command line; whatever goes wrong prints one clear error and ends with a status.

    A mistake in use ends with 2; the other statuses are those of `galenic.cli.failure`.
    """
    try:
        app()
    except UserError as error:
        from rich.console import Console

        words = _plain(printable(str(error)))
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {words}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except BrokenPipeError:
        _close_pipes()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        sys.exit(end_with(error, _command()))
    finally:
        _flush_output()


def _command() -> str:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"galenic {name}" if name in {one.name for one in app.registered_commands} else "galenic"


def _flush_output() -> None:
    """What reads our output may have ended: then it is too late to say so."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_pipes()


def _close_pipes() -> None:
    """Let what is still to be written go nowhere, so that Python says nothing as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
