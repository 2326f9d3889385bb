"""The report as data: rows and provenance; all output formats are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from galenic import __version__
from galenic.errors import UserError
from galenic.evaluation.records import Timing
from galenic.reports.rows import Row, build_rows
from galenic.reports.runs import DataEntry, LoadedRun
from galenic.runtimes.base import RuntimeInfo
from galenic.units import format_size

__all__ = [
    "DISCLAIMER",
    "READING",
    "READING_STUDY",
    "ComputingTotals",
    "Provenance",
    "ReportDocument",
    "build_report",
]

DISCLAIMER = (
    "For education and research. Not a medical device: these numbers describe answers to exam "
    "questions and say nothing about safety in the care of patients."
)

READING = (
    (
        "Scoring",
        "How an answer is read from the model. `letter`: the option whose letter is most likely "
        "after the prompt (PubMedQA: whose word). `text`: the option whose text is most likely. "
        "`text_per_byte`: the same divided by the text's length. `generate`: the model reasons, "
        "and its last `Answer: X` counts. `head`: an encoder's multiple-choice head.",
    ),
    (
        "Interval",
        "An accuracy over n questions is an estimate. Had other questions of the same kind been "
        "asked, it would have come out differently; the 95 % interval (Wilson) is the range of "
        "true accuracies that such a sample fits. Two overlapping intervals do not show equality: "
        "`galenic compare` tests two runs on the same questions.",
    ),
    (
        "Majority and uniform",
        "What always giving the commonest right answer scores on these very questions, and what "
        "a uniform guess scores. The difference to the majority is paired, with its own 95 % "
        "interval. Where that interval holds 0 the model is at chance: the accuracy measures no "
        "knowledge, and a difference between two such models means little.",
    ),
    (
        "Predictions",
        "The histogram stands beside the accuracy because a model that answers the same to "
        "everything scores the share of that answer, which can look respectable. Above 90 % of "
        "one answer the row is marked as collapsed.",
    ),
    (
        "Precision, recall, F1",
        "Weighted averages count each class by its questions, as the paper does. Macro averages "
        "count every class alike, so a class that is never answered pulls macro F1 down.",
    ),
    (
        "Confidence",
        "ECE is the mean gap between confidence and accuracy over ten bins (0 is perfect). The "
        "Brier score is the squared distance of the probabilities to the truth. AURC is the mean "
        "error rate when only the most confident answers are given: below the plain error rate "
        "the confidence is worth something.",
    ),
    (
        "Flip rate",
        "Share of answers that change when the options are only shown in another order. A model "
        "that reads the options does not care for their order.",
    ),
)
"""Terms of every report, with their meaning."""
READING_STUDY = (
    (
        "Paired difference, McNemar's test",
        "Two models answer the same questions. What counts is how many only one of them gets "
        "right. p is the probability of so uneven a split, or a more uneven one, if both were "
        "equally good.",
    ),
    (
        "Perplexity and KL divergence",
        "Perplexity: how surprised a model is by each token of text that it has not seen; lower "
        "is better. KL divergence: how far its predictions are from those of the original model, "
        "in nats a token. Both see small losses that accuracy near chance does not.",
    ),
    (
        "Size",
        "Of the weights as stored. A pruned model is float32 (32 bits a weight) until it is "
        "quantized, so compare it with other float32 models.",
    ),
)
"""Terms of a study's report besides `READING`."""
"""Glossary of the report: terms and explanations."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComputingTotals(_Part):
    """Totals of a run's timings. Each scoring of a question counts as an answer.

    ``sharing`` is tokens requested over tokens computed, the saving by shared prefixes. Rates are
    per second of computing, without loading.
    """

    seconds: float
    answers: int
    tokens_asked: int
    tokens_computed: int
    sharing: float
    tokens_per_second: float
    answers_per_second: float


class Provenance(_Part):
    """Provenance of a run: model, data, machine and progress."""

    name: str
    command: str
    created: str
    config: dict[str, Any]
    model: RuntimeInfo
    data: list[DataEntry]
    versions: dict[str, Any]
    machine: dict[str, Any]
    records: int
    planned: int
    cut_line: bool
    speed: ComputingTotals | None

    @property
    def complete(self) -> bool:
        """Whether all planned records exist."""
        return self.records >= self.planned

    @property
    def machine_words(self) -> str:
        """Processor, cores, memory and system in words."""
        words = {"processor": "{}", "cores": "{} cores", "memory_bytes": "{} memory"}
        facts = {key: value for key, value in self.machine.items() if value}
        if isinstance(size := facts.get("memory_bytes"), int):
            facts["memory_bytes"] = format_size(size)
        return ", ".join(words.get(key, f"{key} {{}}").format(facts[key]) for key in facts)


class ReportDocument(_Part):
    """``report.json``."""

    format: int = 1
    galenic: str
    disclaimer: str
    rows: list[Row]
    runs: list[Provenance]


def build_report(runs: Sequence[LoadedRun]) -> ReportDocument:
    """Compute the report of several runs.

    Raises:
        UserError: there are no runs.
    """
    if not runs:
        raise UserError("name at least one run folder.")
    return ReportDocument(
        galenic=__version__,
        disclaimer=DISCLAIMER,
        rows=_side_by_side([row for run in runs for row in build_rows(run)]),
        runs=[_provenance(run) for run in runs],
    )


def _side_by_side(rows: list[Row]) -> list[Row]:
    """Sort rows so that those of one question set and method are adjacent; keep run order."""
    kinds = list(dict.fromkeys((row.benchmark, row.method) for row in rows))
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))

    def place(row: Row) -> tuple[int, int]:
        return benchmarks.index(row.benchmark), kinds.index((row.benchmark, row.method))

    return sorted(rows, key=place)


def _provenance(run: LoadedRun) -> Provenance:
    return Provenance(
        name=run.name,
        command=run.info.command,
        created=run.info.created,
        config=run.info.config,
        model=run.info.model,
        data=run.info.data,
        versions=run.info.versions,
        machine=run.info.machine,
        records=len(run.records),
        planned=run.num_planned,
        cut_line=run.cut_line,
        speed=_speed(run.timings),
    )


def _speed(timings: Sequence[Timing]) -> ComputingTotals | None:
    seconds = sum(timing.seconds for timing in timings)
    computed = sum(timing.tokens_computed for timing in timings)
    if seconds <= 0 or computed <= 0:
        return None
    asked = sum(timing.tokens_asked for timing in timings)
    answers = sum(timing.items for timing in timings)
    return ComputingTotals(
        seconds=seconds,
        answers=answers,
        tokens_asked=asked,
        tokens_computed=computed,
        sharing=asked / computed,
        tokens_per_second=computed / seconds,
        answers_per_second=answers / seconds,
    )
