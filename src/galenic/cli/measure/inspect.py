"""``galenic inspect``: parameters, bytes by type, sparsity and origin of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from galenic.artifact.manifest import Manifest, Stage
    from galenic.models.size import ModelSize

__all__ = ["EXAMPLES", "HELP", "command"]

SHOWN, LONGEST, LONGEST_TEXT = 20, 1_000, 20_000
"""Maximum stages shown at each end, characters of a cell and of a manifest that is not ours: laying
out a table of thousands of rows takes a minute."""
HELP = (
    "Show what a model consists of: parameters, bytes by tensor type, bits per weight, tokenizer, "
    "and how Galenic made it. The model is not loaded."
)
EXAMPLES = """\
**Examples**

`galenic inspect smollm2-135m` the embedded model

`galenic inspect small/ --zeros` a folder, with the fraction of zero weights

`galenic inspect model.gguf --json` JSON, for programs
"""


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="An embedded model, a GGUF, a Hugging Face folder or a Hub id.",
            show_default=False,
        ),
    ],
    zeros: Annotated[
        bool, typer.Option("--zeros", help="Count zero weights (reads all of them).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Show what a model consists of."""
    import json
    from dataclasses import asdict

    from galenic.models.load import resolve_model
    from galenic.models.size import inspect_model

    found = inspect_model(resolve_model(model), zeros=zeros)
    if as_json:
        echo(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return

    console = PlainConsole()
    console.print(_table(found))
    if found.manifest is not None:
        _show_history(console, found.manifest)


def _show_history(console: Console, manifest: dict[str, Any]) -> None:
    """What was done, stage by stage; a manifest that is not ours is shown as it is."""
    import json

    from pydantic import ValidationError

    from galenic.artifact.manifest import MANIFEST, Manifest

    try:
        known = Manifest.model_validate(manifest)
    except ValidationError:
        console.print(f"[bold]{MANIFEST}[/]")
        _show_unknown(console, json.dumps(manifest, ensure_ascii=False))
        return
    console.print("[bold]what was done[/]")
    console.print(_stages(known))
    if "recipe.yaml" in known.files:
        said = f"by recipe.yaml, sha256 {known.files['recipe.yaml'].sha256}"
        console.print(said, markup=False)


def _show_unknown(console: Console, text: str) -> None:
    from galenic.limits import printable

    if len(text) <= LONGEST_TEXT:
        console.print_json(text)
        return
    console.print(printable(text[:LONGEST_TEXT]), markup=False, highlight=False, end="…\n")
    console.print(f"{len(text):,} characters in all; --json prints them.")


def _stages(manifest: Manifest) -> Table:
    """Each stage on lines of its own: what, from what, and the options that were set."""
    from rich.markup import escape
    from rich.table import Table

    from galenic.limits import one_line

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    rows = list(enumerate(manifest.stages, 1))
    begin, end = (rows[:SHOWN], rows[-SHOWN:]) if len(rows) > 2 * SHOWN else (rows, [])
    for number, stage in [*begin, *end]:
        if end and number == end[0][0]:
            table.add_row("…", f"{len(rows) - 2 * SHOWN:,} more; --json prints them")
        for at, line in enumerate(_stage_lines(stage)):
            table.add_row("" if at else str(number), escape(one_line(line, LONGEST)))
    return table


def _stage_lines(stage: Stage) -> list[str]:
    taken = (
        f"{share:.1%} of {what} removed"
        for what, share in (
            ("the blocks", stage.removed.get("blocks")),
            ("the whole", stage.removed.get("whole")),
        )
        if share
    )
    options = ", ".join(
        f"{name} {value}"
        for name, value in sorted(stage.options.items())
        if value is not None and value != []
    )
    lines = [
        ", ".join([f"{stage.stage} {stage.method}", *taken]),
        f"from {stage.parent.name} (sha256 {stage.parent.sha256[:12]})",
    ]
    return [*lines, options] if options else lines


def _table(found: ModelSize) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in [*_what(found), *_parameters(found), *_stored(found)]:
        table.add_row(name, escape(text))
    return table


def _what(found: ModelSize) -> list[tuple[str, str]]:
    context = "not stated" if found.context_length is None else f"{found.context_length:,} tokens"
    return [
        ("model", f"{found.name} ({found.kind})"),
        ("path", found.path),
        ("sha256", found.sha256),
        ("architecture", f"{found.architecture}, {found.num_layers or '?'} layers"),
        ("context", context),
        ("tokenizer", found.tokenizer),
        ("chat template", "yes" if found.chat_template else "no"),
    ]


def _parameters(found: ModelSize) -> list[tuple[str, str]]:
    total = found.parameters["total"]
    rows = [("parameters", f"{total:,}")]
    for part in ("embeddings", "blocks", "other"):
        number = found.parameters[part]
        share = f" ({number / total:.1%})" if total else ""
        rows.append((f"  {part}", f"{number:,}{share}"))
    if found.zeros is not None:
        shares = f"{found.zeros['total']:.2%} of all, {found.zeros['blocks']:.2%} of the blocks"
        rows.append(("  exact zeros", shares))
    return rows


def _stored(found: ModelSize) -> list[tuple[str, str]]:
    bits = "weights are packed" if found.bits_per_weight is None else f"{found.bits_per_weight:.2f}"
    stored = sum(found.bytes_by_type.values())
    rows = [("bits per weight", bits), ("weight files", f"{found.file_bytes:,} bytes")]
    for kind, number in found.bytes_by_type.items():
        rows.append((f"  {kind}", f"{number:,} bytes ({number / stored:.1%})"))
    return rows
