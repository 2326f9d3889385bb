"""Train the second classifier of triage, which doubts alarms, and say what its limits let through.

    python tools/train_second.py                    # the report, and the weights into the package
    python tools/train_second.py --report-only

One linear model for urgent (emergency, today) or not, on `tools/triage/corpus` and on those
development texts whose misses may be read; each text stands in it twice, as written and with its
symptoms hidden. Kinds of texts are kept apart: each is judged by a model that saw none of its kind,
and the halves that only give totals by a model that saw none of them. Everything is seeded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

import train_triage as first
from galenic.assistant.triage.concepts import find
from galenic.assistant.triage.framing import asks_of_somebody
from galenic.assistant.triage.raising.classifier import SECOND, Weights, write_weights
from galenic.assistant.triage.raising.second import RULES
from galenic.assistant.triage.raising.self_harm import without_figures
from galenic.assistant.triage.reading import populations, read
from galenic.assistant.triage.rules import prepared

DEVELOPMENT = Path(__file__).parents[1] / "tests/assistant/triage/data/development"
MORE = first.CORPUS.parent / "second.jsonl"
"""Harmless texts with alarming words, for this classifier alone."""
TOTALS_ONLY = ("test", "held-out")
URGENT = ("emergency", "today")
STRENGTH = 2.0


@dataclass(frozen=True)
class Text:
    text: str
    tier: str
    kind: str
    unread: bool = False
    """Whether only totals are taken from it."""


def texts() -> list[Text]:
    corpus = first.read_corpus()
    found = [Text(*one) for one in zip(corpus.texts, corpus.tiers, corpus.conditions, strict=True)]
    for path in (MORE, *sorted(DEVELOPMENT.glob("*.jsonl"))):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            unread = row.get("half") in TOTALS_ONLY or path.stem == "check"
            if row.get("set") != "languages":
                kind = f"{path.stem} {row.get('kind', '')}"
                found.append(Text(row["text"], row["tier"], kind, unread))
    return found


def masked(text: str) -> str:
    reading = read(without_figures(text), prepared(None))
    return " ".join(reading.masked) or text


def fit(counted: first.Counted, urgent: np.ndarray, rows: np.ndarray) -> Weights:
    """Train on the rows and on those of the second reading, which come behind all of the first."""
    both = np.concatenate([rows, rows + len(urgent)])
    idf = first.rarity(counted[both])
    used = np.flatnonzero(idf)
    model = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=first.SEED)
    model.fit(first.scaled(counted[both], idf)[:, used], np.tile(urgent[rows], 2))
    table = np.zeros((len(idf), 1))
    table[used, 0] = model.coef_[0]
    return Weights.from_floats(idf, table, model.intercept_)


def odds(weights: Weights, counted: first.Counted, rows: np.ndarray, n: int) -> np.ndarray:
    """Mean log-odds of both readings."""
    return (first.score(weights, counted[rows]) + first.score(weights, counted[rows + n]))[:, 0] / 2


def stacked(every: Sequence[Text]) -> first.Counted:
    parts = [first.count([one.text for one in every]), first.count([masked(t.text) for t in every])]
    return first.Counted(
        *(sp.vstack([getattr(one, name) for one in parts]).tocsr() for name in ("words", "letters"))
    )


def is_alarming(text: str) -> bool:
    """Whether concept rules call a text an emergency."""
    ready = prepared(None)
    reading = read(without_figures(text), ready)
    people = populations(ready.rules.populations, reading)
    alarmed = any(one.tier == "emergency" for one in find(reading, ready, people))
    return alarmed and not asks_of_somebody(reading.sentences)


def report(every: Sequence[Text], found: np.ndarray) -> None:
    tiers, unread = np.array([t.tier for t in every]), np.array([t.unread for t in every])
    alarmed = np.array([is_alarming(one.text) for one in every])
    for name, rows in (("kinds not seen", ~unread), ("halves not seen", unread)):
        for tier, those in (
            ("emergencies", tiers == "emergency"),
            ("harmless", ~np.isin(tiers, URGENT)),
        ):
            which = rows & alarmed & those
            print(
                f"{name}, {tier} that rules call an emergency: "
                f"{(found[which] < RULES).sum()} of {which.sum()} under {RULES}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report-only", action="store_true", help="write no weights")
    parser.add_argument("--output", type=Path, default=SECOND, help="the file of the weights")
    options = parser.parse_args()
    every = texts()
    urgent = np.array([one.tier in URGENT for one in every])
    unread = np.array([one.unread for one in every])
    counted, n = stacked(every), len(every)
    fold_of = first.folds(np.array([one.kind for one in every]))
    found = np.zeros(n)
    for fold in range(first.FOLDS):
        test = np.flatnonzero((fold_of == fold) & ~unread)
        weights = fit(counted, urgent, np.flatnonzero((fold_of != fold) & ~unread))
        found[test] = odds(weights, counted, test, n)
    weights = fit(counted, urgent, np.flatnonzero(~unread))
    found[unread] = odds(weights, counted, np.flatnonzero(unread), n)
    print(f"{n} texts, {unread.sum()} of them not trained on, {urgent.sum()} urgent")
    if not options.report_only:
        write_weights(weights, options.output)
        print(f"{options.output}: {options.output.stat().st_size:,} bytes")
    report(every, found)


if __name__ == "__main__":
    main()
