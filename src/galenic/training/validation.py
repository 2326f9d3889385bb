"""Validation on held-out texts: loss, accuracy, and the histogram of predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from galenic.training.batch import Batch, Tally
from galenic.training.learner import Learner
from galenic.training.losses import Distillation, option_scores, read_log_probs

__all__ = [
    "Validation",
    "describe",
    "measure",
    "summarize",
]

COLLAPSED_SHARE = 0.9
"""Predictions have collapsed if a label's share exceeds this and its share of right answers."""
FEWEST_ANSWERS = 10
"""With fewer answers no collapse is reported: a few may agree by chance."""
BAR_LENGTH, BLOCK = 20, "█"


@dataclass(frozen=True)
class Validation:
    """Result of a validation on the held-out split.

    Attributes:
        step: number of optimizer steps done.
        loss: weighted mean over the supervised tokens, in nats.
        accuracy: share of right answers by group.
        predictions: by group, how often each choice was predicted.
        gold: by group, how often each choice was right.
        divergence: weighted mean of KL(teacher || model) over the supervised tokens, in nats.
        share: weight of the divergence in the training loss; 0 without a teacher.
    """

    step: int
    loss: float
    accuracy: dict[str, float]
    predictions: dict[str, dict[str, int]]
    gold: dict[str, dict[str, int]]
    divergence: float = 0.0
    share: float = 0.0

    @property
    def judged(self) -> float:
        """Validation criterion, lower is better: divergence and loss weighted by ``share``."""
        return self.share * self.divergence + (1 - self.share) * self.loss

    def collapsed(self) -> dict[str, str]:
        """Groups whose predictions are nearly all the same label, with that label."""
        found = {}
        for group, counts in self.predictions.items():
            total = sum(counts.values())
            label, most = max(counts.items(), key=lambda pair: pair[1])
            usual = self.gold[group].get(label, 0) / total
            if total >= FEWEST_ANSWERS and most / total > max(COLLAPSED_SHARE, usual):
                found[group] = label
        return found


def measure(learner: Learner, batches: Iterable[Batch]) -> Tally:
    """Compute loss and answers on the batches; leaves the model in eval mode."""
    taught = learner.objective if isinstance(learner.objective, Distillation) else None
    text, tally = taught.text if taught else learner.objective, Tally()
    tally.share = taught.alpha if taught else 0.0
    learner.eval()
    with torch.no_grad():
        for batch in batches:
            with learner.attending(batch):
                logits = learner.logits(batch)
                if taught and taught.alpha:
                    tally.divergence += float(taught.divergence(logits, batch))
            tally.loss += float(text(logits, batch))
            tally.weight += batch.weight
            for item, label in zip(batch.items, _answers(logits, batch), strict=True):
                if label is not None:
                    tally.answers[item.group, label, item.gold] += 1
    return tally


def summarize(tallies: Sequence[Tally], step: int) -> Validation:
    """Combine the results of all processes.

    Raises:
        ValueError: there were no texts.
    """
    weight = sum(tally.weight for tally in tallies)
    if not weight:
        raise ValueError("nothing to validate on")
    predictions: dict[str, Counter[str]] = {}
    gold: dict[str, Counter[str]] = {}
    right: Counter[str] = Counter()
    for tally in tallies:
        for (group, label, true), count in tally.answers.items():
            predictions.setdefault(group, Counter())[label] += count
            gold.setdefault(group, Counter())[true] += count
            right[group] += count * (label == true)
    return Validation(
        step=step,
        loss=sum(tally.loss for tally in tallies) / weight,
        accuracy={group: right[group] / gold[group].total() for group in sorted(gold)},
        predictions={group: dict(sorted(predictions[group].items())) for group in sorted(gold)},
        gold={group: dict(sorted(gold[group].items())) for group in sorted(gold)},
        divergence=sum(tally.divergence for tally in tallies) / weight,
        share=tallies[0].share,
    )


def _answers(logits: Any, batch: Batch) -> list[str | None]:
    """Predicted label of each item, by the token that distinguishes the choices; None without.

    For an item with options it is the option of highest log-likelihood per byte.
    """
    ranked = _ranked_scores(logits, batch)
    found: list[str | None] = []
    for number, item in enumerate(batch.items):
        if number in ranked:
            found.append(item.options[int(ranked[number].argmax())].label)
            continue
        if not item.choices:
            found.append(None)
            continue
        row = logits[batch.place[batch.first[number] + item.shared]]  # reads are in text order
        scores = [float(row[token]) for _, token in item.choices]
        found.append(item.choices[scores.index(max(scores))][0])
    return found


def _ranked_scores(logits: Any, batch: Batch) -> dict[int, Any]:
    if not batch.ranked:
        return {}
    return option_scores(read_log_probs(logits, batch), batch)


def describe(validation: Validation, best: Validation | None = None, *, unit: str = "step") -> str:
    """Format as text: a line with the loss, and one per group with accuracy and histogram.

    Args:
        validation: the validation to describe.
        best: the best validation so far.
        unit: what ``validation.step`` counts.
    """
    first = f"{unit} {validation.step}: {_numbers(validation)}"
    if best is not None and best.step != validation.step:
        first += f" (best: {unit} {best.step}, {_numbers(best)})"
    width = max((len(group) for group in validation.predictions), default=0)
    lines = [first]
    for group, counts in validation.predictions.items():
        total = sum(counts.values())
        bars = "  ".join(
            f"{label} {count} {BLOCK * round(BAR_LENGTH * count / total)}"
            for label, count in counts.items()
        )
        mark = "  COLLAPSED" if group in validation.collapsed() else ""
        lines.append(
            f"  {group:<{width}}  right {validation.accuracy[group]:.3f}  predicted {bars}{mark}"
        )
    return "\n".join(lines)


def _numbers(validation: Validation) -> str:
    taught = f", KL to the teacher {validation.divergence:.4f}" if validation.share else ""
    return f"held-out loss {validation.loss:.4f}{taught}"
