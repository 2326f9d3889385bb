"""Sources of questions: a local folder, the packaged sample, or the Hub via the user cache.

All three share one layout, ``<set>/<name>.jsonl.gz`` with one JSON object per line, and one
loader. A file is decompressed, checked against its recorded hash and validated row by row before
its first question is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from galenic.data import manifest
from galenic.data.example import Example
from galenic.data.exams.exam import ExamFile, read_exam
from galenic.data.jsonl import JsonlFile, read_jsonl
from galenic.data.rows import RowError
from galenic.errors import UserError, unknown_name
from galenic.registry import BENCHMARKS

if TYPE_CHECKING:
    from galenic.data.benchmarks.base import Benchmark

__all__ = [
    "SAMPLE_FOLDER",
    "SAMPLE_LICENSE",
    "DataSource",
    "Dataset",
    "open_source",
    "read_examples",
    "read_rows",
    "whole",
]

T = TypeVar("T")

SAMPLE_FOLDER = "sample/"
"""Prefix of split files that are read from the package, whatever the source."""
SAMPLE_LICENSE = "Apache-2.0"
"""Licence of the sample questions, which were written for this package."""
_ANSWER_WORDS = {word: word for word in ("yes", "no", "maybe")}
"""Options of PubMedQA."""


@dataclass(frozen=True)
class Dataset:
    """The validated questions of one split.

    Attributes:
        benchmark: the benchmark.
        split: name of the split.
        examples: the questions in file order.
        file: name in the local layout; for the user's own file, its file name.
        sha256: hash of the file as stored on disk.
        license: licence as stated by the origin.
        checksum: see ``manifest.State``.
        notes: what was repaired in the user's own questions, and how often.
    """

    benchmark: Benchmark
    split: str
    examples: tuple[Example, ...]
    file: str
    sha256: str
    license: str
    checksum: manifest.State
    notes: tuple[str, ...] = ()

    @property
    def num_rows(self) -> int:
        """Number of questions in the file."""
        return len(self.examples)

    @property
    def clean_examples(self) -> tuple[Example, ...]:
        """The examples that may be used as few-shot examples or for training.

        A few MedQA training questions share most of their vignette with a dev or test question
        (``near_eval`` lists which): these are left out.
        """
        return tuple(e for e in self.examples if not e.meta.get("near_eval"))


@dataclass(frozen=True)
class DataSource:
    """A folder in the local layout.

    Attributes:
        folder: path of the folder.
        title: name used in messages and run manifests.
        fetch: called with a file name before reading it, to download it if missing.
        sample: True reads the packaged sample questions in place of each benchmark's own.
    """

    folder: Path
    title: str
    fetch: Callable[[str], None] | None = None
    sample: bool = False

    def load(self, benchmark: Benchmark | str, split: str | None = None) -> Dataset:
        """Read and validate one split.

        Args:
            benchmark: a benchmark or its registry name.
            split: name of the split; None = the default split.

        Raises:
            UserError: unknown name or split; file missing, changed, damaged or invalid, with file
                and line.
        """
        if isinstance(benchmark, str):
            known: Benchmark = BENCHMARKS.load(benchmark)
            benchmark = known
        if self.sample:
            benchmark = benchmark.sample()
        split = benchmark.default_split if split is None else split
        if split not in benchmark.splits:
            raise unknown_name(f"split of {benchmark.title}", split, benchmark.splits)
        name, file, state = self._read(benchmark, split)
        facts = manifest.facts_of(self.folder).get(name) if state == "ok" else None
        own = SAMPLE_LICENSE if state == "packaged" else "not stated"
        examples = read_examples(file, benchmark.parse)
        if benchmark.exam is not None and all(one.options == _ANSWER_WORDS for one in examples):
            benchmark = _as_pubmedqa(benchmark)
        return Dataset(
            benchmark=benchmark,
            split=split,
            examples=examples,
            file=name,
            sha256=file.sha256,
            license=facts.license if facts else own,
            checksum=state,
            notes=file.notes if isinstance(file, ExamFile) else (),
        )

    def _read(
        self, benchmark: Benchmark, split: str
    ) -> tuple[str, JsonlFile | ExamFile, manifest.State]:
        if benchmark.exam is not None:  # the user's own, see benchmarks/custom.py
            path, files_of, options = benchmark.exam
            return path.name, read_exam(path, files_of[split], options), "unknown"
        return self._read_known(benchmark.splits[split])

    def _read_known(self, name: str) -> tuple[str, JsonlFile, manifest.State]:
        if name.startswith(SAMPLE_FOLDER):
            return name, read_jsonl(Path(str(files("galenic.data").joinpath(name)))), "packaged"
        if Path(name).is_absolute():  # a plug-in's benchmark gives the path of its file
            return Path(name).name, read_jsonl(Path(name)), "unknown"
        if self.fetch is not None:
            self.fetch(whole(name))
        if (self.folder / whole(name)).exists():
            name = whole(name)
        if not (self.folder / name).exists():
            raise UserError(
                f"{self.folder / name} does not exist. --data names a folder with pubmedqa/, "
                "medqa/ and medmcqa/ in it; `galenic data --data DIR` lists what one holds."
            )
        file = read_jsonl(self.folder / name)
        return name, file, manifest.check(self.folder, name, file)


def _as_pubmedqa(exam: Benchmark) -> Benchmark:
    """Return an exam whose options are PubMedQA's with the prompt format of PubMedQA."""
    form: Benchmark = BENCHMARKS.load("pubmedqa")
    return replace(exam, labelled=form.labelled, context_name=form.context_name, version=2)


