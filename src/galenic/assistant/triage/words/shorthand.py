"""Shorthand of clinicians written out: "62M CP, diaphoretic" says "chest pain, sweating".

A letter or two may mean many things ("HA", "PE", "CP"): those are read only where the text shows
other shorthand. The table is data: ``data/shorthand.yaml``.
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
"""Signs of shorthand in a text from which doubtful ones are read."""


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
    """The text with its shorthand in words; as it is where there is none."""
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
