"""What training minimises, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from galenic.compress.learner import Batch

__all__ = ["CrossEntropy", "Distillation", "option_scores"]


class CrossEntropy:
    """Negative log-likelihood of the supervised tokens, in nats.

    Where a text has options, it is that of the right one among them: of the softmax over
    its scale times their log-likelihoods per byte.
    """

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum over the batch's reads; logits (r, vocabulary)."""
        losses = torch.nn.functional.cross_entropy(
            logits[batch.place], batch.targets, reduction="none"
        )
        if not batch.ranked:
            return losses @ batch.weights
        weights, total = batch.weights.clone(), 0.0
        for number, scores in option_scores(-losses, batch).items():
            ranked = batch.ranked[number]
            reads = slice(*ranked.reads)
            chosen = torch.log_softmax(ranked.scale * scores, dim=0)[ranked.gold]
            total = total - chosen * batch.weights[reads].sum()
            weights[reads] = 0.0
        return losses @ weights + total


def option_scores(log_probs: Any, batch: Batch) -> dict[int, Any]:
    """Log-likelihood per byte of every option, shape (k,), of each item that has some.

    Args:
        log_probs: of all reads, shape (p,).
        batch: the items; keys of the result are places in it.
    """
    found = {}
    for number, ranked in batch.ranked.items():
        reads = log_probs[slice(*ranked.reads)]
        sums = torch.zeros(len(ranked.num_bytes), dtype=reads.dtype, device=reads.device)
        sums = sums.index_add(0, ranked.option.to(reads.device), reads)
        found[number] = sums / ranked.num_bytes.to(reads.device)
    return found


class Distillation:
    """Learn the teacher's distributions: ``alpha T^2 KL(teacher_T || student_T) + (1-alpha) CE``.

    Hinton et al., Distilling the Knowledge in a Neural Network (2015),
    https://arxiv.org/abs/1503.02531.

    Args:
        teacher: gives its logits at a batch's rows, shape (r, teacher's vocabulary); None where
            ``alpha`` is 0.
        temperature: both distributions are softened by it.
        alpha: share of the teacher's part; 0 learns from the text alone, without a teacher.
        kept: ids of the teacher's vocabulary that the student kept, in the student's order; None
            where both have the same. The teacher's distribution is then that over the kept ones.
        own: the student's ids of these; None for all of them, in their order.
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
