"""The part of Go's text/template that our templates use, after https://pkg.go.dev/text/template.

Actions: ``if``, ``else``, ``else if``, ``range``, ``end``, ``$name := value``, ``$name = value``, a
value alone. Values: string literals, ``true``, ``false``, ``.Field``, ``$name``, and the functions
``eq``, ``ne``, ``not``. Anything else is an error, as a template that Ollama cannot parse would be.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["render_go"]

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\$\w*|\.\w+|\.|:=|=|\w+)')


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """Execute a template; ValueError where it is not well-formed."""
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in _ACTION.finditer(template):
        pieces += [("text", template[at : match.start()]), ("action", match[1].strip())]
        at = match.end()
    pieces.append(("text", template[at:]))
    if "{{" in template[at:]:
        raise ValueError("an action is not closed")
    nodes, rest = _parse(pieces)
    if rest:
        raise ValueError("an end too many")
    out: list[str] = []
    _run(nodes, data, {}, out)
    return "".join(out)


def _parse(pieces: list[tuple[str, str]]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Nodes up to the ``else`` or ``end`` that closes them, and the pieces from it on."""
    nodes: list[Any] = []
    while pieces:
        (kind, text), pieces = pieces[0], pieces[1:]
        words = text.split(None, 1)
        if kind == "text":
            nodes.append(("text", text))
        elif words[0] in ("end", "else"):
            return nodes, [(kind, text), *pieces]
        elif words[0] in ("if", "range"):
            body, pieces = _parse(pieces)
            other: list[Any] = []
            (_, closing), pieces = pieces[0], pieces[1:]
            if closing.startswith("else if "):
                nested = [("action", closing.removeprefix("else ")), *pieces]
                other, pieces = _parse_one(nested)
            elif closing == "else":
                other, pieces = _parse(pieces)
                pieces = pieces[1:]
            nodes.append((words[0], words[1], body, other))
        else:
            nodes.append(("value", text))
    return nodes, []


def _parse_one(pieces: list[tuple[str, str]]) -> tuple[list[Any], list[tuple[str, str]]]:
    """An ``else if``: one nested action that shares the closing ``end``."""
    (_, text), pieces = pieces[0], pieces[1:]
    body, pieces = _parse(pieces)
    other: list[Any] = []
    (_, closing), pieces = pieces[0], pieces[1:]
    if closing == "else":
        other, pieces = _parse(pieces)
        pieces = pieces[1:]
    return [("if", text.split(None, 1)[1], body, other)], pieces


def _run(nodes: Sequence[Any], dot: Any, variables: dict[str, Any], out: list[str]) -> None:
    for node in nodes:
        if node[0] == "text":
            out.append(node[1])
        elif node[0] == "if":
            _run(node[2] if _value(node[1], dot, variables) else node[3], dot, variables, out)
        elif node[0] == "range":
            for one in _value(node[1], dot, variables):
                _run(node[2], one, variables, out)
        else:
            _show(node[1], dot, variables, out)


def _show(text: str, dot: Any, variables: dict[str, Any], out: list[str]) -> None:
    match = re.fullmatch(r"(\$\w+)\s*(:=|=)\s*(.*)", text, re.DOTALL)
    if match is None:
        out.append(str(_value(text, dot, variables)))
        return
    name, sign, value = match.groups()
    if (sign == "=") != (name in variables):
        raise ValueError(f"{name} is set before it is declared, or declared twice")
    variables[name] = _value(value, dot, variables)


def _value(text: str, dot: Any, variables: Mapping[str, Any]) -> Any:
    tokens = list(_tokens(text))
    functions = {
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "not": lambda a: not a,
    }
    if tokens[0] in functions:
        return functions[tokens[0]](*(_operand(one, dot, variables) for one in tokens[1:]))
    [only] = tokens
    return _operand(only, dot, variables)


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"no Go: {text!r}")
        yield match[1]
        at = match.end()


def _operand(token: str, dot: Any, variables: Mapping[str, Any]) -> Any:
    if token.startswith('"'):
        return ast.literal_eval(token)
    if token in ("true", "false"):
        return token == "true"
    if token.startswith("$"):
        return variables[token]
    if token.startswith("."):
        return dot[token[1:]]
    raise ValueError(f"no Go: {token!r}")
