"""What training minimises, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from galenic.compress.learner import Batch

__all__ = ["CrossEntropy", "Distillation"]


class CrossEntropy:
    """Negative log-likelihood of the supervised tokens, in nats."""

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum over the batch's reads; logits (r, vocabulary)."""
        losses = torch.nn.functional.cross_entropy(
            logits[batch.place], batch.targets, reduction="none"
        )
        return losses @ batch.weights


class Distillation:
    """Learn the teacher's distributions: ``alpha T^2 KL(teacher_T || student_T) + (1-alpha) CE``.

    Hinton et al., Distilling the Knowledge in a Neural Network (2015),
    https://arxiv.org/abs/1503.02531.

    Args:
        teacher: gives its logits at a batch's rows, shape (r, teacher's vocabulary).
        temperature: both distributions are softened by it.
        alpha: share of the teacher's part; 0 learns from the text alone.
        kept: ids of the teacher's vocabulary that the student kept, in the student's order; None
            where both have the same. The teacher's distribution is then that over the kept ones.
    """

    def __init__(
        self,
        teacher: Callable[[Batch], Any],
        *,
        temperature: float = 1.0,
        alpha: float = 0.5,
        kept: Any | None = None,
    ) -> None:
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha
        self.kept = kept
        self.text = CrossEntropy()

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum over the batch's reads; logits (r, vocabulary)."""
        with torch.no_grad():
            wanted = self.teacher(batch)
            wanted = wanted if self.kept is None else wanted[:, self.kept]
            wanted = torch.log_softmax(wanted / self.temperature, dim=-1)
        found = torch.log_softmax(logits / self.temperature, dim=-1)
        divergence = (wanted.exp() * (wanted - found)).sum(dim=-1)  # (r,)
        loss = self.alpha * self.temperature**2 * (divergence[batch.place] @ batch.weights)
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * self.text(logits, batch)
        return loss
