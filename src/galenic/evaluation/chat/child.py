"""Render chat templates in a process of its own, which may be ended at any time.

Run as a file: it needs the standard library and Jinja alone, so that it starts quickly. It writes a
line when it is ready; then each line of the input is a request in JSON, each line of the output its
answer.
"""

from __future__ import annotations

import json
import signal
import sys
from datetime import date
from functools import lru_cache
from typing import Any

__all__ = ["main", "render"]


class _Refused(Exception):  # noqa: N818 - the template's own words, no fault
    """What a template says by ``raise_exception``."""


class _TooLong(Exception):  # noqa: N818
    """More text than is allowed."""


def render(template: str, names: dict[str, Any], most: int, day: str) -> str:
    """The text of a template.

    Args:
        template: Jinja text as model files carry it; it runs sandboxed.
        names: what it may use, such as ``messages``.
        most: characters that it may write.
        day: what it takes for today, in the form of ISO.
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
        """Without the escapes of HTML that Jinja's own filter writes."""
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
    """``{% generation %}``, which marks what is learnt and writes nothing."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            # a scope, as in transformers: what is set within is not seen outside
            return nodes.Scope(body).set_lineno(line)

    return GenerationTag


def main(seconds: float, memory: int) -> None:
    """Answer requests until the input ends.

    Args:
        seconds: of the processor for one of them; the process ends beyond, where the system can.
        memory: bytes that the process may take, where the system can.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
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
        return {"refused": str(error)}
    except _TooLong:
        return {"limit": "length"}
    except MemoryError:
        return {"limit": "memory"}
    except Exception as error:  # noqa: BLE001 - a template can raise whatever it likes
        return {"broken": f"{type(error).__name__}: {error}"[:2000]}


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
