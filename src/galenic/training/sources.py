"""Training texts: questions answered by label or by text, and prompt/response pairs.

A source is written ``NAME[:FORM[@SCALE]][=WEIGHT]``; several are separated by commas::

    medquad                     prompt/response pairs; every tenth topic is held out
    benchmarks:train            the training splits of all benchmarks, answered by label
    medqa, medmcqa:text=0.5     one benchmark, answered by label or by text, with weight 0.5
    medmcqa:options             raise the likelihood of the right option relative to the others
    medmcqa:options@1           the same, with log-likelihoods per byte scaled by 1 instead of 3
    medmcqa:kept@10             keep the options as likely as they are before tuning
    pubmedqa:artificial         yes/no questions generated from sentences of the abstracts; none
                                are held out: use real questions besides for validation
    questions.jsonl             your own questions, in the format of `galenic evaluate`

Test questions are never used, only training splits. Held-out data shares no question and no topic
with the training data: MedQuAD is split by topic, PubMedQA holds out its last fold (``cv_fold`` 9),
MedQA uses its dev split, and all others hold out a tenth by a hash of the question. MedQA training
rows that share a vignette with a dev or test question (``near_eval``) are left out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from galenic.data.benchmarks import Benchmark, resolve_benchmarks
from galenic.data.benchmarks.custom import is_custom
from galenic.data.calibration import MEDQUAD, QuestionAnswer, read_medquad
from galenic.data.example import Example
from galenic.data.sources import DataSource, open_source
from galenic.errors import UserError, unknown_name
from galenic.training.artificial import artificial_questions, parse_with_conclusion
from galenic.training.near import words_of

__all__ = [
    "RANKED",
    "LabelText",
    "PairText",
    "SourceSpec",
    "TrainingSet",
    "epoch_texts",
    "label_texts",
    "option_texts",
    "pair_texts",
    "parse_sources",
    "read_training",
    "shuffle_options",
]

Form: TypeAlias = Literal["label", "options", "kept", "artificial", "text", "pairs"]
FORMS: dict[str, Form] = {
    "train": "label",
    "label": "label",
    "options": "options",
    "kept": "kept",
    "artificial": "artificial",
    "text": "text",
}
"""Allowed suffixes of a benchmark's name, and the form each stands for."""
RANKED: tuple[Form, ...] = ("options", "kept", "artificial")
"""Forms whose loss compares the answer options with each other."""
HELDOUT_FOLD = 9
OPTION_SCALE = 3.0
"""Default scale. Log-likelihoods per byte of a question's options differ by up to 1 nat; scaled by
this, their softmax ranges from nearly uniform to nearly certain."""
HELDOUT_TENTHS = 1
_LETTERS = re.compile(r"\b[A-F](?:\s*(?:,|/|\+|&|and|or)\s*[A-F])+\b", re.IGNORECASE)


@dataclass(frozen=True)
class LabelText:
    """A question in the prompt format of `galenic evaluate`, with its answer as label or text.

    Attributes:
        group: the benchmark's name.
        id: id of the question.
        prompt: everything before the answer.
        answer: the continuation to learn, beginning with a space.
        choices: (label, continuation) of every option, in the order shown.
        gold: label of the right option as shown.
        example: the question with its options as shown.
        ranked: train the answer to be likelier per byte than the other choices, as `text_per_byte`
            scoring compares them, instead of maximising its own likelihood.
        scale: factor on the log-likelihoods per byte in the softmax over the choices.
        kept: learn the untuned model's distribution over the choices instead of the right one.
    """

    group: str
    id: str
    prompt: str
    answer: str
    choices: tuple[tuple[str, str], ...]
    gold: str
    example: Example
    ranked: bool = False
    scale: float = OPTION_SCALE
    kept: bool = False


@dataclass(frozen=True)
class PairText:
    """A prompt and the response to learn, which begins with a space."""

    group: str
    id: str
    prompt: str
    response: str


