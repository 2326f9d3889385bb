"""Reading of whole exams, from one or several files, into rows of one layout."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galenic.data.exams.answers import AnswersAre, Key, Start, label_of, places_start
from galenic.data.exams.files import ExamTable, read_table
from galenic.data.exams.shapes import FIELDS, Shaped, headless, shape
from galenic.data.rows import RowError
from galenic.errors import UserError, unknown_name

__all__ = ["ExamFile", "ExamOptions", "parse_map", "read_exam"]


@dataclass(frozen=True)
class ExamOptions:
    """How to read the files of an exam.

    Attributes:
        columns: pairs of a field (question, options, answer, context, id) and its column; columns
            of other fields are detected by name.
        answers_are: ``letters``, ``indices`` (from 0), ``numbers`` (from 1) or ``texts``; None =
            all interpretations of an answer must agree.
    """

    columns: tuple[tuple[str, str], ...] = ()
    answers_are: AnswersAre | None = None


@dataclass(frozen=True)
class ExamFile:
    """The converted rows of an exam; used by `galenic.data.sources.read_examples`.

    Attributes:
        path: the file or folder.
        sha256: hash of the file; for several files, hash of their hashes in order.
        notes: messages for the user on what was repaired, and how often.
    """

    path: Path
    sha256: str
    notes: tuple[str, ...]
    parts: tuple[tuple[ExamTable, tuple[tuple[int, dict[str, Any]], ...]], ...]

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield line or row numbers and rows; rows of several files are numbered consecutively."""
        if len(self.parts) == 1:
            yield from self.parts[0][1]
            return
        for at, (_, _, row) in enumerate(self._every(), start=1):
            yield at, row

    def error(self, place: int, problem: object) -> UserError:
        """Build the error for a row."""
        if len(self.parts) == 1:
            return self.parts[0][0].error(place, problem)
        table, own, _ = list(self._every())[place - 1]
        return table.error(own, problem)

    def _every(self) -> Iterator[tuple[ExamTable, int, dict[str, Any]]]:
        for table, rows in self.parts:
            for place, row in rows:
                yield table, place, {**row, "id": f"{table.path.name}/{row.get('id', place)}"}


@dataclass
class _Counts:
    repairs: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    keyed: int = 0
    seen: dict[Any, set[str]] = field(default_factory=dict)
    again: int = 0

    def add(self, fields: Mapping[str, Any], answer: str) -> None:
        """Count a question that was there before, with the same options in any order."""
        options = fields["options"]
        asked = (fields["question"], fields.get("context"), frozenset(options.values()))
        self.again += asked in self.seen
        self.seen.setdefault(asked, set()).add(options[answer])


