"""``galenic doctor``: does the engine compute right numbers here, and what else is at hand?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.assistant import DEFAULT_MODEL
from galenic.cli.ask.answer import ModelFlag
from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from galenic.assistant.prove import Proof

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Check this machine: test the llama.cpp library against an independent float64 computation, "
    "and list what else is installed. Ends with status 1 when something required fails."
)
EXAMPLES = """\
**Examples**

`galenic doctor` tests the library that `galenic evaluate` uses

`GALENIC_LIBLLAMA=xllamacpp galenic doctor` tests another installed build

`GALENIC_LIBLLAMA=~/llama.cpp/lib galenic doctor` tests your own build

`galenic doctor --prove-offline` answers a question with all network sockets refused

`galenic doctor --json` JSON, for programs
"""

_EXTRAS = {
    "torch": ("torch", "runs and trains Hugging Face folders: pip install 'galenic[train]'"),
    "transformers": ("transformers", "as torch"),
    "datasets": ("datasets", "fetches benchmarks from the Hub: pip install 'galenic[hub]'"),
    "xllamacpp": ("xllamacpp", "a second llama.cpp build, for comparison"),
}


def command(
    prove_offline: Annotated[
        bool,
        typer.Option(
            "--prove-offline",
            help="Answer a question in a process to which every network socket is refused (on "
            "Linux by the kernel), and report whether anything asked for one.",
        ),
    ] = False,
    model: ModelFlag = DEFAULT_MODEL,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Also hash every cached model and library again, and report which has changed.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Check this machine."""
    import json

    if verify:
        _verify()
    if prove_offline:
        _prove(model, as_json=as_json)
        return
    findings = {
        "machine": _machine(),
        "llama.cpp": _library(),
        "cache": _cache(),
        "optional": _optional(),
    }
    ok = all("error" not in findings[part] for part in ("llama.cpp", "cache"))
    if as_json:
        echo(json.dumps({"ok": ok, **findings}, indent=1, ensure_ascii=False))
    else:
        _print(findings, ok)
    if not ok:
        raise typer.Exit(1)


def _verify() -> None:
    from galenic.cache import forget_changed

    found = forget_changed()
    for name, same in found.items():
        if not same:
            echo(f"{name} has changed since it was checked.", err=True)
    echo(f"{sum(found.values())} of {len(found)} files are unchanged.", err=True)
    if not all(found.values()):
        raise typer.Exit(1)


