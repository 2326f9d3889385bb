"""Validation of handbook entries: sources, wording, length and readability.

The tests apply these checks to every entry, and ``tools/handbook/import_entries.py`` accepts no
entry that fails one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

import yaml

from galenic.assistant.handbook.entry import SAFETY, Entry, Place

__all__ = [
    "MOST_GRADE", "accepted", "entry_faults", "grade", "host_of", "hosts", "leaving",
    "place_faults",
]  # fmt: skip

MOST_GRADE = 9.0
"""Maximum Flesch-Kincaid grade level (US school years) of an entry; authors aim for about 8."""
MOST_WORDS = 27
"""Maximum number of words in a statement."""
_LEAST = {"topic": {"what": 1, "notice": 1}, "medicine": {"what": 1, "uses": 1}}
"""Minimum number of statements in a field, by kind of entry."""
_BAD = re.compile(
    r"\b\d+(\.\d+)?\s?(mg|mcg|g|ml|micrograms?|milligrams?|tablets?|pills?|capsules?)\b"
    r"|\bevery (\d+|four|six|eight) hours\b|\b(one|two|three|four) (tablets?|pills?|capsules?)\b"
    r"|\b(stop taking|skip (a|your) dose)\b|\b(999|911|111|112)\b"
    r"|nothing to worry|no need to (see|worry)",
    re.I,
)
"""Doses, advice to stop a medicine, emergency numbers and reassurance, which no statement may
contain."""
_SAFE_STOP = re.compile(r"(ask|talk|speak|check|see|not|never|without)\b.*\bstop taking", re.I)


@cache
def _suffixes(part: str) -> tuple[str, ...]:
    """Return the host suffixes of one section of ``hosts.yaml``: ``suffixes`` or ``leaving``."""
    text = files("galenic.assistant.handbook").joinpath("hosts.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)[part])


def accepted(url: str) -> bool:
    """Check whether a page's host is one that a statement may rely on (``hosts.yaml``).

    Example: ``https://www.nhs.uk/conditions/hives/`` is accepted.

    Args:
        url: address of the page.
    """
    return _is_of(url, "suffixes")


def leaving(url: str) -> bool:
    """Check whether a page's host may only be cited next to a page with an accepted host.

    Args:
        url: address of the page.
    """
    return _is_of(url, "leaving")


def _is_of(url: str, part: str) -> bool:
    """Check whether the host of an address ends with a suffix of a section of ``hosts.yaml``."""
    host = host_of(url)
    return any(host == one or host.endswith(f".{one}") for one in _suffixes(part))


def hosts(entry: Entry, place: Place) -> frozenset[str]:
    """Return the distinct hosts of the pages that a statement cites, without ``www.``.

    Args:
        entry: the entry that lists the pages.
        place: the statement, with its field.

    Returns:
        The hosts; empty if none of the pages has an accepted host.
    """
    pages = [entry.sources[key].url for key in place.statement.sources if key in entry.sources]
    if not any(accepted(url) for url in pages):
        return frozenset()
    return frozenset(host_of(url) for url in pages if accepted(url) or leaving(url))


def place_faults(entry: Entry, place: Place) -> Iterator[str]:
    """Yield a description of each rule that a statement breaks; nothing if it is valid.

    A statement must be one sentence of 4 to 27 words that can stand alone, with no amounts of
    medicines, and it must cite an accepted host; those on safety must cite two.

    Args:
        entry: the entry that the statement belongs to.
        place: the statement, with its field.
    """
    text, known = place.statement.text, entry.sources
    size = len(text.split())
    if not 4 <= size <= MOST_WORDS:
        yield f"{size} words"
    if not re.fullmatch(r"[^;]+[.]", text):
        yield "not one sentence that ends with a full stop"
    if re.match(r"(It|They|This|These|He|She)\b", text):
        yield "begins with a pronoun, so it cannot stand alone"
    if (found := _BAD.search(text)) and not _SAFE_STOP.search(text):
        yield f"an amount, stop advice or reassurance: {found[0]!r}"
    if missing := [key for key in place.statement.sources if key not in known]:
        yield f"no source of the name {', '.join(missing)}"
    pages = [known[key].url for key in place.statement.sources if key in known]
    if not all(accepted(url) or leaving(url) for url in pages):
        yield "a source whose host is not accepted"
    if len(hosts(entry, place)) < (2 if place.field in SAFETY else 1):
        yield "too few hosts"


def entry_faults(entry: Entry) -> Iterator[str]:
    """Yield a description of each rule that an entry as a whole breaks; nothing if it is valid.

    The rules concern the numbers of names, questions and statements, advice on when to seek help,
    and readability. Single statements are checked by `place_faults`.
    """
    if len(entry.also) < 4:
        yield "fewer than 4 other names"
    if not 3 <= len(entry.questions) <= 6:
        yield "not 3 to 6 questions"
    for name, least in _LEAST[entry.kind].items():
        if len(getattr(entry, name)) < least:
            yield f"{name}: fewer than {least} statements"
    if not any((entry.seek.emergency, entry.seek.today, entry.seek.days)):
        yield "nothing on when to seek help"
    if len(list(entry.places())) < 8:
        yield "fewer than 8 statements"
    if (found := grade([one.statement.text for one in entry.places()])) > MOST_GRADE:
        yield f"school grade {found:.1f}, at most {MOST_GRADE:.0f} (Flesch and Kincaid)"


def grade(sentences: list[str]) -> float:
    """Return the Flesch-Kincaid grade level of sentences (Kincaid et al. 1975).

    Args:
        sentences: one string per sentence.

    Returns:
        US school years needed to understand the text; 0 for a text without words. Syllables are
        estimated from groups of vowels.
    """
    words = [word for sentence in sentences for word in sentence.split()]
    if not words:
        return 0.0
    return (
        0.39 * len(words) / len(sentences) + 11.8 * sum(map(_syllables, words)) / len(words) - 15.59
    )


def _syllables(word: str) -> int:
    """Estimate the number of syllables of a word from its groups of vowels: 3 for "medicine"."""
    plain = re.sub(r"[^a-z]", "", word.lower())
    count = len(re.findall(r"[aeiouy]+", plain))
    silent = plain.endswith("e") and not plain.endswith("le") and count > 1
    return max(count - silent, 1) if plain else 0


def host_of(url: str) -> str:
    """Return the host of an address in lower case, without ``www.``."""
    return urlsplit(url).netloc.lower().rstrip(".").removeprefix("www.").removeprefix("www2.")
