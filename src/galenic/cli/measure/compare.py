"""``galenic compare``: two runs, or two scorings of one, on the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from galenic.evaluation.compare import Pair, PairedResult, Pairing
    from galenic.reports.runs import Item, LoadedRun

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Compare two runs on the questions both answered: paired difference with interval, exact "
    "McNemar test, flipped answers, divergence of the probabilities. Also compares two scorings "
    "of one run."
)
EXAMPLES = """\
**Examples**

`galenic compare runs/dense runs/compressed`

`galenic compare runs/dense runs/compressed --show 20 --out difference.json`

`galenic compare runs/dense --scoring-a letter --scoring-b text`

`galenic compare runs/dense --scoring-a letter --debias-a none --debias-b permutations`
"""


def command(
    run_a: Annotated[Path, typer.Argument(help="Run folder A, the reference.", show_default=False)],
    run_b: Annotated[
        Path | None, typer.Argument(help="Run folder B; default: A itself.", show_default=False)
    ] = None,
    *,
    scoring_a: Annotated[
        str | None, typer.Option(help="Use only this scoring of A.", show_default=False)
    ] = None,
    scoring_b: Annotated[
        str | None, typer.Option(help="Use only this scoring of B; may differ from A's.")
    ] = None,
    debias_a: Annotated[
        str | None, typer.Option(help="Use only this debiasing of A: none, permutations, prior.")
    ] = None,
    debias_b: Annotated[
        str | None, typer.Option(help="Use only this debiasing of B; may differ from A's.")
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            min=0, help="Number of questions to show that only one run answers correctly."
        ),
    ] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Write everything to this JSON file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two runs."""
    from galenic.errors import UserError
    from galenic.reports.compare import compare_runs, describe

    if out is not None and not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.resolve().parent}.")
    found = compare_runs(
        run_a,
        run_b,
        scoring_a=scoring_a,
        scoring_b=scoring_b,
        debias_a=debias_a,
        debias_b=debias_b,
    )
    document = describe(found)
    if out is not None:
        _write(out, document)
    if as_json:
        echo(_json(document))
        return
    _print(found.run_a, found.run_b, found.pairing, found.results, show)
    if out is not None:
        echo(f"everything: {out}")


def _json(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _write(path: Path, document: dict[str, Any]) -> None:
    from galenic.cache import replacing

    with replacing(path) as part:
        part.write_text(_json(document) + "\n", encoding="utf-8")


def _print(
    run_a: LoadedRun, run_b: LoadedRun, pairing: Pairing, results: Sequence[PairedResult], show: int
) -> None:

    from galenic.evaluation.compare import ALL
    from galenic.reports.text import model_name

    console = PlainConsole(highlight=False)
    for side, run in (("A", run_a), ("B", run_b)):
        missing = "" if run.complete else f"  incomplete: {len(run.records)} of {run.num_planned}"
        console.print(
            f"{side}: {run.folder}  ({model_name(run.info.model.model)}){missing}", markup=False
        )
    if pairing.unpaired_a or pairing.unpaired_b:
        console.print(
            f"left out, because only one of the runs has them: {pairing.unpaired_a} records of A, "
            f"{pairing.unpaired_b} of B"
        )
    console.print(_table(results))
    console.print(
        "B - A is paired, with its 95 % interval (Newcombe); p: exact McNemar test; won: questions "
        "only A / only B answers rightly; flipped: share of answers that differ; KL: mean "
        "KL(A || B) of the option probabilities in nats; all: the questions of all benchmarks "
        "together."
    )
    for result, (name, pairs) in zip(results, pairing.groups.items(), strict=True):
        if name[0] == ALL:
            continue  # shown above, by benchmark
        for side, wins in (("A", result.a_wins), ("B", result.b_wins)):
            title = f"{result.benchmark} {_what(result)}: only run {side} is right"
            _print_wins(console, run_a.items, pairs, wins, title, show)


def _table(results: Sequence[PairedResult]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from galenic.reports.text import p_value, proportion, signed

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("benchmark, scoring", overflow="fold")
    for name in ("n", "A", "B", "B - A", "95 %", "p", "won", "flipped", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        strong = "bold" if result.p_value < 0.05 else ""
        table.add_row(
            Text(f"{result.benchmark} {_what(result)}"),
            str(result.n),
            proportion(result.accuracy_a),
            proportion(result.accuracy_b),
            f"[{strong}]{signed(result.difference)}[/]" if strong else signed(result.difference),
            f"{signed(result.interval.low)} {signed(result.interval.high)}",
            p_value(result.p_value),
            f"{len(result.a_wins)}/{len(result.b_wins)}",
            f"{result.flipped:.1%}",
            "–" if result.divergence is None else f"{result.divergence:.3f}",
        )
    return table


def _what(result: PairedResult) -> str:
    from galenic.reports.text import method

    a = method(result.scoring_a, result.debias_a)
    b = method(result.scoring_b, result.debias_b)
    return a if a == b else f"A {a}, B {b}"


def _print_wins(
    console: Console,
    items: Mapping[tuple[str, str], Item],
    pairs: Sequence[Pair],
    wins: Sequence[str],
    title: str,
    show: int,
) -> None:
    from galenic.reports.text import shorten

    shown = set(wins[:show])
    if not shown:
        return
    console.print(f"\n{title} ({len(shown)} of {len(wins)})", style="bold", markup=False)
    for a, b in pairs:
        if a.id in shown:
            question = shorten(items[a.benchmark, a.id].question, console.width - 4)
            said = f"run A {a.prediction or 'unparsed'}, run B {b.prediction or 'unparsed'}"
            console.print(f"  {a.id}: right {a.gold}, {said}", markup=False, soft_wrap=True)
            console.print(f"    {question}", markup=False, soft_wrap=True)
