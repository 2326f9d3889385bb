"""``galenic scan``: is any of the training data in a test set?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.flags import parse_config, with_flags
from galenic.cli.numbers import check_file
from galenic.cli.options import DataOption
from galenic.cli.output import PlainConsole, echo
from galenic.training.near import ScanConfig

if TYPE_CHECKING:
    from galenic.training.near import Hit

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Check training data for test questions: identical and nearly identical texts.

Four kinds, from strict to loose: `exact`; `normalised` (same words; case, punctuation, accents and
Unicode form are ignored); `contained` (a test text of 8 words or more is part of a training text);
`near` (Jaccard similarity of word shingles of at least 0.5). MinHash proposes near pairs, and the
exact similarity decides. A pair is counted once, under its strictest kind.
"""
EXAMPLES = """
**Examples**

`galenic scan --train medquad,benchmarks --data DIR`

`galenic scan --train mine.jsonl --against medqa_4options:test,medmcqa --data DIR -o removed.jsonl`

`galenic scan --train notes.txt --against exam.jsonl --threshold 0.7 --json`
"""
SHOWN = 5


@with_flags(ScanConfig)
def command(
    *,
    train: Annotated[
        str,
        typer.Option(
            help="Training data, comma-separated: medquad, benchmarks (all training splits), a "
            "benchmark or benchmark:split, a JSON Lines file of any shape, a text file.",
            show_default=False,
        ),
    ],
    against: Annotated[
        str,
        typer.Option(
            help="Test sets, comma-separated: a benchmark or benchmark:split, a question file; "
            "all: the reported split of every benchmark."
        ),
    ] = "all",
    data: DataOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the rows to be removed, and why (JSON Lines)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    **values: Any,
) -> None:
    """Check training data for test questions."""
    from galenic.cli.progress import watched
    from galenic.training.contamination import read_test_sets, scan, training_rows, write_removed

    config = parse_config(ScanConfig, values)
    check_file(output)
    rows = training_rows(train, data)
    tests = read_test_sets(against, data)
    with watched("Nothing was written.") as watcher:
        hits = scan(rows, tests, config, watcher)
    if output is not None:
        number = write_removed(output, rows, hits)
        echo(f"{number:,} rows that would be removed: {output}", err=True)
    counts = {
        "train_rows": len(rows),
        "test_rows": {name: len({p.row for p in passages}) for name, passages in tests},
    }
    if as_json:
        _print_json(config, counts, hits)
    else:
        _print_table(counts, hits)


def _print_json(config: ScanConfig, counts: dict[str, Any], hits: list[Hit]) -> None:
    import json
    from dataclasses import asdict

    from galenic.training.contamination import count_hits

    result = {
        "config": config.model_dump(),
        **counts,
        "found": count_hits(hits),
        "hits": [asdict(hit) for hit in hits],
    }
    echo(json.dumps(result, indent=1, ensure_ascii=False))


def _print_table(counts: dict[str, Any], hits: list[Hit]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from galenic.training.contamination import count_hits

    console = PlainConsole()
    sets = ", ".join(f"{name} ({number:,})" for name, number in counts["test_rows"].items())
    console.print(f"{counts['train_rows']:,} training rows against {escape(sets)}", soft_wrap=True)
    if not hits:
        console.print("None is a test question, or nearly one.")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("training data", "test set", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("training rows", "pairs"):
        table.add_column(name, justify="right")
    for row in count_hits(hits):
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
    for hit in sorted(hits, key=lambda hit: -hit.similarity)[:SHOWN]:
        console.print(
            f"{hit.kind} {hit.similarity:.2f}  {escape(hit.train.row)} ~ "
            f"{escape(hit.test_set)} {escape(hit.test.row)}",
            soft_wrap=True,
        )
    if len(hits) > SHOWN:
        console.print(f"and {len(hits) - SHOWN:,} more: -o FILE or --json gives all of them.")
