"""``galenic compare``: two runs, or two scorings of one, on the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from galenic.evaluation.compare import Comparison, Pair, Pairing
    from galenic.evaluation.records import Record
    from galenic.reports.runs import Item, Run

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Compare two runs on the questions both answered: paired difference with interval, exact "
    "McNemar test, flipped answers, divergence of the probabilities. Or two scorings of one run."
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
        str | None, typer.Option(help="Only this scoring of A.", show_default=False)
    ] = None,
    scoring_b: Annotated[
        str | None, typer.Option(help="Only this scoring of B; may differ from A's.")
    ] = None,
    debias_a: Annotated[
        str | None, typer.Option(help="Only this debiasing of A: none, permutations, prior.")
    ] = None,
    debias_b: Annotated[
        str | None, typer.Option(help="Only this debiasing of B; may differ from A's.")
    ] = None,
    show: Annotated[
        int, typer.Option(min=0, help="Questions shown that only one side answers rightly.")
    ] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Write everything to this JSON file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two runs."""
    from dataclasses import replace

    from galenic.errors import UserError
    from galenic.evaluation.compare import compare_pairs, pair_records, pool_groups
    from galenic.reports.runs import load_run

    if out is not None and not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.resolve().parent}.")
    same_selection = (scoring_a, debias_a) == (scoring_b, debias_b)
    if (run_b is None or run_a.resolve() == run_b.resolve()) and same_selection:
        raise UserError(
            "A and B are the same. Name a second run, or choose two scorings with --scoring-a and "
            "--scoring-b (or --debias-a and --debias-b)."
        )
    side_a = load_run(run_a)
    side_b = side_a if run_b is None else load_run(run_b)
    _check_versions(side_a, side_b)
    pairing = pair_records(
        _select(side_a, scoring_a, debias_a, "a"),
        _select(side_b, scoring_b, debias_b, "b"),
        match_scoring=scoring_a is None or scoring_b is None or scoring_a == scoring_b,
        match_debias=debias_a is None or debias_b is None or debias_a == debias_b,
    )
    pooled = pool_groups(pairing.groups)
    pairing = replace(pairing, groups=pairing.groups | pooled)
    results = [
        compare_pairs(pairs, name[0] if name in pooled else None)
        for name, pairs in pairing.groups.items()
    ]
    document = _document(side_a, side_b, pairing, results)
    if out is not None:
        _write(out, document)
    if as_json:
        typer.echo(_json(document))
        return
    _print(side_a, side_b, pairing, results, show)
    if out is not None:
        typer.echo(f"everything: {out}")


def _check_versions(run_a: Run, run_b: Run) -> None:
    """Refuse runs that asked the same benchmark in different words."""
    from galenic.errors import UserError

    versions = {entry.benchmark: entry.version for entry in run_a.info.data}
    for entry in run_b.info.data:
        if versions.get(entry.benchmark, entry.version) != entry.version:
            raise UserError(
                f"{entry.benchmark} has version {versions[entry.benchmark]} in A and "
                f"{entry.version} in B: prompts or questions differ, so their answers cannot be "
                "compared. Evaluate the older run again."
            )


def _select(run: Run, scoring: str | None, debias: str | None, side: str) -> list[Record]:
    """The records of one side, plain views included, that the flags choose."""
    from galenic.errors import unknown_name
    from galenic.evaluation.compare import with_plain_views

    records = with_plain_views(run.records)
    for name, wanted in (("scoring", scoring), ("debias", debias)):
        known = {getattr(record, name) for record in records}
        if wanted is not None and wanted not in known:
            raise unknown_name(f"--{name}-{side}, of the records in {run.folder},", wanted, known)
        if wanted is not None:
            records = [record for record in records if getattr(record, name) == wanted]
    return records


def _document(
    run_a: Run, run_b: Run, pairing: Pairing, results: Sequence[Comparison]
) -> dict[str, Any]:
    """All that is known, for programs; one object a group with every discordant question."""
    from dataclasses import asdict

    groups = []
    for result, pairs in zip(results, pairing.groups.values(), strict=True):
        group = asdict(result)
        group["interval"] = list(result.interval)
        for name in ("a_wins", "b_wins"):
            ids = set(getattr(result, name))
            group[name] = [_question(run_a.items, pair) for pair in pairs if pair[0].id in ids]
        groups.append(group)
    return {
        "a": {"run": run_a.name, "command": run_a.info.command, "model": run_a.info.model.model},
        "b": {"run": run_b.name, "command": run_b.info.command, "model": run_b.info.model.model},
        "unpaired_a": pairing.unpaired_a,
        "unpaired_b": pairing.unpaired_b,
        "groups": groups,
    }


def _question(items: Mapping[tuple[str, str], Item], pair: Pair) -> dict[str, str | None]:
    a, b = pair
    return {
        "id": a.id,
        "question": items[a.benchmark, a.id].question,
        "gold": a.gold,
        "prediction_a": a.prediction,
        "prediction_b": b.prediction,
    }


def _json(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _write(path: Path, document: dict[str, Any]) -> None:
    from galenic.cache import replacing

    with replacing(path) as part:
        part.write_text(_json(document) + "\n", encoding="utf-8")


def _print(
    run_a: Run, run_b: Run, pairing: Pairing, results: Sequence[Comparison], show: int
) -> None:
    from rich.console import Console

    from galenic.evaluation.compare import ALL
    from galenic.reports.text import model_name

    console = Console(highlight=False)
    for side, run in (("A", run_a), ("B", run_b)):
        missing = "" if run.complete else f"  incomplete: {len(run.records)} of {run.num_planned}"
        console.print(
            f"{side}: {run.folder}  ({model_name(run.info.model.model)}){missing}", markup=False
        )
    if pairing.unpaired_a or pairing.unpaired_b:
        console.print(
            f"without a partner, left out: {pairing.unpaired_a} records of A, "
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
            _print_wins(console, run_a.items, pairs, wins, f"only {side} is right", show)


def _table(results: Sequence[Comparison]) -> Table:
    from rich.table import Table

    from galenic.reports.text import p_value, proportion, signed

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("benchmark, scoring", overflow="fold")
    for name in ("n", "A", "B", "B - A", "95 %", "p", "won", "flipped", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        strong = "bold" if result.p_value < 0.05 else ""
        table.add_row(
            f"{result.benchmark} {_what(result)}",
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


def _what(result: Comparison) -> str:
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
    from galenic.reports.text import method, shorten

    shown = set(wins[:show])
    if not shown:
        return
    first = pairs[0][0]
    what = f"{first.benchmark} {method(first.scoring, first.debias)}"
    console.print(f"\n{what}: {title} ({len(shown)} of {len(wins)})", style="bold", markup=False)
    for a, b in pairs:
        if a.id in shown:
            question = shorten(items[a.benchmark, a.id].question, 90)
            said = f"A {a.prediction or 'unparsed'}, B {b.prediction or 'unparsed'}"
            console.print(f"  {a.id}: gold {a.gold}, {said}", markup=False, soft_wrap=True)
            console.print(f"    {question}", markup=False, soft_wrap=True)
