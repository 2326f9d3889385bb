"""How numbers and texts are written in tables, the same in terminal, Markdown and HTML."""

from __future__ import annotations

import re

__all__ = [
    "count",
    "method",
    "model_name",
    "p_value",
    "proportion",
    "shorten",
    "signed",
    "span",
    "spark",
]

BARS = "▁▂▃▄▅▆▇█"


def proportion(value: float | None, places: int = 3) -> str:
    """A share as ``.312``; 1 as ``1.000``; nothing as a dash."""
    if value is None:
        return "–"
    return f"{value:.{places}f}".removeprefix("0")


def signed(value: float | None, places: int = 3) -> str:
    """A difference as ``+.031`` or ``−.031``, with a real minus sign."""
    if value is None:
        return "–"
    text = f"{abs(value):.{places}f}".removeprefix("0")
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def span(low: float, high: float, places: int = 3) -> str:
    """An interval of shares as ``.252–.379``."""
    return f"{proportion(low, places)}–{proportion(high, places)}"


def method(scoring: str, debias: str) -> str:
    """A scoring and its debiasing in one name: ``letter``, ``letter + permutations``."""
    return scoring if debias == "none" else f"{scoring} + {debias}"


def model_name(model: str) -> str:
    """A model's name for a heading: of a path only the last part, a Hub id as it is."""
    is_path = model.startswith(("/", ".", "~")) or model.endswith(".gguf") or "\\" in model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if is_path else model


def p_value(value: float) -> str:
    """A p-value as ``.031``, or ``<.0001`` where more digits would say nothing."""
    return "<.0001" if value < 0.0001 else proportion(value, 4)


def count(value: int) -> str:
    """A whole number with its thousands set off: ``134,515,008``."""
    return f"{value:,}"


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters, cut at a word where it can be."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    cut = line[: width - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > width // 2 else cut) + "…"


def spark(counts: dict[str, int]) -> str:
    """A histogram in one line: ``A▇ B▂ C▁ D·`` with a dot for a label that never came."""
    top = max(counts.values(), default=0)
    parts = []
    for label, number in counts.items():
        level = (number * len(BARS) - 1) // top if number else -1
        parts.append(f"{label}{BARS[level] if level >= 0 else '·'}")
    return " ".join(parts)