def open_source(data: Path | Literal["sample"] | None) -> DataSource:
    """Open the source that benchmarks are read from.

    Args:
        data: a folder in the local layout; ``"sample"`` (also as a path; a folder of that name is
            given by its full path) for the questions shipped with the package; None for the user
            cache, filled from the Hugging Face Hub on demand.

    Raises:
        UserError: the folder does not exist.
    """
    if data is None:
        from galenic.data import hub

        folder = hub.data_cache()
        return DataSource(folder, "Hugging Face Hub", fetch=lambda name: hub.fetch(name, folder))
    if str(data) == "sample":
        package = Path(str(files("galenic.data")))
        return DataSource(package, "packaged sample questions", sample=True)
    folder = Path(data)
    if not folder.is_dir():
        raise UserError(
            f"--data {folder}: there is no such folder. Name one with pubmedqa/, medqa/ and "
            "medmcqa/ in it, or write `--data sample` for the questions shipped with the package."
        )
    return DataSource(folder, str(folder))


def whole(name: str) -> str:
    """Return the full training set's name for that of a partial one; other names unchanged.

    Published copies of training sets are often truncated. If a folder has both, the full one is
    read.
    """
    return name.replace("train_partial", "train")


def read_examples(
    file: JsonlFile | ExamFile, parse: Callable[[Mapping[str, Any]], Example]
) -> tuple[Example, ...]:
    """Parse all rows; ids must be unique, and there must be at least one row.

    Raises:
        UserError: a row is invalid; the message gives file and line.
    """
    return read_rows(file, parse, lambda example: example.id)


def read_rows(
    file: JsonlFile | ExamFile, parse: Callable[[Mapping[str, Any]], T], id_of: Callable[[T], str]
) -> tuple[T, ...]:
    """Like `read_examples`, for rows of any type; a row without ``id`` gets its line number."""
    seen: dict[str, int] = {}
    parsed = []
    for line, row in file.rows():
        try:
            item = parse({"id": f"line-{line}", **row})
        except RowError as error:
            raise file.error(line, error) from error
        if id_of(item) in seen:
            raise file.error(line, f"id {id_of(item)!r} is already in line {seen[id_of(item)]}")
        seen[id_of(item)] = line
        parsed.append(item)
    if not parsed:
        raise UserError(f"{file.path} holds no question.")
    return tuple(parsed)
