"""Decide which option an answer denotes: by label, by position, or by text.

A wrong answer key is worse than a missing one, since it does not show in a score. So an answer is
accepted only if all interpretations give the same option, or if the user states which one applies.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, get_args

from galenic.data.rows import RowError

__all__ = ["LETTERS", "READINGS", "AnswersAre", "Key", "Start", "label_of", "places_start"]

AnswersAre = Literal["letters", "indices", "numbers", "texts"]
LETTERS = ascii_uppercase
"""Labels assigned by position to options that have none."""
READINGS: tuple[AnswersAre, ...] = get_args(AnswersAre)
"""Interpretations of an answer; ``indices`` count from 0, ``numbers`` from 1."""
Start = Literal[0, 1] | None
"""First position number used in a file; None if the file does not tell."""
_WRAPPED = re.compile(r"^[(\[]?\s*(?:option|choice)?\s*([a-z]|\d{1,2})\s*[)\].:]*$", re.I)
_NUMBER = re.compile(r"^[+-]?\d+(?:\.0+)?$")
MISSING = frozenset({"none", "null", "nan", "n/a", "-1", "-1.0"})
"""Values that mean "no answer", unless an option has that text."""
ABSENT = "`answer` is missing: only test sets without labels may lack it"
SAY = "say what is meant with --answers-are letters, indices (from 0), numbers (from 1) or texts"
ENOUGH = 20
"""With at least this many rows, the absence of the answer 0 is informative."""


@dataclass(frozen=True)
class Key:
    """The answer of a row as written in the file.

    Attributes:
        value: value of the answer column.
        options: option texts by label, in order.
        labelled: True if the labels come from the file; else they are A, B, C ... by position.
        counted: True if the layout of the row settles that positions count from 0.
        unsure: True if files with this layout are known that count from 0, and others from 1.
        textual: True if the file stores numbers as text, as CSV does.
    """

    value: object
    options: Mapping[str, str]
    labelled: bool = False
    counted: bool = False
    unsure: bool = False
    textual: bool = False


def label_of(key: Key, answers_are: AnswersAre | None, start: Start, repairs: Counter[str]) -> str:
    """Return the label of the option that an answer denotes.

    Args:
        key: the answer and its options.
        answers_are: the interpretation to use; None = all, which must agree.
        start: first position number; None = 0, as for lists in JSON.
        repairs: counter of values that were accepted in a nonstandard notation; updated.

    Raises:
        RowError: the answer denotes no option, or several.
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
    if all(repaired):  # not counted if one interpretation needs no repair
        repairs[repaired[0]] += 1
    return labels[0]


def places_start(keys: Sequence[tuple[str, Key]]) -> tuple[Start, str]:
    """Infer from all numeric answers of a file whether positions count from 0 or 1, and say why.

    Args:
        keys: pairs of an answer's location in the file and the answer.

    Raises:
        RowError: the answers contradict each other, or fit both although their layout is used with
            both; the message gives locations.
    """
    numbers = [
        (at, number, len(key.options), key)
        for at, key in keys
        if not key.labelled and (number := _number(key.value)) not in (None, -1)
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
    """Undo artefacts of file formats: a list of one value, ``2.0`` for ``2``."""
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
"""For each applicable interpretation, the label and the repair needed (empty if none)."""


def _by_order(value: object, key: Key, answers_are: AnswersAre) -> Found:
    """Interpret the answer in the one way that the user named."""
    match answers_are:
        case "letters":
            found = _letter(str(value), key.options)
        case "texts":
            found = _by_text(str(value), key.options)
        case _:
            found = _place(value, key, 1 if answers_are == "numbers" else 0)
    return {answers_are: found} if found else {}


def _readings(value: object, key: Key, start: Start) -> Found:
    """Interpret the answer in all ways that apply."""
    said = str(value)
    if key.labelled and said in key.options:  # labels from the file take precedence
        return {"letter": (said, "" if isinstance(value, str) else "a number for a label")}
    letter = None if isinstance(value, bool) else _letter(said, key.options)
    ways = {
        "letter": letter,
        f"place from {start or 0}": None if key.labelled else _place(value, key, start or 0),
        "text": _by_text(said, key.options),
    }
    return {way: found for way, found in ways.items() if found is not None}


def _letter(said: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """Match an option label, written as is, as "(b)", or as "B. its text"."""
    if said in options:
        return said, ""
    if (plain := unicodedata.normalize("NFKC", said)) != said:  # "Ｂ", of full width
        if (found := _letter(plain, options)) is None:
            return None
        return found[0], found[1] or "a label of full width"
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
        return f"`answer` {value} is an index, but `options` is not a list: give a label"
    return f"`answer` {_show(value)} is none of the options {_names(key)}"


def _names(key: Key) -> str:
    return ", ".join(key.options)


def _show(value: object) -> str:
    """Return the value as Python writes it, and the name of a letter that is none of A to Z."""
    text = repr(value)
    if isinstance(value, str) and len(value.strip()) == 1 and not value.isascii():
        text += f" ({unicodedata.name(value.strip(), 'a character without a name')})"
    return text if len(text) <= 60 else text[:57] + "..."