@dataclass(frozen=True)
class TrainingSet:
    """One source of training text.

    Attributes:
        name: the benchmark's name, or ``medquad``.
        form: form of its texts.
        train: rows to learn from.
        heldout: rows for validation; share no question and no topic with ``train``.
        benchmark: formats the questions; None for pairs.
        weight: average number of times that a row is seen per epoch.
        sha256: digest of the file that was read.
        scale: see `LabelText`.
    """

    name: str
    form: Form
    train: tuple[Example | QuestionAnswer, ...]
    heldout: tuple[Example | QuestionAnswer, ...]
    benchmark: Benchmark | None
    weight: float
    sha256: str
    scale: float = OPTION_SCALE

    def texts(
        self, *, seed: int, epoch: int, permutations: int | None = None
    ) -> list[LabelText | PairText]:
        """Return the texts of an epoch: ``weight`` times the number of rows, in random order.

        The order depends on the seed alone, and each epoch continues where the last one stopped:
        with weight 0.5, two epochs see every row once. Options are reshuffled each time all rows
        were seen; with ``permutations``, that many orders of the options are used in turn.
        """
        count = len(self.train)
        order = random.Random(f"{seed}/{self.name}/order").sample(range(count), count)  # noqa: S311
        first, last = round(epoch * self.weight * count), round((epoch + 1) * self.weight * count)
        texts: list[LabelText | PairText] = []
        for turn in range(first // count, -(-last // count)):
            start, stop = max(first - turn * count, 0), min(last - turn * count, count)
            rows = [self.train[order[i]] for i in range(start, stop)]
            orders = turn if permutations is None else turn % permutations
            texts += self._write(rows, seed=seed, epoch=orders, shuffle=True)
        return texts

    def heldout_texts(self) -> list[LabelText | PairText]:
        """Return the held-out texts in the order of the file, without shuffling options."""
        return self._write(self.heldout, seed=0, epoch=0, shuffle=False)

    def some_heldout(self, count: int, seed: int) -> list[LabelText | PairText]:
        """Return a random sample of up to ``count`` held-out texts, in the order of the file."""
        texts = self.heldout_texts()
        if len(texts) <= count:
            return texts
        rng = random.Random(f"{seed}/{self.name}/heldout")  # noqa: S311
        return [texts[place] for place in sorted(rng.sample(range(len(texts)), count))]

    def without(self, ids: Iterable[str]) -> TrainingSet:
        """Return a copy without the rows of these ids, both in ``train`` and ``heldout``."""
        left_out = frozenset(ids)
        train, heldout = (
            tuple(row for row in rows if row.id not in left_out)
            for rows in (self.train, self.heldout)
        )
        return replace(self, train=train, heldout=heldout)

    def _write(
        self, rows: Sequence[Example | QuestionAnswer], *, seed: int, epoch: int, shuffle: bool
    ) -> list[LabelText | PairText]:
        if self.benchmark is None:
            return list(pair_texts([row for row in rows if isinstance(row, QuestionAnswer)]))
        examples = [row for row in rows if isinstance(row, Example)]
        if self.form == "text":
            return list(option_texts(self.benchmark, examples))
        texts = label_texts(self.benchmark, examples, seed=seed, epoch=epoch, shuffle=shuffle)
        if self.form not in RANKED:
            return list(texts)
        kept = self.form == "kept"
        return [replace(_by_text(text), scale=self.scale, kept=kept) for text in texts]


def label_texts(
    benchmark: Benchmark,
    examples: Sequence[Example],
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
) -> list[LabelText]:
    """Format questions to be answered by label; options are shuffled by seed and epoch.

    If the prompt shows no options (PubMedQA), nothing is shuffled.
    """
    texts = []
    for example in examples:
        shown = example
        if shuffle and benchmark.labelled:
            key = f"{seed}/{epoch}/{benchmark.name}/{example.id}"
            shown = shuffle_options(example, random.Random(key))  # noqa: S311
        texts.append(
            LabelText(
                group=benchmark.name,
                id=example.id,
                prompt=benchmark.prompt(shown),
                answer=f" {shown.answer}",
                choices=tuple((label, f" {label}") for label in shown.options),
                gold=shown.answer,
                example=shown,
            )
        )
    return texts


def _by_text(text: LabelText) -> LabelText:
    """Return the same question with option texts, not labels, as answer and choices."""
    choices = tuple((label, f" {option}") for label, option in text.example.options.items())
    return replace(text, answer=dict(choices)[text.gold], choices=choices, ranked=True)


def shuffle_options(example: Example, rng: random.Random) -> Example:
    """Shuffle the option texts among the labels; the answer label is updated accordingly.

    Returned unchanged if an option refers to others by letter ("A and B").
    """
    labels = list(example.options)
    if any(_LETTERS.search(text) for text in example.options.values()):
        return example
    came_from = rng.sample(labels, len(labels))
    options = {
        label: example.options[source] for label, source in zip(labels, came_from, strict=True)
    }
    return replace(example, options=options, answer=labels[came_from.index(example.answer)])


def option_texts(benchmark: Benchmark, examples: Sequence[Example]) -> list[PairText]:
    """Format questions without showing the options, to be answered by the right option's text."""
    return [
        PairText(
            group=benchmark.name,
            id=example.id,
            prompt=f"{benchmark.stem(example)}\n{benchmark.answer_prefix}",
            response=f" {example.options[example.answer]}",
        )
        for example in examples
    ]


def pair_texts(pairs: Sequence[QuestionAnswer]) -> list[PairText]:
    """Format question/answer pairs in the same way as the calibration text."""
    return [
        PairText("medquad", pair.id, f"Question: {pair.question}\nAnswer:", f" {pair.answer}")
        for pair in pairs
    ]


def epoch_texts(
    sets: Sequence[TrainingSet], *, seed: int, epoch: int, permutations: int | None = None
) -> list[LabelText | PairText]:
    """Return the shuffled texts of all sets for an epoch; deterministic in seed and epoch."""
    texts = [
        text
        for one in sets
        for text in one.texts(seed=seed, epoch=epoch, permutations=permutations)
    ]
    random.Random(f"{seed}/{epoch}/mix").shuffle(texts)  # noqa: S311
    return texts


@dataclass(frozen=True)
class SourceSpec:
    """A parsed source of training text; see the module's docstring for the syntax."""

    name: str
    form: Form
    weight: float = 1.0
    scale: float = OPTION_SCALE


def parse_sources(spec: str) -> list[SourceSpec]:
    """Parse a comma-separated list of ``NAME[:FORM[@SCALE]][=WEIGHT]``.

    Raises:
        UserError: the list is empty, or a form, scale or weight is invalid.
    """
    found = [_parse_source(part) for part in filter(None, map(str.strip, spec.split(",")))]
    if not found:
        raise UserError("no training data is named: medquad, benchmarks:train, medqa, FILE.jsonl.")
    return found


def _parse_source(part: str) -> SourceSpec:
    left, equals, weight = part.partition("=")
    name, colon, form = left.strip().rpartition(":")
    if not colon or is_custom(form):  # a file name may contain a colon
        name, form = f"{name}{colon}{form}", "train"
    form, at, scale = form.partition("@")
    if form not in FORMS:
        raise unknown_name(f"form of {name}", form, FORMS)
    if at and FORMS[form] not in RANKED:
        raise UserError(f"{part!r}: @ works only with {', '.join(RANKED)}, which compare options.")
    return SourceSpec(
        name,
        "pairs" if name == "medquad" else FORMS[form],
        _positive(part, "weight", weight) if equals else 1.0,
        _positive(part, "scale", scale) if at else OPTION_SCALE,
    )


def _positive(part: str, what: str, given: str) -> float:
    try:
        number = float(given)
    except ValueError:
        number = 0.0
    if not 0 < number <= 100:
        raise UserError(f"{part!r}: the {what} must be above 0 and at most 100.")
    return number


def read_training(spec: str, data: Path | Literal["sample"] | None) -> list[TrainingSet]:
    """Read sources of training text, split into training and held-out rows.

    Args:
        spec: list of sources; see the module's docstring for the syntax.
        data: as for `galenic.data.sources.open_source`.

    Raises:
        UserError: a source is unknown, a file is missing or damaged, or nothing is left to train
            on.
    """
    source = open_source(data)
    sets: list[TrainingSet] = []
    for one in parse_sources(spec):
        if one.form == "pairs":
            sets.append(_medquad_set(source, one.weight))
            continue
        for benchmark in resolve_benchmarks(["all" if one.name == "benchmarks" else one.name]):
            sets.append(_benchmark_set(source, benchmark, one))
    return _kept_apart(sets)


def _medquad_set(source: DataSource, weight: float) -> TrainingSet:
    if source.fetch is not None or source.sample:
        raise UserError(f"MedQuAD is read from a folder: --data DIR with {MEDQUAD} in it.")
    sha256, train = read_medquad(source.folder, "calibration")
    _, heldout = read_medquad(source.folder, "heldout")
    return TrainingSet("medquad", "pairs", train, heldout, None, weight, sha256)


def _benchmark_set(source: DataSource, benchmark: Benchmark, spec: SourceSpec) -> TrainingSet:
    form = spec.form
    if source.sample:
        benchmark = benchmark.sample()
    if form == "artificial":
        if benchmark.name != "pubmedqa":
            raise UserError(
                f"{benchmark.name}:artificial: only pubmedqa has abstracts to make questions from."
            )
        benchmark = replace(benchmark, parse=parse_with_conclusion)
    own = benchmark.name not in ("pubmedqa", "medqa_4options", "medqa_5options", "medmcqa")
    split = benchmark.default_split if own else benchmark.fewshot_split
    loaded = source.load(benchmark, split)
    rows = loaded.clean_examples
    if "dev" in benchmark.splits:
        train, heldout = rows, source.load(benchmark, "dev").examples
    else:
        apart = [_is_heldout(row) for row in rows]
        train = tuple(row for row, out in zip(rows, apart, strict=True) if not out)
        heldout = tuple(row for row, out in zip(rows, apart, strict=True) if out)
    if form == "artificial":
        train, heldout = artificial_questions(train), ()
    return TrainingSet(
        benchmark.name, form, train, heldout, loaded.benchmark, spec.weight, loaded.sha256,
        spec.scale,
    )  # fmt: skip


def _is_heldout(example: Example) -> bool:
    fold = example.meta.get("cv_fold")
    if isinstance(fold, int):
        return fold == HELDOUT_FOLD
    key = " ".join(_question(example)).encode()
    return hashlib.sha256(key).digest()[0] * 10 // 256 < HELDOUT_TENTHS


def _question(row: Example | QuestionAnswer) -> tuple[str, ...]:
    return words_of(row.question) or (row.question,)


def _kept_apart(sets: Sequence[TrainingSet]) -> list[TrainingSet]:
    """Remove training rows whose question (compared by words) is held out in any of the sets."""
    heldout = {_question(row) for one in sets for row in one.heldout}
    kept = [one.without(row.id for row in one.train if _question(row) in heldout) for one in sets]
    for one in kept:
        if not one.train:
            raise UserError(f"{one.name}: no row is left to train on.")
    return kept
