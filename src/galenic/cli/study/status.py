"""``galenic status``: the state of each node of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Show the state of a study's nodes (a node is one stage, or one measurement of one model): "
    "done, running, waiting, failed (with the reason), or blocked by one that failed."
)
EXAMPLES = """
**Examples**

`galenic status runs/paper`

`galenic status runs/paper --json`
"""


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the state of a study's nodes."""
    from galenic.cli.board import how_far, state_line
    from galenic.study.store import StudyFolder

    store = StudyFolder(folder)
    nodes, states = store.read()["nodes"], store.states()
    if as_json:
        echo(json.dumps({"nodes": {k: nodes[k] | {"state": states[k]} for k in nodes}}))
        return
    for node_id, state in states.items():
        node = store.node(node_id)
        line = f"{state:<8}  {nodes[node_id]['title']}"
        if state == "running":
            line += f"  ({how_far(node.progress)})"
        echo(line)
        if state == "failed" and (why := node.failure):
            echo(f"          {why.message}\n          log: {node.log}")
    echo(state_line(states))
