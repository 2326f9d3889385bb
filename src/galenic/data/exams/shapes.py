"""Detection of question, options and answer in a row, whatever its columns are called.

Supported layouts: MedQA, MedMCQA (``opa`` ... ``cop``), MMLU (also without column names), ARC,
HellaSwag, samples written by lm-evaluation-harness, and rows with one column per option.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from galenic.data.exams.answers import LETTERS, Key
from galenic.data.exams.literal import read_literal
from galenic.data.rows import RowError, check_options

__all__ = ["FIELDS", "Shaped", "headless", "shape"]

FIELDS = ("question", "options", "answer", "context", "id")
"""Fields that columns can be mapped to."""
_QUESTIONS = ("question", "stem", "query", "question_text", "problem", "ctx", "prompt", "input")
_OPTIONS = ("options", "choices", "endings", "answers", "answer_options", "candidates")
_ANSWERS = (
    "answer", "answer_idx", "answerkey", "answer_key", "cop", "label", "correct_answer", "correct",
    "correct_option", "gold", "target", "key", "solution", "answer_index", "correct_index",
)  # fmt: skip
_CONTEXTS = ("context", "passage", "article", "support", "vignette")
_IDS = ("id", "qid", "question_id", "uid", "ind")
_MARKS = ("correct", "is_correct", "isCorrect", "is_answer", "right")
_WIDE = (
    re.compile(r"^op([a-z])$"),
    re.compile(r"^(?:option|choice|opt|answer|ans|ending)_?([a-z]|\d{1,2})$"),
    re.compile(r"^([a-z])$"),
)
"""Patterns of column names that hold one option each."""

Form = Literal["labelled", "list", "wide"]
"""How options are given: with labels, as a list, or in one column each."""


@dataclass(frozen=True)
class Shaped:
    """An interpreted row.

    Attributes:
        fields: ``id``, ``question``, ``options``, ``context`` and all others, for `parse_row`.
        keys: the answer in each column that gives one, by column name; all must agree.
    """

    fields: dict[str, Any]
    keys: dict[str, Key] = field(default_factory=dict)


def shape(row: Mapping[str, Any], columns: Mapping[str, str], repairs: Counter[str]) -> Shaped:
    """Find question, options, answer, context and id in a row.

    Args:
        row: a row of a file.
        columns: column names for some of `FIELDS`, given by the user; the others are detected.
        repairs: counter of values accepted in a nonstandard notation; updated.

    Raises:
        RowError: a field is missing, or two columns are candidates for it.
    """
    if "question" not in columns and isinstance(row.get("doc"), Mapping):
        row = {"id": f"doc-{row.get('doc_id', row['doc'].get('id'))}", **row["doc"]}
    row = _unnested(row)
    names = {_spelled(name): name for name in row}
    question = _text(_given(row, columns, "question", names) or _found(row, names, _QUESTIONS))
    if not question:
        raise RowError(_lacking("question", row))
    options, form, used = _options(row, columns, names, repairs)
    check_options(options)
    keys = {
        name: Key(
            value, options, form == "labelled",
            counted="endings" in names or "choices" in names,
            unsure=form == "wide",
        )
        for name, value in _answers(row, columns, names, used, options)
    }  # fmt: skip
    context = _given(row, columns, "context", names) or _found(row, names, _CONTEXTS)
    if isinstance(context, list):
        context = "\n".join(map(str, context))
    ident = _given(row, columns, "id", names) or _found(row, names, _IDS)
    told = {"question": question, "options": options, "context": _text(context) or None}
    if ident not in (None, ""):
        told["id"] = str(ident)
    rest = {name: value for name, value in row.items() if name not in used and name not in told}
    return Shaped({**rest, **told}, keys)


def headless(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Interpret a row without column names as MMLU's (question, options, letter); else None."""
    cells = [row[str(at)] for at in range(len(row))]
    while cells and str(cells[-1] or "").strip() == "":
        cells.pop()
    letters = LETTERS[: len(cells) - 2]
    if len(cells) < 4 or str(cells[-1]).strip().upper() not in letters:
        return None
    return {
        "question": cells[0],
        "options": dict(zip(letters, map(str, cells[1:-1]), strict=True)),
        "answer": cells[-1],
    }


