"""A benchmark over the user's own questions: a ``.jsonl`` or ``.jsonl.gz`` file.

One JSON object a line::

    {"question": "…", "options": {"A": "…", "B": "…"}, "answer": "B"}
    {"id": "q2", "context": "…", "question": "…", "options": ["…", "…"], "answer": 0}

``question``  text.
``options``   an object of label and text, or a list of texts, which get the letters A, B, C …
``answer``    a label; or the text of exactly one option; or, only when the options are a list,
              its index counted from 0. Where these readings of a list disagree (options O, A, B,
              AB and the answer "B") the row is refused: an object with labels settles it.
``context``   optional text to read first.
``id``        optional, unique; else the line number.

All other fields are kept in ``Example.meta`` and never shown. Few-shot examples come from a file
``<name>_train.jsonl`` (or ``.jsonl.gz``) beside it, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.data.rows import RowError, check_options, parse_row
from galenic.errors import UserError

__all__ = ["custom_benchmark", "is_custom", "parse_custom"]

_SUFFIXES = (".jsonl", ".jsonl.gz")


def is_custom(name: str) -> bool:
    """True when a benchmark's name is the path of a question file."""
    return name.endswith(_SUFFIXES)


def custom_benchmark(path: Path | str) -> Benchmark:
    """The benchmark over a file of questions.

    Raises:
        UserError: there is no such file, or its name has another ending.
    """
    path = Path(path).absolute()
    suffix = next((s for s in reversed(_SUFFIXES) if path.name.endswith(s)), None)
    if suffix is None:
        raise UserError(f"{path}: a question file must end in .jsonl or .jsonl.gz.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; it was given as a benchmark.")
    stem = path.name.removesuffix(suffix)
    splits = {"test": str(path)}
    for ending in _SUFFIXES:
        train = path.with_name(f"{stem}_train{ending}")
        if train.is_file():
            splits["train"] = str(train)
            break
    return Benchmark(
        # The name becomes part of file names and table rows.
        name="custom_" + re.sub(r"\W+", "_", stem).strip("_").lower(),
        title=path.name,
        version=1,
        splits=splits,
        default_split="test",
        fewshot_split="train",
        parse=parse_custom,
    )


def parse_custom(row: Mapping[str, Any]) -> Example:
    """One row of a user's file; the rules stand at the head of this module.

    Raises:
        RowError: the first rule the row breaks.
    """
    raw = row.get("options")
    listed = isinstance(raw, list)
    if isinstance(raw, list):
        if len(raw) > len(ascii_uppercase):
            raise RowError(f"`options` has {len(raw)} entries, at most 26 can get letters")
        raw = dict(zip(ascii_uppercase, raw, strict=False))
    options = check_options(raw)
    answer = _label(row.get("answer"), options, listed=listed)
    number = row.get("id")
    name = str(number) if isinstance(number, int) and not isinstance(number, bool) else number
    return parse_row({**row, "id": name, "options": options, "answer": answer})


def _label(answer: object, options: Mapping[str, str], *, listed: bool) -> object:
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not listed:
            raise RowError(f"`answer` {answer} is an index, but `options` is no list: give a label")
        if not 0 <= answer < len(options):
            raise RowError(f"`answer` {answer} is no index of {len(options)} options (from 0)")
        label = list(options)[answer]
        _refuse_two_readings(answer, label, "index", options)
        return label
    if isinstance(answer, str) and answer not in options:
        matches = [label for label, text in options.items() if text == answer]
        if len(matches) > 1:
            raise RowError(
                f"`answer` {answer!r} is the text of {len(matches)} options: give a label"
            )
        if matches:
            return matches[0]
    if isinstance(answer, str) and listed:
        _refuse_two_readings(answer, answer, "letter", options)
    return answer


def _refuse_two_readings(
    answer: str | int, label: str, kind: str, options: Mapping[str, str]
) -> None:
    """Raise where the answer of a listed question is also the text of another option."""
    named = [other for other, text in options.items() if text.strip() == str(answer)]
    if label in options and named and named != [label]:
        raise RowError(
            f"`answer` {answer!r} means option {label} ({options[label]!r}) as {kind} and option "
            f"{named[0]} as text: write `options` as an object of label and text, and a label"
        )
