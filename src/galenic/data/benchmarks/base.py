"""The benchmark class: its split files, its prompt, and the rotation of its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galenic.data.example import Example
from galenic.data.exams.exam import ExamOptions
from galenic.data.rows import parse_row
from galenic.registry import BENCHMARKS

__all__ = ["Benchmark", "original_label", "rotate"]


@dataclass(frozen=True)
class Benchmark:
    """A set of questions and the prompt format used for all of them.

    Attributes:
        name: name in the registry and in records.
        title: name for tables.
        version: increased whenever the prompt or the mapping from rows to examples changes, so that
            results of different versions are never compared by mistake.
        splits: file of each split in the local layout (``data/sources.py``).
        default_split: the split that results are reported on.
        fewshot_split: split that few-shot examples are drawn from; never the default one.
        labelled: True when options are shown with letters; False when they are the answer words
            themselves (yes, no, maybe), which are not shown at all.
        context_name: heading of the context in the prompt.
        answer_prefix: the last line of the prompt, without trailing white space.
        parse: converts one row of the file to an `Example`; raises ``RowError`` on an invalid row.
        exam: for the user's own questions: the path given, files by split, and how to read them.
    """

    name: str
    title: str
    version: int
    splits: Mapping[str, str] = field(hash=False)
    default_split: str
    fewshot_split: str
    labelled: bool = True
    context_name: str = "Context"
    answer_prefix: str = "Answer:"
    parse: Callable[[Mapping[str, Any]], Example] = parse_row
    exam: tuple[Path, Mapping[str, tuple[Path, ...]], ExamOptions] | None = field(
        default=None, hash=False
    )

    def stem(self, example: Example, *, context: str | None = None) -> str:
        """Return context and question, without options, answer line and trailing white space.

        Args:
            example: the question.
            context: replaces the example's context, for example by its end when the whole does not
                fit; empty omits the context. None uses the example's own.
        """
        shown = example.context if context is None else context
        question = f"Question: {example.question}"
        return f"{self.context_name}: {shown}\n{question}" if shown else question

    def prompt(self, example: Example, *, context: str | None = None) -> str:
        """Return stem, options (if shown) and answer line; arguments as in `stem`."""
        lines = [self.stem(example, context=context)]
        if self.labelled:
            lines += [f"{label}. {text}" for label, text in example.options.items()]
        return "\n".join([*lines, self.answer_prefix])

    def sample(self) -> Benchmark:
        """Return this benchmark on the packaged sample questions, with a title that says so.

        A benchmark on the user's own file is returned unchanged: it has no sample.
        """
        own = self.splits[self.default_split]
        if self.name not in BENCHMARKS.own or own.startswith("sample/"):
            return self
        files = {
            self.default_split: f"sample/{self.name}.jsonl",
            self.fewshot_split: f"sample/{self.name}_train.jsonl",
        }
        return replace(self, title=f"{self.title}, sample", splits=files)

    def num_rotations(self, example: Example) -> int:
        """Number of distinct cyclic orders of the options; 1 if the options are not shown."""
        return len(example.options) if self.labelled else 1


def rotate(example: Example, r: int) -> Example:
    """Rotate the option texts by ``r`` positions; labels keep their positions.

    Position ``i`` shows the text that was at ``(i + r) % k``, and the answer label is adjusted.
    ``r`` may be any integer; ``rotate(rotate(e, r), k - r)`` equals ``e``. Use it only for options
    that are shown (`Benchmark.num_rotations`).
    """
    labels = list(example.options)
    k = len(labels)
    if r % k == 0:
        return example
    texts = list(example.options.values())
    options = {label: texts[(i + r) % k] for i, label in enumerate(labels)}
    answer = labels[(labels.index(example.answer) - r) % k]
    return replace(example, options=options, answer=answer)


def original_label(labels: Sequence[str], shown_label: str, r: int) -> str:
    """Return the source's label of the option shown as ``shown_label`` after ``rotate(…, r)``.

    Args:
        labels: all labels in source order.
        shown_label: label of the option after rotation.
        r: the rotation.
    """
    return labels[(labels.index(shown_label) + r) % len(labels)]
