"""Ways to damage a file, text or JSON value: seeded, small, and as nasty as the last attacker's."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

__all__ = ["BAD_TEXTS", "bytes_of", "dumped", "json_of", "json_value", "text_of", "value_of"]

BAD_NUMBERS = (0, -1, 1, 2, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, 1e-308)
BAD_FLOATS = (float("nan"), float("inf"), float("-inf"))
BAD_TEXTS = (
    "",
    " ",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "\x00",
    "a\x00b",
    "\ud800",
    "\U0010ffff",
    "\u202e",
    "[/red]",
    "[bold]",
    "{{ 9**(9**9) }}",
    "%s%n",
    "(a+)+$",
    "(((((",
    "x" * 300_000,
    "\n" * 1000,
    "NaN",
    "-1",
    "CON",
    "a/b/c",
    "\u0130",
)


def bytes_of(rng: random.Random, data: bytes, near: int = 0) -> bytes:
    """A few edits of bytes, in the first ``near`` bytes where that is told."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        end = min(near or len(out), len(out)) or 1
        at = rng.randrange(end)
        way = rng.randrange(8)
        if way == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            out[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5B))])
        elif way == 2:
            size = rng.choice((4, 8))
            number = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1, len(data)))
            out[at : at + size] = struct.pack("<Q", number)[:size]
        elif way == 3:
            del out[at : at + rng.choice((1, 4, 8, 100, len(out)))]
        elif way == 4:
            piece = out[at : at + rng.choice((1, 8, 64))]
            out[at:at] = piece * rng.choice((1, 2, 1000))
        elif way == 5:
            out[at:at] = rng.randbytes(rng.choice((1, 8, 64)))
        elif way == 6:
            out += rng.randbytes(rng.choice((1, 7, 4096)))
        else:
            other = rng.randrange(end)
            out[at : at + 16], out[other : other + 16] = out[other : other + 16], out[at : at + 16]
    return bytes(out)


def value_of(rng: random.Random, old: Any = None) -> Any:  # noqa: PLR0911
    """Another value than is meant."""
    way = rng.randrange(10)
    if way == 0:
        return rng.choice(BAD_NUMBERS)
    if way == 1:
        return rng.choice(BAD_FLOATS)
    if way == 2:
        return rng.choice(BAD_TEXTS)
    if way == 3:
        return rng.choice((None, True, False, [], {}, [None], [[]], {"": None}))
    if way == 4:
        return [old] * rng.choice((1, 2, 100))
    if way == 5:
        return {"a": old}
    if way == 6:
        return str(old) if isinstance(old, int | float | str) else "x"
    if way == 7 and isinstance(old, int | float):
        return -old
    if way == 8 and isinstance(old, int):
        return old + rng.choice((-1, 1, 7))
    deep: Any = old
    for _ in range(rng.choice((3, 2000))):
        deep = [deep]
    return deep


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if len(path) > 30:
        return found
    if isinstance(value, dict):
        for key, one in value.items():
            found += _places(one, (*path, key))
    elif isinstance(value, list):
        for at, one in enumerate(value[:50]):
            found += _places(one, (*path, at))
    return found


def json_value(rng: random.Random, value: Any) -> Any:
    """Replace, drop, double or rename something at a place anywhere within."""
    value = json.loads(json.dumps(value))  # a copy
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice(_places(value))
        if not path:
            if rng.random() < 0.1:
                return value_of(rng, value)
            continue
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        last = path[-1]
        way = rng.randrange(6)
        if way == 0:
            del holder[last]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice(BAD_TEXTS)] = holder.pop(last)
        elif way == 2 and isinstance(holder, list):
            holder.append(holder[last])
        else:
            holder[last] = value_of(rng, holder[last])
    return value


def json_of(rng: random.Random, value: Any, **options: Any) -> bytes:
    """JSON text of a changed value; now and then the text itself is changed too."""
    data = dumped(json_value(rng, value), **options)
    return bytes_of(rng, data) if rng.random() < 0.15 else data


def dumped(value: Any, **options: Any) -> bytes:
    """A value as JSON text, whatever is in it."""
    try:
        return json.dumps(value, **options).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b'{"a": ' + b"[" * 5000


def text_of(rng: random.Random, text: str) -> str:
    """A text with pieces cut, doubled, swapped and put in."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        way = rng.randrange(5)
        if way == 0:
            text = text[:at] + text[at + rng.choice((1, 3, 30)) :]
        elif way == 1:
            text = text[:at] + rng.choice(BAD_TEXTS) + text[at:]
        elif way == 2:
            piece = text[at : at + 40]
            text = text[:at] + piece * rng.choice((2, 50)) + text[at:]
        elif way == 3:
            text = text[:at] + chr(rng.choice((0, 10, 13, 0x7F, 0x85, 0x200B, 0xD800, 0x1F600)))
        else:
            other = rng.randrange(len(text) + 1)
            text = text[: min(at, other)] + text[max(at, other) :]
    return text
