"""Benchmarks on the user's own questions, read from a file or a folder of files.

CSV, TSV, JSON, JSON lines, Parquet and Excel, plain or packed with gzip or zstd; see
`galenic.data.exams`. In JSON lines::

    {"question": "…", "options": {"A": "…", "B": "…"}, "answer": "B"}
    {"id": "q2", "context": "…", "question": "…", "options": ["…", "…"], "answer": 0}

``question``  text.
``options``   an object of label and text, or a list of texts, which get the letters A, B, C …
``answer``    a label; or the text of exactly one option; or, only when the options are a list,
              its index counted from 0. Where these readings of a list disagree (options O, A, B,
              AB and the answer "B") the row is refused: ``--answers-are`` settles it.
``context``   optional text shown before the question.
``id``        optional unique id; default: the line number.

All other fields are kept in ``Example.meta`` and never shown. Few-shot examples are taken from a
file ``<name>_train`` of any supported format in the same folder, if it exists.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.data.exams.answers import label_of
from galenic.data.exams.exam import ExamOptions
from galenic.data.exams.files import FORMATS, PACKED, exam_suffix
from galenic.data.exams.shapes import shape
from galenic.data.rows import parse_row
from galenic.errors import UserError

__all__ = ["custom_benchmark", "is_custom", "parse_custom"]

_SPLIT = re.compile(r"(?:^|[^a-z])(train|dev|val|valid|validation|test)(?:[^a-z]|$)")
_NAMES = {"val": "validation", "valid": "validation"}
_REPORTED = ("test", "validation", "dev", "train")
"""Candidates for the reported split; the first one present is used."""


def is_custom(name: str) -> bool:
    """Whether a benchmark name is the path of a question file."""
    return bool(exam_suffix(name))


def custom_benchmark(path: Path | str, options: ExamOptions | None = None) -> Benchmark:
    """Build a benchmark from a question file, or from the files of a folder.

    The files of a folder form one benchmark. Files named train, dev, validation or test become its
    splits; the title says which files are asked.

    Args:
        path: the file or folder.
        options: how to read the rows; None = detect it.

    Raises:
        UserError: there is no such file, its extension is unknown, or the folder has no such file.
    """
    path = Path(path).absolute()
    if path.is_dir():
        return _of_folder(path, options or ExamOptions())
    suffix = exam_suffix(path.name)
    if not suffix:
        raise UserError(
            f"{path}: a question file must end in {', '.join(FORMATS)}, optionally "
            f"followed by {' or '.join(PACKED)}."
        )
    if not path.is_file():
        raise UserError(f"{path} does not exist; it was given as a benchmark.")
    stem = path.name[: -len(suffix)]
    files = {"test": (path,)}
    for other in sorted(path.parent.glob(f"{_escaped(stem)}_train.*")):
        if other.name[len(stem) + len("_train") :].lower() == exam_suffix(other.name):
            files["train"] = (other,)
            break
    return _benchmark(stem, path.name, files, options or ExamOptions(), path)


def _of_folder(path: Path, options: ExamOptions) -> Benchmark:
    every = sorted(one for one in path.iterdir() if one.is_file() and exam_suffix(one.name))
    every = [one for one in every if not one.name.startswith(".")]
    if not every:
        raise UserError(
            f"{path} has no question files. They end in {', '.join(FORMATS)}, also with "
            f"{' or '.join(PACKED)} behind it."
        )
    files: dict[str, list[Path]] = defaultdict(list)
    for one in every:
        found = _SPLIT.search(one.name.lower())
        files[_NAMES.get(found[1], found[1]) if found else "test"].append(one)
    reported = next(name for name in _REPORTED if name in files)
    asked = ", ".join(one.name for one in files[reported][:3])
    more = f" and {len(files[reported]) - 3} more" if len(files[reported]) > 3 else ""
    title = f"{path.name} ({reported}: {asked}{more})"
    return _benchmark(path.name, title, files, options, path, reported)


def _benchmark(
    stem: str,
    title: str,
    files: Mapping[str, list[Path] | tuple[Path, ...]],
    options: ExamOptions,
    path: Path,
    reported: str = "test",
) -> Benchmark:
    return Benchmark(
        # The name becomes part of file names and table rows.
        name="custom_" + re.sub(r"\W+", "_", stem).strip("_").lower(),
        title=title,
        version=1,
        splits={name: str(some[0]) for name, some in files.items()},
        default_split=reported,
        fewshot_split="train",
        parse=parse_row,
        exam=(path, {name: tuple(some) for name, some in files.items()}, options),
    )


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


def parse_custom(row: Mapping[str, Any]) -> Example:
    """Parse one row without its file, which `galenic.data.exams.exam.read_exam` takes into account.

    Raises:
        RowError: the row is invalid; the message names the first problem.
    """
    repairs: Counter[str] = Counter()
    shaped = shape(row, {}, repairs)
    [key, *_] = shaped.keys.values()
    return parse_row({**shaped.fields, "answer": label_of(key, None, None, repairs)})
