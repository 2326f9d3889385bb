"""What of long texts and of what was said before is read: the message whole, history by its dates.

A letter of years ago does not tell how somebody is now. Its symptoms are left out; what it says of
whom it is about (an illness, an operation) is read all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

__all__ = ["MOST_CHARACTERS", "MOST_EARLIER", "bounded", "last_of", "recent"]

MOST_CHARACTERS = 120_000
"""Of a message that is read whole, after sentences that stand in it twice are left out."""
MOST_BETWEEN = 40_000
"""Characters of a longer one that are read between its beginning and its end: the sentences with
most words that may matter."""
LONGEST = 5_000_000
"""Characters of which sentences between are chosen; of a longer message the rest is not seen."""
MOST_EARLIER = 200_000
"""Characters of history that are read, the latest ones."""
OLD, VERY_OLD = timedelta(days=30), timedelta(days=365)
"""From this age on what is dated counts only with words of the present, and not at all."""
CUT_NOTE = (
    "Your message has {total:,} characters. The first and the last {part:,} were read, and between "
    "them only some sentences. Say the most important things in a shorter message."
)
EARLIER_NOTE = "Of your notes and earlier messages only the last {part:,} characters were read."

_SENTENCE = re.compile(r"[^.!?\n]{1,2000}[.!?\n]*\s*|[.!?\n]+")
_MATTERS = re.compile(
    r"(?:pain|hurt|breath|chok|chest|blood|bleed|faint|collaps|unconsc|respond|answer|wak|stroke|face"
    r"|droop|numb|weak|speech|seiz|fit|fever|temp|burning|rash|swell|swoll|throat|tongue|suicid|kill"
    r"|die|dying|dead|end it|live|overdos|tablet|pill|paracetamol|took|swallow|drank|poison|baby"
    r"|pregnan|head|vomit|confus|blue|grey|heart|crush|sugar|oxygen|sats|oximeter|pulse|now|suddenly)"
)
"""Beginnings of words by which sentences are chosen where not all can be read."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<word>jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    r"\b(?P<iso>(?:19|20)\d\d-\d\d?(?:-\d\d?)?)\b"
    r"|\b(?P<a>\d{1,2})[./-](?P<b>\d{1,2})[./-](?P<y>(?:19|20)?\d\d)\b"
    rf"|\b{_MONTH},? (?:\d{{1,2}}(?:st|nd|rd|th)?,? )?(?P<my>(?:19|20)\d\d)\b"
    r"|\b(?:in|of|dated|summer|winter|spring|autumn) (?P<only>(?:19|20)\d\d)\b"
    r"|^\W*(?P<first>(?:19|20)\d\d)\b(?! ?(?:mg|ml|kcal|steps))",
    re.IGNORECASE,
)
_SINCE = re.compile(r"\b(?:since|from|until|due)\W*(?:\d{1,2}\W*)?(?:the )?$", re.IGNORECASE)
"""Before a date that does not say when something was over."""
_NOW = re.compile(
    r"\b(?:now|today|tonight|still|since|again|worse|worsening|currently|at the moment|"
    r"this (?:morning|afternoon|evening|week)|yesterday|last night|hours? ago)\b",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"\b(?:letter|discharge|clinic|report|dear|dictated|admitted|admission|hospital|ward|seen|"
    r"appointment|consultation|results?|regards)\b",
    re.IGNORECASE,
)


def bounded(text: str) -> tuple[str, tuple[str, ...]]:
    """The part of a message that is read, and a note where that is not all of it."""
    if len(text) <= MOST_CHARACTERS:
        return text, ()
    once = text if len(text) > LONGEST else "".join(dict.fromkeys(_SENTENCE.findall(text)))
    if len(once) <= MOST_CHARACTERS:
        return once, ()
    part = MOST_CHARACTERS // 2
    note = CUT_NOTE.format(total=len(text), part=part)
    between = _that_matter(dict.fromkeys(_SENTENCE.findall(once[part:-part][:LONGEST])))
    return f"{once[:part]}\n\n{between}\n\n{once[-part:]}", (note,)


def _that_matter(sentences: Iterable[str]) -> str:
    """Those with most words that may matter, in their order."""
    found = [(len(set(_MATTERS.findall(one.lower()))), one) for one in sentences]
    left, kept = MOST_BETWEEN, set()
    for points, one in sorted(found, key=lambda pair: -pair[0]):
        if points and len(one) <= left:
            kept.add(one)
            left -= len(one)
    return "".join(one for _, one in found if one in kept)


def last_of(history: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The latest of what was said before, as much as is read, and a note where that is not all."""
    left, kept = MOST_EARLIER, []
    for one in reversed(history):
        if left <= 0:
            break
        kept.append(one[-left:])
        left -= len(one)
    cut = sum(map(len, kept)) < sum(map(len, history))
    note = (EARLIER_NOTE.format(part=MOST_EARLIER),) if cut else ()
    return [one for one in reversed(kept) if one.strip()], note


def recent(text: str, today: date | None = None) -> str:
    """The text without paragraphs that their dates make old.

    A line is as old as its newest date; lines without a date belong to the one before them, up to
    an empty line, those of a letter beyond it, up to words of the present.
    """
    now = today or date.today()
    kept, old, letter = [], False, False
    for block in re.split(r"\n\s*\n", text):
        old = old and letter and not _NOW.search(block)
        for line in block.split("\n"):
            days = list(_dates(line, now))
            if days:
                age = now - max(days)
                old = age > VERY_OLD or (age > OLD and not _NOW.search(line))
                letter = letter or bool(_LETTER.search(line))
            if not old:
                kept.append(line)
        kept.append("")
    return "\n".join(kept).strip()


def _dates(line: str, today: date) -> Iterator[date]:
    """The days that a line names, the latest possible ones; none of time to come."""
    for found in _DATE.finditer(line):
        day = _day(found)
        ongoing = _SINCE.search(line[: found.start()])
        if day is not None and not ongoing:
            yield min(day, today)


def _day(found: re.Match[str]) -> date | None:
    if found["iso"]:
        parts = [int(part) for part in found["iso"].split("-")]
        return _last(*parts)
    if found["y"]:
        year = int(found["y"]) + (2000 if len(found["y"]) == 2 else 0)
        one, two = int(found["a"]), int(found["b"])
        days = [day for day in (_last(year, two, one), _last(year, one, two)) if day is not None]
        return max(days, default=None)
    if found["my"]:
        return _last(int(found["my"]), _MONTHS.index(found["word"][:3].lower()) + 1)
    return _last(int(found["only"] or found["first"]))


def _last(year: int, month: int = 12, day: int = 0) -> date | None:
    """The day, or the last one of the month or the year."""
    try:
        if day:
            return date(year, month, day)
        return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    except ValueError:
        return None
