"""Error analysis by kind of question: pure functions over questions and records.

The paper's error analysis gives shares of errors by kind (complex conditions, abbreviations ...),
assigned by hand. Here kinds are defined by reproducible rules; a question may have several, or
none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from galenic.evaluation.metrics import Interval, wilson_interval
from galenic.evaluation.records import Record

__all__ = ["KINDS", "KeptQuestion", "KindErrors", "errors_by_kind", "errors_by_subject", "kinds_of"]

LONG = 90
"""Minimum number of words of a long vignette."""
SHORT_UPPER = re.compile(r"\b(?=[A-Z0-9]*[A-Z])[A-Z][A-Z0-9]{1,5}s?\b")
NO_ABBREVIATIONS = frozenset({"A", "I", "NOT", "EXCEPT", "TRUE", "FALSE", "AND", "OR", "ALL"})
FEWEST = 5
"""Kinds and subjects with fewer questions are not shown, as their shares mean little."""


class KeptQuestion(Protocol):
    """A question as stored in a run."""

    @property
    def question(self) -> str: ...
    @property
    def options(self) -> Mapping[str, str]: ...
    @property
    def meta(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class KindErrors:
    """Errors among the questions of one kind.

    Attributes:
        kind: name of the kind.
        n: number of questions of this kind.
        errors: number of wrong answers among them.
        interval: 95 % Wilson interval of the error rate.
        share: share of all errors that are of this kind.
        others: error rate of all other questions; None if there are none.
    """

    kind: str
    n: int
    errors: int
    interval: Interval
    share: float
    others: float | None

    @property
    def rate(self) -> float:
        """Error rate on questions of this kind."""
        return self.errors / self.n


def _words(*words: str) -> Callable[[KeptQuestion], bool]:
    pattern = re.compile(r"\b(?:" + "|".join(words) + r")\b", re.IGNORECASE)
    return lambda question: pattern.search(question.question) is not None


def _abbreviated(question: KeptQuestion) -> bool:
    text = question.question
    if text.isupper():
        return False
    return any(found not in NO_ABBREVIATIONS for found in SHORT_UPPER.findall(text))


def _has_doses(question: KeptQuestion) -> bool:
    texts = (question.question, *question.options.values())
    return any(_DOSE.search(text) for text in texts)


_DOSE = re.compile(
    r"\d\s*(?:%|/|mg|g\b|kg|mcg|µg|ug|ml|mL|L\b|dl|mmol|meq|mEq|iu\b|IU\b|units?\b|mm\s?hg|bpm|"
    r"years?\b|yrs?\b|months?\b|weeks?\b|days?\b|hours?\b|°|cm\b|mm\b)",
    re.IGNORECASE,
)

_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|any) (?:of )?(?:the )?(?:above|these)\b", re.IGNORECASE
)
_NEGATED = _words(
    "not", "except", "least", "false", "incorrect", "never", "contraindicated", "untrue", "without"
)  # fmt: skip
_SEVERAL_STEPS = _words(
    r"next (?:best )?step", r"most appropriate (?:next|initial|management)", "mechanism of action",
    "mechanism responsible", "best explains", "most likely (?:cause|mechanism|explanation)",
    "underlying", "management",
)  # fmt: skip
_STATEMENTS = _words("true about", "which of the following (?:is|are) true", "true regarding")


def _long(question: KeptQuestion) -> bool:
    return len(question.question.split()) >= LONG


def _multi_step(question: KeptQuestion) -> bool:
    return question.meta.get("meta_info") == "step2&3" or _SEVERAL_STEPS(question)


def _statements(question: KeptQuestion) -> bool:
    return question.meta.get("choice_type") == "multi" or _STATEMENTS(question)


def _all_or_none(question: KeptQuestion) -> bool:
    return any(_ALL_OR_NONE.search(option) for option in question.options.values())


KINDS: Mapping[str, Callable[[KeptQuestion], bool]] = {
    "negation": _NEGATED,
    "numbers and doses": _has_doses,
    "abbreviations": _abbreviated,
    "long vignette": _long,
    "multi-step": _multi_step,
    "several statements": _statements,
    "all or none of the above": _all_or_none,
}
"""Predicate of each kind of question, by name."""


def kinds_of(question: KeptQuestion) -> tuple[str, ...]:
    """Return all kinds that apply to a question."""
    return tuple(kind for kind, holds in KINDS.items() if holds(question))


def errors_by_kind(pairs: Sequence[tuple[KeptQuestion, Record]]) -> list[KindErrors]:
    """Return the errors of each kind, sorted by share of all errors, largest first."""
    return _grouped(pairs, kinds_of)


def errors_by_subject(pairs: Sequence[tuple[KeptQuestion, Record]]) -> list[KindErrors]:
    """Return the errors of each subject (or exam step), if the data names them."""

    def subject(question: KeptQuestion) -> tuple[str, ...]:
        found = question.meta.get("subject_name") or question.meta.get("meta_info")
        return (str(found),) if found else ()

    return _grouped(pairs, subject)


def _grouped(
    pairs: Sequence[tuple[KeptQuestion, Record]], names: Callable[[KeptQuestion], tuple[str, ...]]
) -> list[KindErrors]:
    groups: dict[str, list[Record]] = {}
    for question, record in pairs:
        for name in names(question):
            groups.setdefault(name, []).append(record)
    errors = sum(not record.correct for _, record in pairs)
    found = [
        _errors(name, records, errors, len(pairs))
        for name, records in groups.items()
        if len(records) >= FEWEST
    ]
    return sorted(found, key=lambda one: (-one.share, one.kind))


def _errors(name: str, records: Sequence[Record], all_errors: int, total: int) -> KindErrors:
    n, wrong = len(records), sum(not record.correct for record in records)
    rest = total - n
    return KindErrors(
        kind=name,
        n=n,
        errors=wrong,
        interval=wilson_interval(wrong, n),
        share=wrong / all_errors if all_errors else 0.0,
        others=(all_errors - wrong) / rest if rest else None,
    )