def _unnested(row: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten ARC's original layout, which nests stem and choices inside the question."""
    inner = row.get("question")
    if isinstance(inner, Mapping) and "stem" in inner:
        return {**row, **inner, "question": inner["stem"], "stem": inner["stem"]}
    return dict(row)


def _spelled(name: object) -> str:
    """A column name as the patterns here spell it: ``Correct Answer`` is ``correct_answer``."""
    return re.sub(r"[\s_-]+", "_", str(name).strip().lower())


def _given(
    row: Mapping[str, Any], columns: Mapping[str, str], part: str, names: Mapping[str, str]
) -> Any:
    """Return the value of the column that the user named for a field; None without one."""
    name = columns.get(part)
    return None if name is None else _column(row, name, names)


def _column(row: Mapping[str, Any], name: str, names: Mapping[str, str]) -> Any:
    """Return a column, or a field nested in one: ``doc.stem``."""
    if name in row:
        return row[name]
    if _spelled(name) in names:
        return row[names[_spelled(name)]]
    head, dot, rest = name.partition(".")
    inner = row.get(head)
    if dot and isinstance(inner, Mapping):
        return _column(inner, rest, {_spelled(one): one for one in inner})
    raise RowError(
        f"there is no column {name!r} (--map); there are {', '.join(map(str, row))[:200]}"
    )


def _found(row: Mapping[str, Any], names: Mapping[str, str], known: Sequence[str]) -> Any:
    """Return the first non-empty of the known columns; two different values are an error."""
    there = [(name, row[names[name]]) for name in known if name in names]
    said = [(name, value) for name, value in there if value not in (None, "", [])]
    if len(said) > 1 and known is _QUESTIONS and str(said[0][1]) != str(said[1][1]):
        first, second = said[0][0], said[1][0]
        if first != "question":
            raise RowError(
                f"{first!r} and {second!r} may both be the question: "
                f"say which with --map question={first}"
            )
    return said[0][1] if said else None


def _options(
    row: Mapping[str, Any],
    columns: Mapping[str, str],
    names: Mapping[str, str],
    repairs: Counter[str],
) -> tuple[dict[str, str], Form, set[str]]:
    """Return option texts by label, how they are given, and the columns used."""
    if "options" in columns:
        parts = columns["options"].split("+")
        if len(parts) > 1:
            texts = [_column(row, part, names) for part in parts]
            return _lettered(texts, repairs), "wide", set(parts)
        value = _column(row, parts[0], names)
        return (*_from_value(value, repairs), {parts[0]})
    for name in _OPTIONS:
        if name in names and isinstance(_structured(row[names[name]]), list | Mapping):
            return (*_from_value(row[names[name]], repairs), {names[name]})
        if name == "options" and names.get(name) and row[names[name]] not in (None, ""):
            return (*_from_value(row[names[name]], repairs), {names[name]})
    for pattern in _WIDE:
        wide = {m[1]: names[name] for name in names if (m := pattern.match(name))}
        if pattern is _WIDE[-1]:  # a lone "i" or "x" is no option
            run = itertools.takewhile(wide.__contains__, string.ascii_lowercase)
            wide = {mark: wide[mark] for mark in run}
        if len(wide) >= 2:
            return _wide(row, wide, repairs)
    raise RowError(_lacking("options", row))


def _wide(
    row: Mapping[str, Any], wide: Mapping[str, str], repairs: Counter[str]
) -> tuple[dict[str, str], Form, set[str]]:
    """Read options in one column each; letters become labels, numbers only give the order."""
    order = sorted(wide, key=lambda mark: (len(mark.lstrip("0")), mark))
    texts = [row[wide[mark]] for mark in order]
    while len(texts) > 2 and str(texts[-1] if texts[-1] is not None else "").strip() == "":
        texts.pop()
        repairs["an empty last option, left out"] += 1
    if order[0].isdigit():
        return _lettered(texts, repairs), "wide", set(wide.values())
    shown = {mark.upper(): _option(text, repairs) for mark, text in zip(order, texts, strict=False)}
    return shown, "wide", set(wide.values())


def _structured(value: Any) -> Any:
    """Parse a list or object that a table stores as text, in JSON or Python syntax."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        for read in (json.loads, read_literal):
            try:
                return read(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return value


def _from_value(value: Any, repairs: Counter[str]) -> tuple[dict[str, str], Form]:
    found = _structured(value)
    if isinstance(value, str) and not isinstance(found, str):
        repairs["options written as text"] += 1
    if isinstance(found, Mapping) and set(found) >= {"text", "label"}:  # ARC
        found = [
            {"label": a, "text": b} for a, b in zip(found["label"], found["text"], strict=False)
        ]
    if isinstance(found, list) and found and all(isinstance(one, Mapping) for one in found):
        return _from_objects(found, repairs), "labelled"
    if isinstance(found, Mapping):
        kept = {name: text for name, text in found.items() if text is not None}
        if len(kept) < len(found):  # tables pad each row to all labels of the file
            repairs["an option without a text, left out"] += len(found) - len(kept)
        return {str(name): _option(text, repairs) for name, text in kept.items()}, "labelled"
    if isinstance(found, list):
        return _lettered(found, repairs), "list"
    raise RowError(f"`options` must be an object of label and text, or a list, not {_show(value)}")


def _from_objects(found: Sequence[Mapping[str, Any]], repairs: Counter[str]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for at, one in enumerate(found):
        label = next(
            (one[n] for n in ("label", "key", "id", "letter") if n in one), LETTERS[at % 26]
        )
        text = next((one[n] for n in ("text", "value", "option", "content") if n in one), None)
        if str(label) in shown:
            raise RowError(f"option label {label!r} is there twice")
        shown[str(label)] = _option(text, repairs)
    return shown


def _lettered(texts: Sequence[Any], repairs: Counter[str]) -> dict[str, str]:
    if len(texts) > len(LETTERS):
        raise RowError(f"`options` has {len(texts)} entries, at most 26 can get letters")
    return dict(zip(LETTERS, (_option(text, repairs) for text in texts), strict=False))


def _option(text: Any, repairs: Counter[str]) -> str:
    if isinstance(text, bool):
        repairs["an option that is true or false, read as its text"] += 1
        return str(text)
    if isinstance(text, int | float):
        repairs["an option that is a number, read as its text"] += 1
        whole = isinstance(text, float) and text.is_integer()
        return str(int(text)) if whole else str(text)
    if not isinstance(text, str):
        raise RowError(f"an option must be text, not {_show(text)}")
    return text


def _marked(
    row: Mapping[str, Any], used: set[str], options: Mapping[str, str]
) -> list[tuple[str, Any]]:
    """Return the label of the only option marked as right: ``{"text": ..., "correct": true}``.

    Raises:
        RowError: none or several are.
    """
    for column in used if len(used) == 1 else ():
        found = _structured(row.get(column))
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            continue
        flags = [next((one[name] for name in _MARKS if name in one), None) for one in found]
        if not all(flag is None or isinstance(flag, bool) for flag in flags) or not any(
            isinstance(flag, bool) for flag in flags
        ):
            continue
        if flags.count(True) != 1:
            raise RowError(f"{flags.count(True)} options are marked as right, and one is needed")
        return [(f"{column}, marked", list(options)[flags.index(True)])]
    return []


def _answers(
    row: Mapping[str, Any],
    columns: Mapping[str, str],
    names: Mapping[str, str],
    used: set[str],
    options: Mapping[str, str],
) -> list[tuple[str, Any]]:
    """Return the answer columns with their values, without empty ones."""
    if "answer" in columns:
        return [(columns["answer"], _column(row, columns["answer"], names))]
    there = [
        (name, row[names[name]]) for name in _ANSWERS if name in names and names[name] not in used
    ]
    if not there and (marked := _marked(row, used, options)):
        return marked
    if not there:
        raise RowError(_lacking("answer", row))
    said = [(name, value) for name, value in there if value not in (None, "", [])]
    return said or there[:1]


def _lacking(part: str, row: Mapping[str, Any]) -> str:
    if part in row and part != "options":
        return f"`{part}` is empty" if part == "question" else f"`{part}` is missing"
    listed = ", ".join(map(str, row))
    shown = listed if len(listed) <= 120 else listed[:117] + "..."
    return f"no column is known as the {part} among {shown}: name it with --map {part}=COLUMN"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _show(value: object) -> str:
    text = "missing or null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
