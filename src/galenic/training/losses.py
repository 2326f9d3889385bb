"""Loss functions of training, summed over supervised tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from galenic.training.batch import Batch, make_batch

__all__ = ["CrossEntropy", "Distillation", "option_scores", "read_log_probs"]


class CrossEntropy:
    """Negative log-likelihood of the supervised tokens, in nats.

    For a text with options, it is the negative log-probability of the right option, in a softmax
    over ``scale`` times the options' log-likelihoods per byte. For a text marked ``kept``, it is
    ``KL(untuned || model)`` between these softmaxes: Li and Hoiem, Learning without Forgetting
    (2016), https://arxiv.org/abs/1606.09282.

    Args:
        untuned: returns the untuned model's logits at a batch's rows, shape (r, vocabulary);
            required if any text is ``kept``.
    """

    def __init__(self, untuned: Callable[[Batch], Any] | None = None) -> None:
        self.untuned = untuned

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum over the batch's reads; logits (r, vocabulary)."""
        log_probs = read_log_probs(logits, batch)
        if not batch.ranked:
            return -log_probs @ batch.weights
        wanted = self._wanted(batch)
        weights, total = batch.weights.clone(), 0.0
        for number, scores in option_scores(log_probs, batch).items():
            ranked = batch.ranked[number]
            reads = slice(*ranked.reads)
            found = torch.log_softmax(ranked.scale * scores, dim=0)
            before = wanted.get(number)
            if before is None:
                loss = -found[ranked.gold]
            else:
                loss = torch.nn.functional.kl_div(found, before, reduction="sum", log_target=True)
            total = total + loss * batch.weights[reads].sum()
            weights[reads] = 0.0
        return -log_probs @ weights + total

    def _wanted(self, batch: Batch) -> dict[int, Any]:
        """Untuned log-probabilities of the options of ``kept`` items, by index in the batch."""
        kept = [number for number, item in enumerate(batch.items) if item.kept]
        if not kept:
            return {}
        if self.untuned is None:
            raise ValueError("there is no untuned model")
        asked = make_batch([batch.items[number] for number in kept]).to(batch.weights.device)
        with torch.no_grad():
            scores = option_scores(read_log_probs(self.untuned(asked), asked), asked)
        return {
            number: torch.log_softmax(batch.ranked[number].scale * scores[place], dim=0)
            for place, number in enumerate(kept)
        }


def option_scores(log_probs: Any, batch: Batch) -> dict[int, Any]:
    """Log-likelihood per byte of each option, shape (k,), for every item with options.

    Args:
        log_probs: log-probabilities of all reads, shape (p,).
        batch: the items; the result is keyed by their index in it.
    """
    found = {}
    for number, ranked in batch.ranked.items():
        reads = log_probs[slice(*ranked.reads)]
        sums = torch.zeros(len(ranked.num_bytes), dtype=reads.dtype, device=reads.device)
        sums = sums.index_add(0, ranked.option.to(reads.device), reads)
        found[number] = sums / ranked.num_bytes.to(reads.device)
    return found


def read_log_probs(logits: Any, batch: Batch) -> Any:
    """Log-probability of each supervised token, shape (p,)."""
    losses = torch.nn.functional.cross_entropy(logits[batch.place], batch.targets, reduction="none")
    return -losses


class Distillation:
    """Distillation loss: ``alpha T^2 KL(teacher_T || student_T) + (1-alpha) CE``.

    Hinton et al., Distilling the Knowledge in a Neural Network (2015),
    https://arxiv.org/abs/1503.02531.

    Args:
        teacher: returns the teacher's logits at a batch's rows, shape (r, teacher's vocabulary);
            may be None if ``alpha`` is 0.
        temperature: divides the logits of both distributions.
        alpha: weight of the teacher's term; 0 learns from the text alone, without a teacher.
        kept: token ids of the teacher that the student shares, in the student's order; the
            teacher's distribution is renormalised over them. None if the vocabularies are equal.
        own: the student's ids of these tokens; None for all of its ids, in order.
    """

    def __init__(
        self,
        teacher: Callable[[Batch], Any] | None,
        *,
        temperature: float = 1.0,
        alpha: float = 0.5,
        kept: Any | None = None,
        own: Any | None = None,
    ) -> None:
        if teacher is None and alpha:
            raise ValueError(f"alpha {alpha} needs a teacher")
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha
        self.kept = kept
        self.own = own
        self.text = CrossEntropy()

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum over the batch's reads; logits (r, vocabulary)."""
        if not self.alpha:
            return self.text(logits, batch)
        loss = self.alpha * self.temperature**2 * self.divergence(logits, batch, self.temperature)
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * self.text(logits, batch)
        return loss

    def divergence(self, logits: Any, batch: Batch, temperature: float = 1.0) -> Any:
        """Weighted sum of ``KL(teacher || student)`` over the batch's reads, in nats."""
        if self.teacher is None:
            raise ValueError("there is no teacher")
        with torch.no_grad():
            wanted = self.teacher(batch)
            wanted = wanted if self.kept is None else wanted[:, self.kept]
            wanted = torch.log_softmax(wanted / temperature, dim=-1)
            chances = wanted.exp()
            certainty = torch.linalg.vecdot(chances, wanted)  # (r,)
            del wanted  # as large as the logits
        found = logits if self.own is None else logits[:, self.own]
        found = torch.log_softmax(found / temperature, dim=-1)
        divergence = certainty - torch.linalg.vecdot(chances, found)
        return divergence[batch.place] @ batch.weights
