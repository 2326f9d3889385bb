"""Convert spelled-out numbers to digits: "thirty-eight point five", "a hundred and two"."""

from __future__ import annotations

import re

__all__ = ["as_digits"]

_UNIT_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen"""
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_UNIT_WORDS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TEN_WORDS.split(), 2)}
_TENS["fourty"] = 40
_WORD = "|".join([*_UNITS, *_TENS, "hundred", "oh"])
_SAID = re.compile(
    rf"\b(?:an?[ -]hundred|(?:{_WORD}))(?:(?:[ -]+and[ -]+|[ -]+)(?:{_WORD})\b)*"
    rf"(?:\s+point\s+(?:{_WORD}))?\b"
)
_POINT = re.compile(r"(\d)\s+point\s+(\d)")


def as_digits(text: str) -> str:
    """Return a lower-case text with its spelled-out numbers as digits.

    "temp is thirty eight point five" becomes "temp is 38.5".
    """
    return _POINT.sub(r"\1.\2", _SAID.sub(_read, text))


def _read(found: re.Match[str]) -> str:
    whole, _, part = found[0].partition(" point ")
    words = [word for word in re.split(r"[ -]+", whole) if word not in ("and", "a", "an")]
    value = _value(words)
    if value is None:
        return _as_reading(words) or found[0]
    if not part:
        return str(value)
    tenths = _value(part.split())
    return f"{value}.{tenths}" if tenths is not None else found[0]


def _as_reading(words: list[str]) -> str:
    """Return a thermometer reading read aloud as digits; empty if it is none."""
    if len(words) != 3 or words[0] not in ("thirty", "forty", "fourty"):
        return ""
    whole, tenths = _value(words[:2]), _UNITS.get(words[2], 10)
    return f"{whole}.{tenths}" if whole and whole % 10 and tenths < 10 else ""


def _value(words: list[str]) -> int | None:
    """Return the value of number words, or None if they do not form one number."""
    total, last = 0, 1000
    if "oh" in words:  # digits read one by one: "one oh two"
        digits = [0 if word == "oh" else _UNITS.get(word, 10) for word in words]
        return None if max(digits) > 9 or len(digits) < 2 else int("".join(map(str, digits)))
    for word in words:
        if word == "hundred":
            total, last = (total or 1) * 100, 100
        elif word in _TENS:
            if last <= 20:
                return None  # "five sixty": two numbers
            total, last = total + _TENS[word], 20 if total < 100 else 10
        else:
            if last <= 10 and word not in _UNITS:
                return None
            if last < 10 or (last == 20 and _UNITS[word] > 9):
                return None
            total, last = total + _UNITS[word], 1
    return total
