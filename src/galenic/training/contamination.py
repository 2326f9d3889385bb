"""Check training data for test questions, and remove rows that match.

The passages compared are: of a multiple-choice question, its context, its question, and the
question with sorted options; of a pair, question and answer; of any other JSON object, each string
in it and all of them joined; of a text file, each paragraph.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from galenic.data.benchmarks import resolve_benchmarks
from galenic.data.calibration import MEDQUAD, QuestionAnswer, plain_texts, read_medquad
from galenic.data.example import Example
from galenic.data.jsonl import encode_gzip, read_jsonl, write_bytes
from galenic.data.sources import DataSource, open_source
from galenic.errors import UserError
from galenic.reading import has_suffix
from galenic.training.near import ComparedText, Hit, ScanConfig, Scanner
from galenic.training.sources import TrainingSet
from galenic.watcher import Watcher

__all__ = ["ScanRow", "TestSets", "count_hits", "read_test_sets", "refuse_contaminated", "scan",
           "training_rows", "write_removed"]  # fmt: skip

TestSets: TypeAlias = list[tuple[str, list[ComparedText]]]
"""Name (``benchmark:split``) and passages of each test set."""
MOST_REMOVED = 0.1
"""Largest share of rows that may be removed; above it, the data is probably a test set."""
ADVANCE_EVERY = 200


@dataclass(frozen=True)
class ScanRow:
    """A training row with its source, the passages to compare, and its full content."""

    source: str
    id: str
    passages: tuple[ComparedText, ...]
    content: Mapping[str, Any]


def read_test_sets(names: str, data: Path | Literal["sample"] | None) -> TestSets:
    """Read test sets.

    Args:
        names: ``all`` (the reported split of every benchmark), ``NAME``, ``NAME:SPLIT`` or question
            files, separated by commas.
        data: as for `galenic.data.sources.open_source`.

    Raises:
        UserError: a name is unknown, or a file is missing or damaged.
    """
    source = open_source(data)
    sets: TestSets = []
    for name, split in _names(names):
        for benchmark in resolve_benchmarks([name]):
            loaded = source.load(benchmark, split)
            passages = [p for e in loaded.examples for p in _of_example(e, e.id)]
            sets.append((f"{benchmark.name}:{loaded.split}", passages))
    return sets


def training_rows(names: str, data: Path | Literal["sample"] | None) -> list[ScanRow]:
    """Read all rows of training data, without filtering.

    Args:
        names: ``medquad``, ``benchmarks`` (all training splits), ``NAME``, ``NAME:SPLIT``, JSON
            Lines of any structure or text files, separated by commas.
        data: as for `galenic.data.sources.open_source`; files need none.

    Raises:
        UserError: a name is unknown, or a file is missing or damaged.
    """
    rows: list[ScanRow] = []
    for name, split in _names(names):
        if has_suffix(name, ".jsonl", ".jsonl.gz"):
            rows += _of_jsonl(Path(name))
        elif Path(name).suffix:
            rows += _of_text(Path(name))
        elif name == "medquad":
            rows += _of_medquad(open_source(data))
        else:
            rows += _of_benchmarks(open_source(data), name, split)
    return rows


def scan(
    rows: Sequence[ScanRow], tests: TestSets, config: ScanConfig, watcher: Watcher
) -> list[Hit]:
    """Find all matches of training rows with test rows, in the order of the training rows."""
    watcher.stage("indexing test sets")
    scanner = Scanner(tests, config)
    passages = [passage for row in rows for passage in row.passages]
    watcher.stage("comparing texts", len(passages))

    def advance(done: int) -> None:
        if done % ADVANCE_EVERY == 0 or done == len(passages):
            watcher.advance(done)

    return scanner.scan(passages, advance)


def count_hits(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Count hits by training source, test set and kind: pairs, and distinct training rows."""
    keys = [(hit.train.row.partition("/")[0], hit.test_set, hit.kind) for hit in hits]
    rows = {(key, hit.train.row) for key, hit in zip(keys, hits, strict=True)}
    different = Counter(key for key, _ in rows)
    return [
        {"train": key[0], "test_set": key[1], "kind": key[2], "rows": different[key], "pairs": n}
        for key, n in sorted(Counter(keys).items())
    ]


