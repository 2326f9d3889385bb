"""``galenic study``: a grid of models, recipes and benchmarks in one command."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.output import echo
from galenic.cli.stage import say_if_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from galenic.study.engines.base import Engine
    from galenic.study.grid import Study
    from galenic.study.run import StudyOutcome

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Compress models in several ways and evaluate each: the rows of a study (strict YAML), or a "
    "recipe with the dense model and every stage beside it. Finished results are reused and an "
    "interrupted study resumes when the same command is run again; a failure is reported and the "
    "rest continues."
)
EXAMPLES = """
**Examples**

`galenic study paper --data DIR -o runs/paper`

`galenic study paper --data DIR --limit 100 -o runs/look`

`galenic study my-study.yaml --model ./my-model --engine ray -o runs/mine`

`galenic status runs/paper`

`galenic report runs/paper`
"""


def command(
    study: Annotated[
        str, typer.Argument(help="Name of a study or recipe, or a YAML file.", show_default=False)
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the study.", show_default=False)
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="Replace the study's models; repeatable."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="Folder with the benchmark files and medquad/medquad.jsonl.gz; `sample` uses the "
            "questions and the handbook in the package, for a demonstration. Without it the "
            "benchmarks come from the Hugging Face Hub.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Additional calibration text: your own UTF-8 text file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of questions per benchmark.")
    ] = None,
    benchmarks: Annotated[
        str | None, typer.Option(help="Replace the study's benchmarks; comma-separated.")
    ] = None,
    scoring: Annotated[
        str | None, typer.Option(help="Replace the study's scorings; comma-separated.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local: processes on this machine; ray: a Ray cluster (needs the extra `ray`)."
        ),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; default: start one here.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Nodes computed in parallel, memory permitting; default: one per four cores.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the final state of the nodes as JSON.")
    ] = False,
) -> None:
    """Run a study."""
    from galenic.cli.board import state_line
    from galenic.registry import ENGINES
    from galenic.study.grid import read_study

    changes = {"limit": limit, "benchmarks": benchmarks, "scoring": scoring}
    found = read_study(study).with_changes(
        models=model or (), evaluate={key: value for key, value in changes.items() if value}
    )
    ENGINES.check(engine)
    say_if_sample(data)
    outcome = _run(
        found, (data, text), output, lambda: ENGINES.load(engine)(jobs=jobs, address=address)
    )
    if as_json:
        facts = {"folder": str(output), "states": outcome.states, "computed": outcome.computed}
        echo(json.dumps({**facts, "complete": outcome.complete}))
    else:
        echo(f"{output}: {state_line(outcome.states)}; {outcome.computed} computed now.")
    if not outcome.complete:
        echo("Run the same command again to retry what is missing.", err=True)
        raise typer.Exit(1)
    if not as_json:
        echo(f"Write its report: galenic report {shlex.quote(str(output))}")


def _run(
    study: Study, texts: tuple[str | None, str | None], output: Path, start: Callable[[], Engine]
) -> StudyOutcome:
    from galenic.cli.board import StudyBoard
    from galenic.study.graph import StudyTexts, build_graph
    from galenic.study.run import run_graph
    from galenic.study.store import StudyFolder

    store = StudyFolder(output)
    with store.held():
        echo(f"{study.name}: reading data and models", err=True)
        graph = build_graph(study, StudyTexts(*texts))
        store.write(_facts(study), graph)
        engine = start()
        titles = {node.id: node.title for node in graph.nodes.values()}
        echo(f"{len(titles)} nodes, on {engine.where}", err=True)
        try:
            with StudyBoard(titles) as board:
                return run_graph(graph, store, engine, board)
        except KeyboardInterrupt:
            echo("\nstopped. Run the same command again to resume.", err=True)
            raise typer.Exit(130) from None


def _facts(study: Study) -> dict[str, Any]:
    """What ``study.json`` says beside the graph."""
    from galenic.artifact.manifest import versions

    return {
        "name": study.name,
        "description": study.description,
        "command": shlex.join(["galenic", *sys.argv[1:]]),
        "evaluate": study.evaluate.model_dump(mode="json", exclude={"model", "data", "threads"}),
        "versions": versions(),
    }
