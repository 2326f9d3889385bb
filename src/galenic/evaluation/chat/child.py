"""Child process that renders chat templates and may be killed at any time.

Run as a script: it imports only the standard library and Jinja, so that it starts quickly. It
prints a line when it is ready; then it answers each JSON request line on standard input with a
line on standard output.
"""

from __future__ import annotations

import json
import signal
import sys
from datetime import date
from functools import lru_cache
from typing import Any

__all__ = ["main", "render"]

MESSAGE = 2000
"""Maximum characters of an error message that is passed on."""


class _Refused(Exception):  # noqa: N818 - raised on behalf of the template, not a failure
    """Raised when a template calls ``raise_exception``; carries its message."""


class _TooLong(Exception):  # noqa: N818
    """Raised when the output exceeds its maximum length."""


def render(template: str, names: dict[str, Any], most: int, day: str) -> str:
    """Render a template in a sandbox.

    Args:
        template: Jinja source as stored in model files.
        names: variables of the template, such as ``messages``.
        most: maximum length of the output in characters.
        day: date that the template gets as today, in ISO format.
    """
    pieces, length = [], 0
    for piece in _compiled(template, day).generate(**names):
        length += len(piece)
        if length > most:
            raise _TooLong
        pieces.append(piece)
    return "".join(pieces)


@lru_cache(maxsize=8)
def _compiled(template: str, day: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise _Refused(str(message))

    def as_json(value: Any, **options: Any) -> str:
        """The ``tojson`` filter, without the HTML escaping of Jinja's own."""
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _generation_marks()],
    )
    environment.filters["tojson"] = as_json
    environment.globals.update(
        raise_exception=refuse, strftime_now=date.fromisoformat(day).strftime
    )
    return environment.from_string(template)


def _generation_marks() -> Any:
    """Extension for ``{% generation %}`` blocks, which mark training targets and output nothing."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            # a scope, as in transformers: variables set inside are not visible outside
            return nodes.Scope(body).set_lineno(line)

    return GenerationTag


def main(seconds: float, memory: int) -> None:
    """Answer requests until the input ends.

    Args:
        seconds: CPU time limit of one request, if the system supports it; the process then ends.
        memory: memory limit of the process in bytes, if the system supports it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _compiled("", "2025-01-01")  # imports Jinja
    _say({})
    for line in sys.stdin.buffer:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = _answer(json.loads(line))
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, 0)
        _say(answer)


def _say(answer: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _answer(asked: dict[str, Any]) -> dict[str, str]:
    try:
        return {"text": render(asked["template"], asked["names"], asked["most"], asked["day"])}
    except _Refused as error:
        return {"refused": str(error)[:MESSAGE]}
    except _TooLong:
        return {"limit": "length"}
    except MemoryError:
        return {"limit": "memory"}
    except Exception as error:  # noqa: BLE001 - a template can raise anything
        return {"broken": f"{type(error).__name__}: {error}"[:MESSAGE]}


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
