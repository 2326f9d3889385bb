"""Conversion of the exams from the authors' published files to the local layout.

- MedQA (https://github.com/jind11/MedQA): ``data_clean.zip`` with
  ``questions/US/{train,dev,test}.jsonl`` (5 options) and ``questions/US/4_options/``.
- MedMCQA (https://github.com/medmcqa/medmcqa): a zip with ``train.json`` and ``dev.json``, JSON
  lines in which ``cop`` counts from 1.
- PubMedQA (https://github.com/pubmedqa/pubmedqa): ``data/ori_pqal.json``, an object by PMID; the
  official split comes with Galenic. Other files beside it are not read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from galenic.data import manifest
from galenic.data.exams.packed import zipped_files
from galenic.data.hub import (
    MISSHAPEN,
    convert_medmcqa,
    convert_medqa,
    convert_pubmedqa,
    packed,
    valid_rows,
)
from galenic.data.jsonl import parse_json, parse_line, read_whole, write_bytes
from galenic.data.rows import RowError
from galenic.errors import UserError
from galenic.limits import one_line
from galenic.reading import has_suffix

__all__ = ["take_published"]

Row: TypeAlias = dict[str, Any]
Converted: TypeAlias = Mapping[str, list[Row]]
WHERE = (
    "Published are MedQA's data_clean.zip (github.com/jind11/MedQA), MedMCQA's zip with train.json "
    "and dev.json (github.com/medmcqa/medmcqa) and PubMedQA's ori_pqal.json "
    "(github.com/pubmedqa/pubmedqa)."
)
LETTERS = "ABCD"


def take_published(path: Path, folder: Path) -> list[Path]:
    """Convert an archive, folder or file, and write the resulting files of the local layout.

    Existing files are left unchanged.

    Args:
        path: a zip, a folder unpacked from one, or one of its files.
        folder: data folder; created if missing.

    Returns:
        Paths of the written files.

    Raises:
        UserError: it has no known file, or a part is damaged or has a question that cannot be used
            (training sets: none that can); the message gives part and line.
    """
    written, known = [], False
    for name, content in _parts(path):
        try:
            converted = _convert(name, content)
        except RowError as error:
            raise UserError(f"{path}: {name}: {error}. {WHERE}") from error
        except KeyError as error:
            why = f"a question has no field {one_line(str(error))}"
            raise UserError(f"{path}: {name} is not as published ({why}). {WHERE}") from error
        except MISSHAPEN as error:
            raise UserError(
                f"{path}: {name} is not as published ({one_line(str(error))}). {WHERE}"
            ) from error
        known = True
        for file, rows in converted.items():
            target = folder / file
            if not target.exists():
                kept, _ = valid_rows(rows, f"{path}: {name}", lenient="/train" in file)
                stored = packed(kept, f"{path}: {name}")
                write_bytes(target, stored)
                _vouch(folder, file, stored, len(kept), path.name)
                written.append(target)
    if not known:
        raise UserError(f"{path} has no published exam in it. {WHERE}")
    return written


def _vouch(folder: Path, file: str, content: bytes, rows: int, archive: str) -> None:
    """Add a file to the folder's manifest."""
    before = manifest.facts_of(folder)
    facts = {name: one for name, one in before.items() if (folder / name).exists()}
    facts[file] = manifest.FileFacts(
        sha256=hashlib.sha256(content).hexdigest(),
        rows=rows,
        license="as where it was published",
        origin=f"taken from {archive} by galenic data --from",
    )
    manifest.write_manifest(folder, facts)


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each known part."""
    if not path.exists():
        raise UserError(f"{path} does not exist. {WHERE}")
    if path.is_dir():
        for file in sorted(path.rglob("*.json*")):
            if _reader(file.as_posix()):
                yield file.relative_to(path.parent).as_posix(), read_whole(file)
    elif has_suffix(path, ".zip"):
        yield from zipped_files(path, lambda name: _reader(name) is not None)
    elif _reader(path.absolute().as_posix()):
        yield path.absolute().as_posix(), read_whole(path)


def _medqa(content: bytes, split: str, num_options: int) -> Converted:
    whole_train = f"medqa/train_{num_options}options.jsonl.gz"
    file = whole_train if split == "train" else f"medqa/{num_options}options_{split}.jsonl.gz"
    return convert_medqa(_lines(content), file=file, split=split, num_options=num_options)


def _medmcqa(content: bytes, split: str) -> Converted:
    split = {"dev": "validation"}.get(split, split)
    given = _lines(content)
    for row in given:
        if type(row["cop"]) is not int:
            said = one_line(repr(row["cop"]))
            raise RowError(f"`cop` is {said}, and a number from 1 to 4 is needed")
    rows = [{**row, "cop": row["cop"] - 1} for row in given]
    file = f"medmcqa/{split}.jsonl.gz"
    converted = convert_medmcqa(rows, file=file, split=split)
    if any(row["answer"] is None for row in converted[file]):
        raise RowError("an answer is none of 1 to 4")
    return converted


def _pubmedqa(content: bytes) -> Converted:
    found = parse_json(content.decode("utf-8-sig"))
    rows = [
        {
            "pubid": int(pmid),
            "question": one["QUESTION"],
            "final_decision": one["final_decision"],
            "context": {
                "contexts": one["CONTEXTS"],
                "labels": one["LABELS"],
                "meshes": one["MESHES"],
                "reasoning_required_pred": one.get("reasoning_required_pred"),
                "reasoning_free_pred": one.get("reasoning_free_pred"),
            },
        }
        for pmid, one in found.items()
    ]
    return convert_pubmedqa(rows)


def _lines(content: bytes) -> Sequence[Row]:
    if content.lstrip()[:1] == b"[":
        rows: Sequence[Row] = parse_json(content.decode("utf-8-sig"))
        return rows
    rows = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(parse_line(line, first=number == 1))
            except RowError as error:
                raise RowError(f"line {number}: {error}") from error
    return rows


_READERS: tuple[tuple[str, Callable[..., Converted]], ...] = (
    (r"(?:^|/)ori_pqal\.json$", _pubmedqa),
    (r"(?:^|/)phrases_no_exclude_(train|dev|test)\.jsonl$", lambda c, s: _medqa(c, s, 4)),
    (r"(?:^|/)US/(train|dev|test)\.jsonl$", lambda c, s: _medqa(c, s, 5)),
    (r"(?:^|/)(train|dev)\.json$", _medmcqa),
)
"""Name pattern of each published part, and the function that converts it."""


def _reader(name: str) -> tuple[Callable[..., Converted], tuple[str, ...]] | None:
    for pattern, read in _READERS:
        if found := re.search(pattern, name):
            return read, found.groups()
    return None


def _convert(name: str, content: bytes) -> Converted:
    reader = _reader(name)
    if reader is None:
        return {}
    read, words = reader
    try:
        return read(content, *words)
    except UnicodeDecodeError as error:
        raise RowError("not UTF-8") from error
