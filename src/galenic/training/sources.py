"""What a model is tuned on, as text: questions answered by their label, by their text, or pairs.

A source is written ``NAME[:FORM[@SCALE]][=WEIGHT]``, several apart by commas::

    medquad                     prompt/response pairs; every tenth topic is held out
    benchmarks:train            the training splits of all benchmarks, answered by label
    medqa, medmcqa:text=0.5     one benchmark, its answer as a label or as text, half as often
    medmcqa:options             the text of the right option, to be likelier than the others
    medmcqa:options@1           the same, the loss taking likelihoods per byte times 1, not 3
    medmcqa:kept@10             its options stay as likely as they were before tuning
    pubmedqa:artificial         yes/no questions made from the sentences of its abstracts; nothing
                                of them is held out: real questions beside them are looked at
    questions.jsonl             questions of your own, as `galenic evaluate` reads them

Test questions never come in: training splits only. What is held out shares no question and no topic
with what is trained on: MedQuAD by topic, PubMedQA its last fold (``cv_fold`` 9), MedQA its dev
split, everything else a tenth by a hash of the question. MedQA training rows that share a vignette
with a dev or test question (``near_eval``) are left out.
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
"""What may stand behind a benchmark's name, and the form it means."""
RANKED: tuple[Form, ...] = ("options", "kept", "artificial")
"""Forms whose loss compares the options with each other."""
HELDOUT_FOLD = 9
OPTION_SCALE = 3.0
"""Log-probabilities per byte of a question's options differ by up to a nat: times this, their
softmax can be nearly even and nearly sure."""
HELDOUT_TENTHS = 1
_LETTERS = re.compile(r"\b[A-F](?:\s*(?:,|/|\+|&|and|or)\s*[A-F])+\b", re.IGNORECASE)


@dataclass(frozen=True)
class LabelText:
    """A question as `galenic evaluate` asks it, answered by label or text of the right option.

    Attributes:
        group: the benchmark's name.
        id: of the question.
        prompt: all before the answer.
        answer: the continuation that is learnt, beginning with a space.
        choices: label and continuation of every option, in the order shown.
        gold: label of the right option as shown.
        example: the question with its options as shown.
        ranked: the answer is to be likelier per byte than the other choices, as `text_per_byte`
            scoring compares them, rather than likely.
        scale: the softmax over the choices takes log-likelihoods per byte times this.
        kept: not the right choice is learnt, but the distribution that the untuned model has.
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
    """A prompt and the response that is learnt, which begins with a space."""

    group: str
    id: str
    prompt: str
    response: str


@dataclass(frozen=True)
class TrainingSet:
    """One source of training text.

    Attributes:
        name: the benchmark's name, or ``medquad``.
        form: what its texts look like.
        train: rows to learn from.
        heldout: rows for validation; no question or topic of them is in ``train``.
        benchmark: how its questions are asked; None for pairs.
        weight: how often a row is seen in one epoch, on average.
        sha256: of the file that was read.
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
        """The texts of one epoch: ``weight`` times the rows, in a random order.

        Rows are gone through in one order, drawn anew only by the seed, on and on over the epochs,
        so that with weight 0.5 two epochs see each once. Each time through, options are shuffled
        differently; with ``permutations`` there are so many orders of them, one after the other.
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
        """The held-out rows in the order of the file, options as they are."""
        return self._write(self.heldout, seed=0, epoch=0, shuffle=False)

    def some_heldout(self, count: int, seed: int) -> list[LabelText | PairText]:
        """At most so many of the held-out texts, drawn at random, in their own order."""
        texts = self.heldout_texts()
        if len(texts) <= count:
            return texts
        rng = random.Random(f"{seed}/{self.name}/heldout")  # noqa: S311
        return [texts[place] for place in sorted(rng.sample(range(len(texts)), count))]

    def without(self, ids: Iterable[str]) -> TrainingSet:
        """The set without those rows, held-out ones included."""
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
    """Questions answered by label only, options in an order of this seed and epoch.

    Where no options are shown (PubMedQA) there is no order to shuffle.
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
    """The same question, to be answered by the text of an option."""
    choices = tuple((label, f" {option}") for label, option in text.example.options.items())
    return replace(text, answer=dict(choices)[text.gold], choices=choices, ranked=True)


def shuffle_options(example: Example, rng: random.Random) -> Example:
    """Deal the option texts out to the labels anew; the answer goes with its text.

    Options that name others by letter ("A and B") keep every option where it is.
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
    """Questions without options, answered by the text of the right one."""
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
    """Questions answered in free text, in the form of the calibration text."""
    return [
        PairText("medquad", pair.id, f"Question: {pair.question}\nAnswer:", f" {pair.answer}")
        for pair in pairs
    ]


def epoch_texts(
    sets: Sequence[TrainingSet], *, seed: int, epoch: int, permutations: int | None = None
) -> list[LabelText | PairText]:
    """The texts of all sets for one epoch, mixed; the same for the same seed and epoch."""
    texts = [
        text
        for one in sets
        for text in one.texts(seed=seed, epoch=epoch, permutations=permutations)
    ]
    random.Random(f"{seed}/{epoch}/mix").shuffle(texts)  # noqa: S311
    return texts


@dataclass(frozen=True)
class SourceSpec:
    """One source as it is named: see the head of this module."""

    name: str
    form: Form
    weight: float = 1.0
    scale: float = OPTION_SCALE


def parse_sources(spec: str) -> list[SourceSpec]:
    """Read ``NAME[:FORM[@SCALE]][=WEIGHT]``, several apart by commas.

    Raises:
        UserError: nothing is named, or a form, scale or weight is not allowed.
    """
    found = [_parse_source(part) for part in filter(None, map(str.strip, spec.split(",")))]
    if not found:
        raise UserError("no training data is named: medquad, benchmarks:train, medqa, FILE.jsonl.")
    return found


def _parse_source(part: str) -> SourceSpec:
    left, equals, weight = part.partition("=")
    name, colon, form = left.strip().rpartition(":")
    if not colon or is_custom(form):  # a file's name may hold a colon of its own
        name, form = f"{name}{colon}{form}", "train"
    form, at, scale = form.partition("@")
    if form not in FORMS:
        raise unknown_name(f"form of {name}", form, FORMS)
    if at and FORMS[form] not in RANKED:
        raise UserError(f"{part!r}: @ goes with {', '.join(RANKED)}, which compare options.")
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
    """Read the sources of training text, their held-out parts kept apart.

    Args:
        spec: see the head of this module.
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
            raise UserError(f"{benchmark.name}:artificial: only pubmedqa has abstracts to turn.")
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
        benchmark.name, form, train, heldout, benchmark, spec.weight, loaded.sha256, spec.scale
    )


def _is_heldout(example: Example) -> bool:
    fold = example.meta.get("cv_fold")
    if isinstance(fold, int):
        return fold == HELDOUT_FOLD
    key = " ".join(_question(example)).encode()
    return hashlib.sha256(key).digest()[0] * 10 // 256 < HELDOUT_TENTHS


def _question(row: Example | QuestionAnswer) -> tuple[str, ...]:
    return words_of(row.question) or (row.question,)


def _kept_apart(sets: Sequence[TrainingSet]) -> list[TrainingSet]:
    """Take out of training what any of the sets holds out, word for word."""
    heldout = {_question(row) for one in sets for row in one.heldout}
    kept = [one.without(row.id for row in one.train if _question(row) in heldout) for one in sets]
    for one in kept:
        if not one.train:
            raise UserError(f"{one.name}: no row is left to train on.")
    return kept
