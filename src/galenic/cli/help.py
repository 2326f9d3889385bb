"""How ``--help`` is printed: options in groups, descriptions over the width of the terminal."""

from __future__ import annotations

import re
import textwrap
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
FIRST, ARGUMENTS, EXAMPLES = "Options", "Arguments", "Examples"
TYPES = {"int": "N", "float": "N", "str": "TEXT", "path": "PATH", "bool": ""}

Record = tuple[str, str]


class GroupedCommand(TyperCommand):
    """A command whose help shows its usual options first and the others in named groups.

    The group of an option is its ``rich_help_panel``; without one it is a usual option.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Print the help for one command, with its examples at the end."""
        console = Console()
        width = min(console.width, WIDEST)
        console.print(_help(self, ctx, width), width=width)


def _help(command: GroupedCommand, ctx: Any, width: int) -> RenderableType:
    usage = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), command.get_usage(ctx).strip())
    parts: list[RenderableType] = [Text(), Text(usage, style="bold")]
    if command.help:
        parts += [Text(), Padding(Markdown(command.help), (0, 1))]
    for title, records in _groups(command.get_params(ctx), ctx):
        parts += [*_head(title), Padding(_rows(records), (0, 0, 0, 1))]
    if command.epilog:
        parts += [*_head(EXAMPLES), Padding(_examples(command.epilog, width - 1), (0, 0, 0, 1))]
    return Group(*parts, Text())


def _head(title: str) -> list[RenderableType]:
    return [Text(), Rule(Text(title, style="bold"), align="left", style="dim")]


def _groups(params: Iterable[Any], ctx: Any) -> Iterator[tuple[str, list[Record]]]:
    """Arguments, usual options, then the groups in the order in which they are declared."""
    groups: dict[str, list[Record]] = {ARGUMENTS: [], FIRST: []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is None:
            continue
        usual = ARGUMENTS if param.param_type_name == "argument" else FIRST
        group = getattr(param, "rich_help_panel", None) or usual
        names, text = (_short(record[0], param), _plain(record[1], param))
        groups.setdefault(group, []).append((names, text))
    return ((title, records) for title, records in groups.items() if records)


def _is_on(param: Any) -> bool:
    """Whether a switch does something unless it is turned off."""
    return bool(param.default) or "default: on" in (param.help or "")


def _short(names: str, param: Any) -> str:
    """A switch that is off by the form that turns it on; simple words for types."""
    if getattr(param, "secondary_opts", None):
        return "/".join([param.opts[0], *(param.secondary_opts if _is_on(param) else [])])
    names = re.sub(r"<list\[(\w+)\]>", lambda found: f"<{found[1].lower()}>", names)
    return re.sub(r"<(\w+)( range)?>", lambda found: TYPES.get(found[1], found[0]), names).strip()


def _plain(text: str, param: Any) -> str:
    """Defaults of switches and bounds of numbers as a reader would say them."""
    if getattr(param, "secondary_opts", None):
        text = re.sub(r"\[default: [\w-]+\]", "[default: on]" if _is_on(param) else "", text)
    text = re.sub(r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2", text)
    text = re.sub(r"; x>=[01]\]|\[x>=[01]\]", lambda found: "]" if found[0][0] == ";" else "", text)
    text = re.sub(r"x>=(-?[\d.]+)", r"at least \1", text)
    text = re.sub(r"x<=(-?[\d.]+)", r"at most \1", text)
    text = re.sub(r"\]\s+\[", "; ", text)
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


def _examples(epilog: str, width: int) -> RenderableType:
    """Each command as it can be copied, what it does below it, as a comment of the shell."""
    parts: list[RenderableType] = []
    for paragraph in epilog.strip().split("\n\n"):
        found = re.match(r"`([^`]+)`(.*)", paragraph.strip(), re.DOTALL)
        if found is None:
            note = paragraph.replace("**Examples**", "").strip(" \n():")
            parts += [Text(f"({note})", style="dim")] if note else []
            continue
        parts.append(Text(_broken(found[1], width), style="cyan"))
        if said := " ".join(found[2].replace("`", "").split()):
            lines = textwrap.wrap(said, width - 6)
            parts += [Text(f"    # {line}") for line in lines]
    return Group(*parts)


def _broken(command: str, width: int) -> str:
    """A command over several lines where it is long, broken before options, as a shell reads it."""
    quoted = r"(?:\"[^\"]*\"|'[^']*'|\S)+"
    lines = [""]
    for part in re.findall(rf"{quoted}(?: (?!-|&&){quoted})*", command):
        if lines[-1] and len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return "\n".join(lines)
