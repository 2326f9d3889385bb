"""Train the order of the statements in answers, and the limit below which there is no answer.

    python tools/train_answers.py                 # the report, and the weights into the package
    python tools/train_answers.py --report-only

Read are the development questions and half a of the test set (tests/assistant/data). Half b of the
test set and of the development files that have one is never read. Each question is judged by models
that saw no question of its topic. Everything is deterministic.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from galenic.assistant.answer.choose import choose
from galenic.assistant.answer.consider import Considered, consider
from galenic.assistant.answer.ranking import CONTEXT, FEATURES, Ranking
from galenic.assistant.answer.reading import QuestionReading, read_question
from galenic.assistant.guards.check import of_answer
from galenic.assistant.handbook.topics import topics

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from answer_rules import half, misleading, said, useful  # noqa: E402

DATA = ROOT / "tests/assistant/data"
WEIGHTS = ROOT / "src/galenic/assistant/answer/ranking.json"
HALVED = ("questions", "development/questions_other", "development/questions_voices",
          "development/questions_home", "development/questions_topics")  # fmt: skip
"""Files of which half b is never read."""
FILES = (*HALVED, "development/questions", "development/questions_unanswerable")
FOLDS = 8
RIDGE, RIDGE_CHANCE = 3.0, 5.0
"""Penalties on the squared weights of the two models."""
LIMIT = 0.36
"""Chance below which nothing is shown."""
DIGITS = 4
"""Decimals of the weights in the file."""


@dataclass
class Asked:
    """A graded question, and how the assistant reads it."""

    row: dict[str, Any]
    reading: QuestionReading
    seen: list[Considered]
    gains: list[np.ndarray[Any, Any]]
    fold: int
    answerable: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report-only", action="store_true")
    flags = parser.parse_args()
    asked = list(questions())
    print(report(asked))
    if not flags.report_only:
        model = trained(asked)
        kept = {
            "statement": dict(zip(FEATURES, map(_rounded, model.statement), strict=True)),
            "context": dict(zip(CONTEXT, map(_rounded, model.context), strict=True)),
            "bias": _rounded(model.bias),
            "limit": model.limit,
        }
        WEIGHTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def questions() -> Iterator[Asked]:
    """Yield the questions that may be read, each with the fold of its topic."""
    for name in FILES:
        for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            if name in HALVED and half(row.get("topic", row["id"])) != "a":
                continue
            reading = read_question(topics(), row["question"])
            seen = [consider(one, reading) for one in reading.matches]
            topic = reading.matches[0].entry.id if seen else row["id"]
            fold = int(hashlib.sha256(topic.encode()).hexdigest(), 16) % FOLDS
            apart = row["kind"] in ("off-topic", "clinic", "dangerous")
            unknown = apart or row["about"].startswith("rare") or "unanswerable" in name
            gains = [_gains(row, one) for one in seen]
            yield Asked(row, reading, seen, gains, fold, not unknown)


def trained(asked: Sequence[Asked]) -> Ranking:
    """Both models, from these questions."""
    answerable = [each for each in asked if each.answerable]
    lists = [(one.features, gain) for each in answerable
             for one, gain in zip(each.seen, each.gains, strict=True)]  # fmt: skip
    order = listwise([(x, gain) for x, gain in lists if gain.sum() > 0])
    free = Ranking(order, np.zeros(len(CONTEXT)), 0.0, 0.0)
    rows, targets = [], []
    for each in asked:
        if each.seen:
            one = each.seen[0]
            best = np.sort(free.scores(one.features))[-3:].mean()
            rows.append([*one.context, best])
            targets.append(each.answerable and useful(each.row, shown(each, free)))
    weights, bias = logistic(np.array(rows), np.array(targets, dtype=float))
    return Ranking(order, weights, bias, LIMIT)


def _gains(row: dict[str, Any], one: Considered) -> np.ndarray[Any, Any]:
    """What each statement is worth: its good phrases, rare ones more."""
    good = row["good_answer_says"]
    table = np.array([[said([g], [p.statement.text]) for g in good] for p in one.places], float)
    return (table / np.sqrt(np.maximum(1, table.sum(0)))).sum(1)


def listwise(lists: Sequence[tuple[Any, Any]]) -> np.ndarray[Any, Any]:
    """Weights under which a softmax over an entry's statements is near the share of their gains."""
    features = np.vstack([x for x, _ in lists])
    sizes = [len(gain) for _, gain in lists]
    starts, owner = np.cumsum([0, *sizes[:-1]]), np.repeat(np.arange(len(lists)), sizes)
    target = np.concatenate([gain / gain.sum() for _, gain in lists])

    def loss(weights: Any) -> tuple[float, Any]:
        scores = features @ weights
        top = np.maximum.reduceat(scores, starts)
        raised = np.exp(scores - top[owner])
        total = np.add.reduceat(raised, starts)
        value = (np.log(total) + top).sum() - target @ scores + RIDGE / 2 * weights @ weights
        return value, features.T @ (raised / total[owner] - target) + RIDGE * weights

    return np.asarray(minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x)


def logistic(features: Any, targets: Any) -> tuple[Any, float]:
    """Weights and intercept of a ridge logistic regression, on standardized features."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    scaled = np.hstack([(features - mean) / spread, np.ones((len(features), 1))])
    penalty = np.array([*[RIDGE_CHANCE] * features.shape[1], 0.0])

    def loss(weights: Any) -> tuple[float, Any]:
        scores = scaled @ weights
        value = np.logaddexp(0, scores).sum() - targets @ scores + penalty / 2 @ weights**2
        return value, scaled.T @ (1 / (1 + np.exp(-scores)) - targets) + penalty * weights

    found = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x
    return found[:-1] / spread, float(found[-1] - found[:-1] @ (mean / spread))


def shown(each: Asked, model: Ranking) -> list[str]:
    """The sentences that are shown, without those that a guard hides."""
    texts = [one.place.statement.text for one in choose(each.reading, model)]
    return [text for text in texts if of_answer(text) is None]


def report(asked: Sequence[Asked]) -> str:
    """What is shown by models that saw no question of the topic, at several limits."""
    models = [trained([one for one in asked if one.fold != fold]) for fold in range(FOLDS)]
    lines = []
    for limit in (0.0, 0.3, 0.4, 0.44, 0.48, 0.52, 0.56):
        count: Counter[str] = Counter()
        for each in asked:
            texts = shown(each, models[each.fold]._replace(limit=limit))
            kind = "answerable" if each.answerable else "others"
            count[kind] += 1
            count[f"{kind} answered"] += bool(texts)
            count["sentences"] += len(texts)
            if each.answerable and texts:
                count["useful"] += useful(each.row, texts)
                count["misleading"] += misleading(each.row, texts)
        answered = count["answerable answered"]
        lines.append(
            f"limit {limit:.2f}: answered {answered} of {count['answerable']}, useful "
            f"{count['useful']} ({count['useful'] / answered:.3f}), misleading "
            f"{count['misleading']}, others answered {count['others answered']} of "
            f"{count['others']}, sentences an answer {count['sentences'] / answered:.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