def parse_map(text: str) -> tuple[tuple[str, str], ...]:
    """Parse ``--map question=stem,answer=key``; several option columns are written ``a+b+c``.

    Raises:
        UserError: a part is not FIELD=COLUMN, its field is unknown or given twice, or a column is
            named twice among the options.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise UserError(
                f"--map {part.strip()!r}: write FIELD=COLUMN, as in question=stem,answer=key; "
                "several columns of options as options=opt1+opt2+opt3."
            )
        if name not in FIELDS:
            raise unknown_name("field of --map", name, FIELDS)
        if name in found:
            raise UserError(f"--map names {name} twice.")
        found[name] = column
    columns = [one.strip() for one in found.get("options", "").split("+")]
    if twice := next((one for one in columns if columns.count(one) > 1), None):
        raise UserError(f"--map names the column {twice!r} twice among the options.")
    return tuple(found.items())


def read_exam(path: Path, files: Sequence[Path], options: ExamOptions) -> ExamFile:
    """Read the files of an exam.

    Args:
        path: the file or folder that the user named.
        files: the files to read, in order.
        options: how to read them.

    Raises:
        UserError: a file cannot be read, or a row is invalid or ambiguous; the message gives file
            and line, and the flag that resolves it.
    """
    parts = []
    notes: list[str] = []
    counts = _Counts()
    for file in files:
        table = read_table(file)
        parts.append((table, tuple(_rows(table, options, counts, notes))))
        notes += table.notes
    hashes = [table.sha256 for table, _ in parts]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return ExamFile(path, whole, (*notes, *_told(counts)), tuple(parts))


def _rows(
    table: ExamTable, options: ExamOptions, counts: _Counts, notes: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = dict(options.columns)
    raw = table.rows
    if table.headless and not columns:
        raw = _with_names(table, notes)
    shaped: list[tuple[int, Shaped]] = []
    for place, row in raw:
        try:
            shaped.append((place, shape(row, columns, counts.repairs)))
        except RowError as error:
            raise table.error(place, error) from error
    if table.textual:
        shaped = [(at, replace(one, keys=_textual(one.keys))) for at, one in shaped]
    start = _start(table, shaped, options, notes)
    unique = _ids_are_unique(raw, shaped, columns)
    for place, one in shaped:
        try:
            answer = _agreed(one.keys, options.answers_are, start, counts)
        except RowError as error:
            raise table.error(place, error) from error
        fields = {name: value for name, value in one.fields.items() if unique or name != "id"}
        counts.add(fields, answer)
        yield place, {**fields, "answer": answer}


def _textual(keys: Mapping[str, Key]) -> dict[str, Key]:
    return {name: replace(key, textual=True) for name, key in keys.items()}


def _ids_are_unique(
    raw: Sequence[tuple[int, Mapping[str, Any]]],
    shaped: Sequence[tuple[int, Shaped]],
    columns: Mapping[str, str],
) -> bool:
    """False if a column that is not named ``id`` has repeated values and so holds no ids."""
    if "id" in columns or any("id" in row for _, row in raw[:1]):
        return True
    ids = [one.fields["id"] for _, one in shaped if "id" in one.fields]
    return len(set(ids)) == len(ids)


def _with_names(table: ExamTable, notes: list[str]) -> list[tuple[int, dict[str, Any]]]:
    named = [(place, headless(row)) for place, row in table.rows]
    odd = next((place for place, row in named if row is None), None)
    if odd is not None:
        raise table.error(
            odd,
            "the file has no column names that are known, and the row is not question, options, "
            "letter: write column names in the first line, or name them with --map question=0,...",
        )
    notes.append(
        f"{table.path.name} has no column names: read as question, options, letter (as MMLU)"
    )
    return [(place, row) for place, row in named if row is not None]


def _start(
    table: ExamTable, shaped: Sequence[tuple[int, Shaped]], options: ExamOptions, notes: list[str]
) -> Start:
    """Infer the first position number of a file."""
    if options.answers_are is not None:
        return None
    keys = [(f"{table.word} {at}", key) for at, one in shaped for key in one.keys.values()]
    try:
        start, why = places_start(keys)
    except RowError as error:
        raise UserError(f"{table.path}: {error}.") from error
    if start == 1:
        notes.append(f"{table.path.name}: places of answers count from 1 ({why})")
    return start


def _agreed(
    keys: Mapping[str, Key], answers_are: AnswersAre | None, start: Start, counts: _Counts
) -> str:
    """Return the label on which all answer columns agree."""
    found = {}
    for at, (name, key) in enumerate(keys.items(), start=1):
        try:
            found[name] = label_of(key, answers_are, start, counts.repairs)
        except RowError:
            # Of several columns, use those whose values fit the interpretation that the user named.
            if answers_are is None or (at == len(keys) and not found):
                raise
    labels = list(dict.fromkeys(found.values()))
    if len(labels) > 1:
        said = " and ".join(f"{name!r} {keys[name].value!r}"[:60] for name in found)
        raise RowError(f"{said} name different options: say which counts with --map answer=COLUMN")
    options = next(iter(keys.values())).options
    texts = Counter(" ".join(text.split()) for text in options.values())
    if texts.most_common(1)[0][1] > 1:
        counts.equal += 1
        counts.keyed += texts[" ".join(options[labels[0]].split())] > 1
    return labels[0]


def _told(counts: _Counts) -> list[str]:
    told = [
        f"repaired in {count:,} row{'s' * (count > 1)}: {what}"
        for what, count in sorted(counts.repairs.items())
    ]
    if counts.again:
        differ = sum(len(texts) > 1 for texts in counts.seen.values())
        told.append(
            f"questions that are there again with the same options: {counts.again:,}"
            + (
                f"; for {differ:,} of these the answers differ, so that one is wrong"
                if differ
                else ""
            )
        )
    if counts.equal:
        told.append(
            f"questions with options of equal text: {counts.equal:,}; in {counts.keyed:,} of them "
            "the right one is among the equal ones"
        )
    return told
