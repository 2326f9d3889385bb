"""Which option an answer means: its label, its place or its text. Where readings disagree: none.

A wrong key is worse than none, since nobody sees it in a score. So an answer counts only where all
ways to read it name one option, or where the user says which way is meant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, get_args

from galenic.data.rows import RowError

__all__ = ["LETTERS", "READINGS", "AnswersAre", "Key", "Start", "label_of", "places_start"]

AnswersAre = Literal["letters", "indices", "numbers", "texts"]
LETTERS = ascii_uppercase
"""That options without labels get, by their places."""
READINGS: tuple[AnswersAre, ...] = get_args(AnswersAre)
"""``indices`` count from 0, ``numbers`` from 1."""
Start = Literal[0, 1] | None
"""What places are counted from in a file; None where it says nothing about that."""
_WRAPPED = re.compile(r"^[(\[]?\s*(?:option|choice)?\s*([a-z]|\d{1,2})\s*[)\].:]*$", re.I)
_NUMBER = re.compile(r"^[+-]?\d+(?:\.0+)?$")
MISSING = frozenset({"none", "null", "nan", "n/a", "-1", "-1.0"})
"""What stands for no answer, unless an option says it."""
ABSENT = "`answer` is missing: only test sets without labels may lack it"
SAY = "say what is meant with --answers-are letters, indices (from 0), numbers (from 1) or texts"
ENOUGH = 20
"""Rows from which on it says something that no answer is 0."""


@dataclass(frozen=True)
class Key:
    """The answer of a row, as it is written.

    Attributes:
        value: of the answer's column.
        options: label to text, in order.
        labelled: the file gives the labels; else they are A, B, C ... by place.
        counted: the row's shape says that places count from 0.
        unsure: rows of its shape count places from 0 or from 1: the file must tell.
        textual: numbers are written as text in its file, as in every CSV.
    """

    value: object
    options: Mapping[str, str]
    labelled: bool = False
    counted: bool = False
    unsure: bool = False
    textual: bool = False


def label_of(key: Key, answers_are: AnswersAre | None, start: Start, repairs: Counter[str]) -> str:
    """The label of the option that is meant.

    Args:
        key: the answer.
        answers_are: how answers are to be read; None = all ways, which must agree.
        start: what the file counts places from; None = from 0, as for lists in JSON.
        repairs: values that were read although they are written otherwise are counted here.

    Raises:
        RowError: no option is meant, or two.
    """
    value = _plain(key.value, repairs)
    found = _by_order(value, key, answers_are) if answers_are else _readings(value, key, start)
    labels = list(dict.fromkeys(label for label, _ in found.values()))
    if not labels:
        if str(value).strip().lower() in MISSING:
            raise RowError(ABSENT)
        if answers_are:
            raise RowError(f"`answer` {_show(value)} is none of the {answers_are} of {_names(key)}")
        raise RowError(_none(value, key, start))
    if len(labels) > 1:
        ways = ", ".join(
            f"{label} ({_show(key.options[label])}) as {way}" for way, (label, _) in found.items()
        )
        raise RowError(f"`answer` {_show(value)} means option {ways}: {SAY}")
    repaired = [repair for _, repair in found.values()]
    if all(repaired):  # one way to read it as it is written is enough
        repairs[repaired[0]] += 1
    return labels[0]


def places_start(keys: Sequence[tuple[str, Key]]) -> tuple[Start, str]:
    """What a file counts places from, and why; judged by all answers that are numbers.

    Args:
        keys: where each answer is, and the answer.

    Raises:
        RowError: some answers fit only one way and some only the other, or a shape that is used
            with both fits both; the message names the places.
    """
    numbers = [
        (at, number, len(key.options), key)
        for at, key in keys
        if not key.labelled and (number := _number(key.value)) is not None
    ]
    low = [at for at, number, _, _ in numbers if number == 0]
    high = [at for at, number, size, _ in numbers if number == size]
    if low and high:
        raise RowError(
            f"answers are 0 ({low[0]}) and the number of options ({high[0]}): places count from 0 "
            f"or from 1, not both; {SAY}"
        )
    if low:
        return 0, "an answer is 0"
    if high:
        return 1, "an answer is the number of options, and none is 0"
    unsure = any(key.unsure for _, _, _, key in numbers)
    many = len(numbers) >= ENOUGH and not all(key.counted for _, _, _, key in numbers)
    if unsure or many:
        raise RowError(
            f"answers are numbers (the first in {numbers[0][0]}), none of them 0 or the number of "
            "options, so that the file does not tell whether places count from 0 or from 1: "
            "say --answers-are indices (from 0) or numbers (from 1)"
        )
    return None, ""


def _plain(value: object, repairs: Counter[str]) -> object:
    """The answer without what file formats do to it."""
    if isinstance(value, list) and len(value) == 1:
        repairs["an answer in a list of one"] += 1
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowError(ABSENT)
    if not isinstance(value, str | int):
        raise RowError(f"`answer` {_show(value)} is none of the options")
    return value


Found = dict[str, tuple[str, str]]
"""Ways to read an answer, each with the label and with what was repaired for it."""


def _by_order(value: object, key: Key, answers_are: AnswersAre) -> Found:
    """The one way that the user named."""
    match answers_are:
        case "letters":
            found = _letter(str(value), key.options)
        case "texts":
            found = _by_text(str(value), key.options)
        case _:
            found = _place(value, key, 1 if answers_are == "numbers" else 0)
    return {answers_are: found} if found else {}


def _readings(value: object, key: Key, start: Start) -> Found:
    """All ways in which it can be read."""
    said = str(value)
    if key.labelled and said in key.options:  # labels that the file gives go before all else
        return {"letter": (said, "" if isinstance(value, str) else "a number for a label")}
    letter = None if isinstance(value, bool) else _letter(said, key.options)
    ways = {
        "letter": letter,
        f"place from {start or 0}": None if key.labelled else _place(value, key, start or 0),
        "text": _by_text(said, key.options),
    }
    return {way: found for way, found in ways.items() if found is not None}


def _letter(said: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """The option whose label is written, as it is, as "(b)" or as "B. its text"."""
    if said in options:
        return said, ""
    wrapped = _WRAPPED.match(said.strip())
    bare = wrapped[1] if wrapped else said.strip()
    for label, text in options.items():
        if label.casefold() == bare.casefold():
            return label, "a label in other case, brackets or with a full stop"
        both = re.match(rf"[(\[]?{re.escape(label)}[)\].:]+\s*(\S.*)", said.strip(), re.I | re.S)
        if both and _loose(both[1]) == _loose(text):
            return label, "a label with its text"
    return None


def _place(value: object, key: Key, start: int) -> tuple[str, str] | None:
    number = _number(value)
    if number is None or not 0 <= number - start < len(key.options):
        return None
    odd = isinstance(value, str) and not (key.textual or key.counted)
    return list(key.options)[number - start], "a number written as text" if odd else ""


def _by_text(said: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    same = [label for label, text in options.items() if text == said]
    near = [label for label, text in options.items() if _loose(text) == _loose(said)]
    found = same or near
    if len(found) > 1:
        raise RowError(f"`answer` {_show(said)} is the text of {len(found)} options: give a label")
    if not found:
        return None
    repair = "" if same else "an answer that differs from its option in case or white space"
    return found[0], repair


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and float(value).is_integer():
        return int(value)
    if isinstance(value, str) and _NUMBER.match(value.strip()):
        return int(float(value))
    return None


def _loose(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


def _none(value: object, key: Key, start: Start) -> str:
    number = _number(value)
    if number is not None and not key.labelled:
        size = len(key.options)
        return f"`answer` {number} is no index of {size} options (from {start or 0}); {SAY}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"`answer` {value} is an index, but `options` is no list: give a label"
    return f"`answer` {_show(value)} is none of the options {_names(key)}"


def _names(key: Key) -> str:
    return ", ".join(key.options)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
