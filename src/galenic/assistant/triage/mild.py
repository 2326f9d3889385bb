"""Recognise messages whose words the classifier misjudges: small complaints and medicine lists."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml

from galenic.assistant.triage.words.wording import flatten
from galenic.record.medicines import named_in

__all__ = ["is_medicine_list", "is_mild"]


class _Lists(NamedTuple):
    """The word lists of ``data/mild.yaml``, compiled."""

    complaints: re.Pattern[str]
    plain: frozenset[str]
    medicine_list: frozenset[str]


def is_mild(text: str) -> bool:
    """Check whether a text names a small complaint and holds plain words besides, nothing else.

    "My legs keep twitching" does; "my legs keep twitching and I collapsed" does not.
    """
    lists = _lists()
    rest, found = lists.complaints.subn(" ", _bare(flatten(text)))
    return found > 0 and all(word in lists.plain or word.isdigit() for word in rest.split())


def is_medicine_list(text: str) -> bool:
    """Check whether a text names two medicines that were prescribed or are taken, and nothing else.

    "I take warfarin and the dentist gave me metronidazole" does; with an amount, another person who
    took them, or a complaint beside, it does not.
    """
    named = named_in(text)
    rest = f" {_bare(flatten(text))} "
    for name in named.values():
        rest = rest.replace(f" {_bare(name)} ", " ")
    return len(named) > 1 and _lists().medicine_list.issuperset(rest.split())


def _bare(text: str) -> str:
    """Return a text's letters and digits only, with single spaces between them."""
    return " ".join(re.findall(r"[a-z0-9]+", text))


@cache
def _lists() -> _Lists:
    path = files("galenic.assistant.triage").joinpath("data/mild.yaml")
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    return _Lists(
        complaints=re.compile(rf"\b(?:{'|'.join(file['complaints'])})\b"),
        plain=frozenset(file["plain"].split()),
        medicine_list=frozenset(file["medicine_list"].split()),
    )
