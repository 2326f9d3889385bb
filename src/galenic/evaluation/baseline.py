"""Majority-class baselines: scores of a predictor that ignores the question, by split.

A model that does not beat them shows no knowledge. The majority class is taken from the split
itself, as in table 2 of "Prescription for Efficiency" (Bush et al.).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from galenic.data.example import Example
from galenic.data.sources import SAMPLE_FOLDER, Dataset, DataSource
from galenic.errors import UserError
from galenic.evaluation.metrics import (
    accuracy,
    classification,
    majority_baseline,
    uniform_accuracy,
)
from galenic.evaluation.records import Record
from galenic.registry import BENCHMARKS

__all__ = [
    "PAPER_PUBMEDQA",
    "PAPER_ROWS",
    "SPLITS",
    "BaselineRow",
    "baseline_row",
    "baseline_rows",
    "reproduces_paper",
]

SPLITS = (
    ("pubmedqa", "test"),
    ("pubmedqa", "cv"),
    ("medqa_5options", "dev"),
    ("medqa_5options", "test"),
    ("medqa_4options", "dev"),
    ("medqa_4options", "test"),
    ("medmcqa", "validation"),
)
"""All complete labelled splits; partial training files are left out."""

PAPER_ROWS = {
    ("medqa_5options", "dev"): (0.2193, 0.0481, 0.2193, 0.0789),
    ("medmcqa", "validation"): (0.3223, 0.1038, 0.3223, 0.1571),
}
"""Accuracy, weighted precision, recall and F1 in the paper's table 2, by split."""

PAPER_PUBMEDQA = (0.6100, 0.3721, 0.6100, 0.4622)
"""The paper's PubMedQA row; it uses about 200 questions, not the official 500 test questions."""


@dataclass(frozen=True)
class BaselineRow:
    """Scores of the majority-class predictor on one split, and accuracy of a uniform guess.

    Averages run over all option labels of the split (`galenic.evaluation.metrics.classification`).
    """

    benchmark: str
    title: str
    split: str
    n: int
    majority: str
    accuracy: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    macro_f1: float
    uniform: float
    file: str
    sha256: str

    @property
    def paper_columns(self) -> tuple[float, float, float, float]:
        """Accuracy, precision, recall and F1, rounded to four places as in the paper."""
        columns = (
            self.accuracy,
            self.weighted_precision,
            self.weighted_recall,
            self.weighted_f1,
        )
        a, p, r, f = (round(value, 4) for value in columns)
        return a, p, r, f


def baseline_row(dataset: Dataset) -> BaselineRow:
    """Score the majority-class predictor on one split.

    Raises:
        ValueError: the split is empty.
    """
    examples = dataset.examples
    labels = _labels(examples)
    gold = [
        Record(
            benchmark=dataset.benchmark.name,
            id=example.id,
            scoring="majority",
            gold=example.answer,
            prediction=None,
        )
        for example in examples
    ]
    records = majority_baseline(gold, labels)
    scores = classification(records, labels)
    return BaselineRow(
        benchmark=dataset.benchmark.name,
        title=dataset.benchmark.title,
        split=dataset.split,
        n=len(records),
        majority=str(records[0].prediction),
        accuracy=accuracy(records),
        weighted_precision=scores.weighted_precision,
        weighted_recall=scores.weighted_recall,
        weighted_f1=scores.weighted_f1,
        macro_f1=scores.macro_f1,
        uniform=uniform_accuracy([len(example.options) for example in examples]),
        file=dataset.file,
        sha256=dataset.sha256,
    )


def baseline_rows(source: DataSource) -> tuple[list[BaselineRow], list[str]]:
    """Return the baselines of all available splits, and the files missing from a local folder.

    Raises:
        UserError: all files are missing, or a file is damaged.
    """
    rows: list[BaselineRow] = []
    missing: list[str] = []
    for name, split in SPLITS:
        benchmark = BENCHMARKS.load(name)
        if source.sample:
            benchmark = benchmark.sample()
        if split not in benchmark.splits:  # the packaged sample has only default splits
            continue
        file = benchmark.splits[split]
        if not source.sample and source.fetch is None and not (source.folder / file).exists():
            missing.append(file)
            continue
        rows.append(baseline_row(source.load(name, split)))
    if not rows:
        raise UserError(
            f"{source.title} holds none of {', '.join(missing)}. --data names a folder with "
            "pubmedqa/, medqa/ and medmcqa/ in it."
        )
    return rows, missing


def reproduces_paper(row: BaselineRow) -> bool | None:
    """Whether a row equals the paper's to four places; None if the paper has no such row.

    The packaged sample is another, smaller set: the paper says nothing about it.
    """
    if row.file.startswith(SAMPLE_FOLDER):
        return None
    expected = PAPER_ROWS.get((row.benchmark, row.split))
    return None if expected is None else row.paper_columns == expected


def _labels(examples: Iterable[Example]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for example in examples for label in example.options))
