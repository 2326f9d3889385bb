"""Recognise messages whose words the classifier misjudges: small complaints and medicine lists."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml

from galenic.assistant.triage.words.wording import flatten
from galenic.record.medicines import named_in

__all__ = ["is_medicine_list", "is_mild"]


def is_mild(text: str) -> bool:
    """Check whether a text names a small complaint and holds plain words besides, nothing else.

    "My legs keep twitching" does; "my legs keep twitching and I collapsed" does not.
    """
    complaints, plain = _words()
    rest, found = complaints.subn(" ", " ".join(re.findall(r"[a-z0-9]+", flatten(text))))
    return found > 0 and all(word in plain or word.isdigit() for word in rest.split())


def is_medicine_list(text: str) -> bool:
    """Check whether a text names two medicines that were prescribed or are taken, and nothing else.

    "I take warfarin and the dentist gave me metronidazole" does; with an amount, another person who
    took them, or a complaint beside, it does not.
    """
    named = named_in(text)
    rest = f" {' '.join(re.findall(r'[a-z0-9]+', flatten(text)))} "
    for name in named.values():
        rest = rest.replace(f" {' '.join(re.findall(r'[a-z0-9]+', name))} ", " ")
    return len(named) > 1 and all(word in _list_words() for word in rest.split())


@cache
def _list_words() -> frozenset[str]:
    path = files("galenic.assistant.triage").joinpath("data/mild.yaml")
    return frozenset(yaml.safe_load(path.read_text(encoding="utf-8"))["medicine_list"].split())


@cache
def _words() -> tuple[re.Pattern[str], frozenset[str]]:
    path = files("galenic.assistant.triage").joinpath("data/mild.yaml")
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    return re.compile(rf"\b(?:{'|'.join(file['complaints'])})\b"), frozenset(file["plain"].split())