def _prove(model: str, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from galenic.assistant.prove import prove_offline
    from galenic.models.load import resolve_model

    resolve_model(model)  # what has to be fetched is fetched before
    proof = prove_offline(model)
    if as_json:
        echo(json.dumps(asdict(proof), indent=1, ensure_ascii=False))
    else:
        _print_proof(proof)
    if not proof.passed:
        raise typer.Exit(1)


def _print_proof(proof: Proof) -> None:
    from rich.markup import escape

    from galenic.assistant.prove import QUESTION

    console = PlainConsole(highlight=False)
    who = "the kernel (seccomp) and Python" if proof.kernel else "Python only, not native code"
    console.print(f"Network sockets were refused by {who}; tried and refused:")
    for what in proof.refused:
        console.print(f"  - {what}")
    if not proof.passed:
        console.print(f"[bold red]NOT PROVEN:[/] {escape(proof.error)}")
        return
    console.print(f"Then this was asked: {escape(QUESTION)}")
    console.print(
        f"A whole answer came: tier {proof.tier}, {proof.sentences} sentences, {proof.sources} "
        f"passages; and {escape(proof.model)} wrote {proof.tokens} tokens. All in "
        f"{proof.seconds:.1f} s."
    )
    if not proof.sources:
        console.print("Nothing is indexed, so no passage was looked up: see `galenic index`.")
    console.print(
        "[green]Nothing asked for the network.[/]"
        + (" A process that had asked would have been killed." if proof.kernel else "")
    )


def _machine() -> dict[str, Any]:
    import platform

    import psutil

    from galenic import __version__
    from galenic.runtimes.threads import choose_threads

    memory = psutil.virtual_memory()
    return {
        "galenic": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "threads_now": choose_threads(),
        "memory_gib": round(memory.total / 2**30, 1),
        "memory_free_gib": round(memory.available / 2**30, 1),
    }


def _library() -> dict[str, Any]:
    from galenic.errors import UserError
    from galenic.runtimes.libllama import load_library
    from galenic.runtimes.selftest import TOLERANCE, run_self_test

    try:
        library = load_library()
        found: dict[str, Any] = {
            "library": library.files.name,
            "build": library.build,
            "file": str(library.files.library),
            "system_info": library.system_info,
        }
        result = run_self_test(library)
    except UserError as error:
        return {"error": str(error)}
    found |= {
        "max_difference_nats": result.max_difference,
        "tolerance_nats": TOLERANCE,
        "seconds": round(result.seconds, 3),
        "passed": result.passed,
    }
    if not result.passed:
        found["error"] = "the library computes wrong numbers; unset GALENIC_LIBLLAMA or reinstall"
    return found


def _cache() -> dict[str, Any]:
    from galenic.cache import cache_folder
    from galenic.errors import UserError
    from galenic.models.fetch.dose import DOSES
    from galenic.models.fetch.embedded import EMBEDDED

    try:
        folder = cache_folder()
    except UserError as error:
        return {"error": str(error)}
    models = {name: (folder / "models" / f"{name}.gguf").is_file() for name in (*EMBEDDED, *DOSES)}
    return {"folder": str(folder), "models": models}


def _optional() -> dict[str, str | None]:
    """Version of each optional package, or None; nothing is imported."""
    from importlib import metadata
    from importlib.util import find_spec

    return {
        name: metadata.version(name) if find_spec(module) else None
        for name, (module, _) in _EXTRAS.items()
    }


def _print(findings: dict[str, dict[str, Any]], ok: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in (
        ("machine", _machine_rows(findings["machine"])),
        ("llama.cpp", _library_rows(findings["llama.cpp"])),
        ("cache", _cache_rows(findings["cache"])),
        ("optional", _optional_rows(findings["optional"])),
    ):
        table.add_row(f"[bold]{title}[/]", "")
        for name, text in rows:
            table.add_row(f"  {name}", escape(text))
        table.add_section()
    console = PlainConsole()
    console.print(table)
    console.print(
        "[green]everything that is required works[/]" if ok else "[bold red]not usable as it is"
    )


def _machine_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    cores = f"{found['physical_cores']} physical, {found['logical_cores']} logical"
    return [
        ("galenic", found["galenic"]),
        ("python", found["python"]),
        ("platform", f"{found['platform']} ({found['processor']})"),
        ("cores", f"{cores}; {found['threads_now']} would be used now"),
        ("memory", f"{found['memory_gib']} GiB, {found['memory_free_gib']} GiB free"),
    ]


def _library_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [
        (name, found[name]) for name in ("library", "build", "file") if name in found
    ]
    if "system_info" in found:
        rows.append(("system", found["system_info"]))
    if "passed" in found:
        difference = f"{found['max_difference_nats']:.2g} nats off at most"
        rows.append(("self-test", f"{difference} (allowed {found['tolerance_nats']})"))
    rows.append(("result", "passed" if "error" not in found else f"FAILED: {found['error']}"))
    return rows


def _cache_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in found:
        return [("result", f"FAILED: {found['error']}")]
    states = {True: "there", False: "fetched at first use"}
    return [
        ("folder", found["folder"]),
        *((name, states[there]) for name, there in found["models"].items()),
    ]


def _optional_rows(found: dict[str, str | None]) -> list[tuple[str, str]]:
    return [
        (name, version or f"not installed ({_EXTRAS[name][1]})") for name, version in found.items()
    ]
