"""Select the parts of long messages and of earlier messages that are read.

A message is read in full up to a limit; of earlier messages, paragraphs that are old by their dates
are left out. The symptoms of a letter from years ago do not describe how somebody is now; lasting
facts in it (a chronic illness, an operation) are read separately by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

__all__ = ["MOST_CHARACTERS", "MOST_EARLIER", "bounded", "last_of", "recent"]

MOST_CHARACTERS = 120_000
"""Length in characters up to which a message, without repeated sentences, is read in full."""
MOST_BETWEEN = 40_000
"""Maximum number of characters read between the beginning and the end of a longer message; the
sentences with the most medically relevant words are chosen."""
LONGEST = 5_000_000
"""Number of characters of the middle part from which sentences are chosen; the rest is not read."""
MOST_EARLIER = 200_000
"""Maximum number of characters of earlier messages that are read, counted from the latest back."""
OLD, VERY_OLD = timedelta(days=30), timedelta(days=365)
"""Ages of dated text: beyond the first it counts only if its line refers to the present, beyond the
second not at all."""
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
"""Beginnings of medically relevant words, by which sentences of a long message are ranked."""
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
"""Words before a date that mark it as the beginning of something ongoing, such as "since"."""
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
    """Return the part of a message that is read, and a note for the reader if that is not all."""
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
    """Return the sentences with the most medically relevant words, in their original order."""
    found = [(len(set(_MATTERS.findall(one.lower()))), one) for one in sentences]
    left, kept = MOST_BETWEEN, set()
    for points, one in sorted(found, key=lambda pair: -pair[0]):
        if points and len(one) <= left:
            kept.add(one)
            left -= len(one)
    return "".join(one for _, one in found if one in kept)


def last_of(history: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the latest earlier messages that are read, and a note if these are not all."""
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
    """Return a text without the lines that are old by their dates.

    A line is as old as the newest date in it. A line without a date belongs to the one before it,
    up to an empty line; after a dated letter or report also beyond it, up to a block that refers to
    the present. For "12 March 2009: severe chest pain" and an empty line, followed by "I have a
    cough now", only the latter is returned.
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
    """Yield the dates of a line, each as the latest day that it can mean, at most today."""
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
    """Return a day, or the last day of a month or year without one; None if it is invalid."""
    try:
        if day:
            return date(year, month, day)
        return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    except ValueError:
        return None
