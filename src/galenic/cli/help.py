"""How ``--help`` is printed: options in groups, descriptions over the width of the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

__all__ = ["GroupedCommand"]

WIDEST = 100
"""Columns: longer lines are hard to read."""
TERM = 26
"""Columns for the names of options; a longer name gets a line to itself."""
FIRST, ARGUMENTS = "Options", "Arguments"

Record = tuple[str, str]


class GroupedCommand(TyperCommand):
    """A command whose help shows its usual options first and the others in named groups.

    The group of an option is its ``rich_help_panel``; without one it is a usual option.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Print the help for one command, with its examples at the end."""
        console = Console()
        console.print(_help(self, ctx), width=min(console.width, WIDEST))


def _help(command: GroupedCommand, ctx: Any) -> RenderableType:
    parts: list[RenderableType] = [Text(), Text(command.get_usage(ctx).strip(), style="bold")]
    if command.help:
        parts += [Text(), Padding(Markdown(command.help), (0, 1))]
    for title, records in _groups(command.get_params(ctx), ctx):
        parts += [Text(), Rule(Text(title, style="bold"), align="left", style="dim")]
        parts += [Padding(_rows(records), (0, 0, 0, 1))]
    if command.epilog:
        parts += [Text(), Padding(Markdown(command.epilog), (0, 1)), Text()]
    return Group(*parts)


def _groups(params: Iterable[Any], ctx: Any) -> Iterator[tuple[str, list[Record]]]:
    """Arguments, usual options, then the groups in the order in which they are declared."""
    groups: dict[str, list[Record]] = {ARGUMENTS: [], FIRST: []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is None:
            continue
        usual = ARGUMENTS if param.param_type_name == "argument" else FIRST
        group = getattr(param, "rich_help_panel", None) or usual
        groups.setdefault(group, []).append((_short(record[0], param), _plain(record[1])))
    return ((title, records) for title, records in groups.items() if records)


def _short(names: str, param: Any) -> str:
    """An on/off option by the form that changes its default; simple words for types."""
    if getattr(param, "secondary_opts", None):
        names = param.secondary_opts[0] if param.default else param.opts[0]
    names = re.sub(r"<(int|float)( range)?>", "N", names)
    return re.sub(r"<(str|path)>", lambda found: "FILE" if found[1] == "path" else "TEXT", names)


def _plain(text: str) -> str:
    """Defaults of switches and bounds of numbers as a reader would say them."""
    text = re.sub(r"\[default: (no-)?[a-z]+(-[a-z]+)+\]", "", text)
    text = re.sub(r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2", text)
    text = re.sub(r"; x>=[01]\]|\[x>=[01]\]", lambda found: "]" if found[0][0] == ";" else "", text)
    text = re.sub(r"x>=(-?[\d.]+)", r"at least \1", text)
    text = re.sub(r"x<=(-?[\d.]+)", r"at most \1", text)
    return re.sub(r"\s+", " ", text).strip()


def _rows(records: list[Record]) -> RenderableType:
    width = min(TERM, max(len(term) for term, _ in records))
    rows: list[RenderableType] = []
    for term, text in records:
        name = Text(term, style="cyan")
        if len(term) > width:
            rows += [name, Padding(Text(text), (0, 0, 0, width + 2))]
            continue
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=width, no_wrap=True)
        row.add_column(ratio=1)
        row.add_row(name, Text(text))
        rows.append(row)
    return Group(*rows)
