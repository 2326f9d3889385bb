"""Expand clinical abbreviations: "62M CP, diaphoretic" contains "chest pain" and "sweating".

Ambiguous abbreviations ("HA", "PE", "CP") are expanded only if the text contains other clinical
shorthand. The table is data: ``data/shorthand.yaml``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["written_out"]

WANTED = 2
"""Number of signs of shorthand in a text from which ambiguous abbreviations are expanded."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    signs: str
    sure: dict[str, str]
    doubtful: dict[str, str]


@dataclass(frozen=True)
class _Ready:
    signs: re.Pattern[str]
    sure: re.Pattern[str]
    doubtful: re.Pattern[str]
    words: dict[str, str]


def written_out(text: str) -> str:
    """Return a text with clinical abbreviations expanded."""
    ready = _ready()
    sure = len(ready.sure.findall(text))
    signs = sure + len(ready.signs.findall(text))
    doubtful = {found[0] for found in ready.doubtful.finditer(text)}
    if doubtful and signs + len(doubtful) >= WANTED:
        text = ready.doubtful.sub(lambda found: ready.words[found[0]], text)
    return ready.sure.sub(lambda found: ready.words[found[0].lower()], text) if sure else text


@cache
def _ready() -> _Ready:
    path = files("galenic.assistant.triage").joinpath("data/shorthand.yaml")
    file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    return _Ready(
        re.compile(file.signs),
        _any(file.sure, re.IGNORECASE),
        _any(file.doubtful, 0),
        {**file.sure, **file.doubtful},
    )


def _any(table: dict[str, str], flags: int) -> re.Pattern[str]:
    longest = sorted(table, key=len, reverse=True)
    return re.compile(rf"(?<![\w/])(?:{'|'.join(map(re.escape, longest))})(?![\w/])", flags)
