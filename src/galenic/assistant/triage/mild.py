"""Recognise messages about small complaints only, whose words the classifier misjudges."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml

from galenic.assistant.triage.words.wording import flatten

__all__ = ["is_mild"]


def is_mild(text: str) -> bool:
    """Check whether a text names a small complaint and holds plain words besides, nothing else.

    "My legs keep twitching" does; "my legs keep twitching and I collapsed" does not.
    """
    complaints, plain = _words()
    rest, found = complaints.subn(" ", " ".join(re.findall(r"[a-z0-9]+", flatten(text))))
    return found > 0 and all(word in plain or word.isdigit() for word in rest.split())


@cache
def _words() -> tuple[re.Pattern[str], frozenset[str]]:
    path = files("galenic.assistant.triage").joinpath("data/mild.yaml")
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    return re.compile(rf"\b(?:{'|'.join(file['complaints'])})\b"), frozenset(file["plain"].split())