def write_removed(path: Path, rows: Sequence[ScanRow], hits: Sequence[Hit]) -> int:
    """Write each row that matches a test row, with its matches, as JSON Lines.

    Returns:
        Number of rows written.

    Raises:
        UserError: the file cannot be written.
    """
    by_row: dict[str, list[Hit]] = {}
    for hit in hits:
        by_row.setdefault(hit.train.row, []).append(hit)
    removed = [
        {
            "source": row.source,
            "id": row.id,
            "hits": [_show(hit) for hit in by_row[key]],
            "content": dict(row.content),
        }
        for row in rows
        if (key := f"{row.source}/{row.id}") in by_row
    ]
    lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in removed)
    try:
        write_bytes(path, encode_gzip(removed) if has_suffix(path, ".gz") else lines.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return len(removed)


def refuse_contaminated(
    sets: Sequence[TrainingSet],
    tests: TestSets,
    *,
    removed: Path,
    watcher: Watcher,
    allow: bool = False,
    config: ScanConfig | None = None,
) -> tuple[list[TrainingSet], list[Hit]]:
    """Remove rows that match test questions, from the training and the held-out rows.

    Args:
        sets: training sets.
        tests: from `read_test_sets`.
        removed: file that lists the removed rows and what they match; written even if there are
            none.
        watcher: reports progress.
        allow: if True, the rows are only listed in the file, not removed.
        config: when two texts count as nearly the same.

    Returns:
        The remaining sets, and all matches found.

    Raises:
        UserError: more than a tenth of a set's training rows are test questions.
    """
    config = ScanConfig.model_validate({}) if config is None else config
    rows = [_row(one.name, each) for one in sets for each in (*one.train, *one.heldout)]
    hits = scan(rows, tests, config, watcher)
    found = {hit.train.row for hit in hits}
    kept = list(sets)
    if not allow:
        kept = [one.without(_ids_of(one, found)) for one in sets]
        for before, after in zip(sets, kept, strict=True):
            lost = len(before.train) - len(after.train)
            if lost > MOST_REMOVED * len(before.train):
                raise UserError(
                    f"{before.name}: {lost:,} of {len(before.train):,} training rows are test "
                    "questions or nearly so. Train on something else; `galenic scan` lists them."
                )
    write_removed(removed, rows, hits)
    if found:
        what = "left in, as was asked" if allow else "taken out"
        watcher.say(f"{len(found):,} rows that are test questions, or nearly, {what}: {removed}")
    return kept, hits


def _ids_of(one: TrainingSet, keys: set[str]) -> list[str]:
    prefix = f"{one.name}/"
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


def _show(hit: Hit) -> dict[str, Any]:
    return {
        "test_set": hit.test_set,
        "test_id": hit.test.row,
        "kind": hit.kind,
        "similarity": round(hit.similarity, 4),
        "train_part": hit.train.part,
        "test_part": hit.test.part,
        "test_text": hit.test.text,
    }


def _names(names: str) -> Iterator[tuple[str, str | None]]:
    parts = [part.strip() for part in names.split(",") if part.strip()]
    if not parts:
        raise UserError("nothing to compare is named.")
    for part in parts:
        name, colon, split = part.rpartition(":")
        # a file name may contain a colon
        yield (name, split) if colon and not Path(part).suffix else (part, None)


def _row(source: str, row: Example | QuestionAnswer) -> ScanRow:
    key = f"{source}/{row.id}"
    passages = _of_example(row, key) if isinstance(row, Example) else _of_pair(row, key)
    content = asdict(row)
    content.pop("id")
    return ScanRow(source, row.id, tuple(passages), content)


def _of_example(example: Example, key: str) -> list[ComparedText]:
    passages = [ComparedText(key, "question", example.question)]
    if example.context:
        passages.append(ComparedText(key, "context", example.context))
    texts = sorted(example.options.values())
    whole = " ".join([example.question, *texts])
    return [*passages, ComparedText(key, "question and options", whole)]


def _of_pair(pair: QuestionAnswer, key: str) -> list[ComparedText]:
    return [ComparedText(key, "question", pair.question), ComparedText(key, "answer", pair.answer)]


def _of_medquad(source: DataSource) -> list[ScanRow]:
    if source.fetch is not None or source.sample:
        raise UserError(f"MedQuAD is read from a folder: --data DIR with {MEDQUAD} in it.")
    return [_row("medquad", pair) for pair in read_medquad(source.folder, "all")[1]]


def _of_benchmarks(source: DataSource, name: str, split: str | None) -> list[ScanRow]:
    rows = []
    for benchmark in resolve_benchmarks(["all" if name == "benchmarks" else name]):
        chosen = benchmark.fewshot_split if split is None else split
        loaded = source.load(benchmark, chosen)
        rows += [_row(benchmark.name, example) for example in loaded.examples]
    return rows


def _of_jsonl(path: Path) -> list[ScanRow]:
    rows = []
    for line, content in read_jsonl(path).rows():
        key = f"{path.name}/{line}"
        passages = [ComparedText(key, part, text) for part, text in _texts(content, "")]
        if len(passages) > 1:
            whole = "\n".join(passage.text for passage in passages)
            passages.append(ComparedText(key, "all", whole))
        rows.append(ScanRow(path.name, str(line), tuple(passages), content))
    if not rows:
        raise UserError(f"{path} holds no row.")
    return rows


def _texts(value: object, part: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) for every string in a JSON value; path like ``messages.0.content``."""
    if isinstance(value, str):
        yield part, value
    elif isinstance(value, Mapping | list):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, each in inner:
            yield from _texts(each, f"{part}.{name}" if part else str(name))


def _of_text(path: Path) -> list[ScanRow]:
    return [
        ScanRow(path.name, str(number), (ComparedText(f"{path.name}/{number}", "text", text),),
                {"text": text})
        for number, text in enumerate(plain_texts(path).documents, start=1)
    ]  # fmt: skip
