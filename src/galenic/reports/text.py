"""Formatting of numbers and texts in tables, shared by terminal, Markdown and HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from galenic.reading import has_suffix

__all__ = [
    "count",
    "method",
    "model_name",
    "p_value",
    "percent",
    "proportion",
    "shorten",
    "signed",
    "span",
    "spark",
    "stored",
]

BARS = "▁▂▃▄▅▆▇█"


def proportion(value: float | None, places: int = 3) -> str:
    """Format a share as ``.312``, 1 as ``1.000``, and None as a dash."""
    if value is None:
        return "–"
    return f"{value:.{places}f}".removeprefix("0")


def percent(value: float) -> str:
    """Format a share as ``97 %``."""
    return f"{100 * value:.0f} %"


def signed(value: float | None, places: int = 3) -> str:
    """Format a difference as ``+.031`` or ``−.031``, with a Unicode minus sign."""
    if value is None:
        return "–"
    text = f"{abs(value):.{places}f}".removeprefix("0")
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def span(low: float, high: float, places: int = 3) -> str:
    """Format an interval of shares as ``.252–.379``."""
    return f"{proportion(low, places)}–{proportion(high, places)}"


def method(scoring: str, debias: str) -> str:
    """Name scoring and debiasing together: ``letter``, ``letter + permutations``."""
    return scoring if debias == "none" else f"{scoring} + {debias}"


def model_name(model: str) -> str:
    """Return a model's name for headings: the last part of a path, or a Hub id unchanged."""
    is_path = model.startswith(("/", ".", "~")) or has_suffix(model, ".gguf") or "\\" in model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if is_path else model


def p_value(value: float) -> str:
    """Format a p-value as ``.031``, or ``<.0001`` if smaller."""
    return "<.0001" if value < 0.0001 else proportion(value, 4)


def count(value: int) -> str:
    """Format an integer with thousands separators: ``134,515,008``."""
    return f"{value:,}"


def shorten(text: str, width: int) -> str:
    """Shorten to one line of at most ``width`` characters, at a word boundary if possible."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    cut = line[: width - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > width // 2 else cut) + "…"


def spark(counts: dict[str, int]) -> str:
    """Format a histogram in one line: ``A▇ B▂ C▁ D·``, with a dot for a count of zero."""
    top = max(counts.values(), default=0)
    parts = []
    for label, number in counts.items():
        level = (number * len(BARS) - 1) // top if number else -1
        parts.append(f"{label}{BARS[level] if level >= 0 else '·'}")
    return " ".join(parts)


def stored(size: Mapping[str, Any]) -> str:
    """Say how a file stores a weight: ``float32``, or ``4.5 bits``; "" if unknown.

    Shown next to sizes, because a float32 file next to a quantized one compares two things at once.

    Args:
        size: measurements of a file; ``bits_per_weight`` is read.
    """
    bits = size.get("bits_per_weight")
    return "" if not bits else "float32" if bits > 24 else f"{bits:.3g} bits"
