"""What a benchmark is: where its splits lie, how a question is asked, how options turn."""

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
    """A set of questions and the one way to ask them.

    Attributes:
        name: as the registry and the records write it.
        title: for tables.
        version: raised whenever the prompt or the mapping from rows to examples changes, so that
            results of different versions are never compared by mistake.
        splits: split name to file in the local layout (``data/sources.py``).
        default_split: the split that is reported.
        fewshot_split: the split few-shot examples are drawn from; never the default one.
        labelled: True when options are shown with letters; False when they are the answer words
            themselves (yes, no, maybe), which are not shown at all.
        context_name: the word before the context.
        answer_prefix: the last line of the prompt, without white space at its end.
        parse: one row of the file to an `Example`; raises ``RowError`` on a broken row.
        exam: for questions of the user's own: what was named, files by split, how to read them.
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
        """Context and question, without options and answer line, no white space at the end.

        Args:
            example: the question.
            context: shown in place of the example's own context, for example its end when the
                whole does not fit; empty leaves the context line out. None shows the example's own.
        """
        shown = example.context if context is None else context
        question = f"Question: {example.question}"
        return f"{self.context_name}: {shown}\n{question}" if shown else question

    def prompt(self, example: Example, *, context: str | None = None) -> str:
        """The stem, the options that are shown, and the answer line; arguments as in `stem`."""
        lines = [self.stem(example, context=context)]
        if self.labelled:
            lines += [f"{label}. {text}" for label, text in example.options.items()]
        return "\n".join([*lines, self.answer_prefix])

    def sample(self) -> Benchmark:
        """This benchmark over the packaged sample questions; its title says so.

        A benchmark over the user's own file stays as it is: there is no sample of it.
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
        """How many cyclic orders of the options differ for the reader: 1 if none are shown."""
        return len(example.options) if self.labelled else 1


def rotate(example: Example, r: int) -> Example:
    """Turn the options by ``r`` places; labels stay where they are.

    Position ``i`` shows the text that was at ``(i + r) % k``; the answer is relabelled with it.
    ``r`` may be any integer, ``rotate(rotate(e, r), k - r)`` gives ``e`` back. Only for options
    that are shown (`Benchmark.num_rotations`): answer words have no order to turn.
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
    """The label that the option shown as ``shown_label`` after ``rotate(…, r)`` has in the source.

    Args:
        labels: all labels in the order of the source.
        shown_label: one of them.
        r: the rotation.
    """
    return labels[(labels.index(shown_label) + r) % len(labels)]
