"""KL divergence from the dense model on held-out documents, before and after tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.bootstrap import Estimate, ratio_estimate
from galenic.compression.quantize.tuning.folder import TuningFolder
from galenic.compression.quantize.tuning.model import TunedModel
from galenic.compression.quantize.tuning.scales import kl_by_sequence
from galenic.models.paged import PagedModel

__all__ = ["Judge", "Judgement"]

BEFORE = "heldout"
LEAST = 1e-12
"""Lower bound of the KL in the denominator of the ratio."""


@dataclass(frozen=True)
class Judgement:
    """Effect of tuning, with 95 % intervals from resampling the sequences.

    Attributes:
        before: KL before tuning, in nats per token.
        after: KL after tuning, in nats per token.
        ratio: paired ratio after / before.
        num_tokens: number of held-out tokens.
    """

    before: Estimate
    after: Estimate
    ratio: Estimate
    num_tokens: int

    def told(self) -> str:
        """Return a sentence describing the result."""
        before, after, ratio = (
            f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})"
            for e in (self.before, self.after, self.ratio)
        )
        return (
            f"KL to the dense model on {self.num_tokens:,} tokens of other documents, with 95 % "
            f"intervals: {before} before tuning, {after} after: {ratio} of it"
        )


class Judge:
    """Measures the KL before and after tuning on the same text.

    Args:
        dense: the dense model to compare with.
        tokens: held-out text, shape (samples, seq_len).
        folder: stores the measurement before tuning.
    """

    def __init__(self, dense: PagedModel, tokens: Any, folder: TuningFolder) -> None:
        self._dense, self._tokens, self._folder = dense, tokens, folder
        self._before: Sequence[float] = ()

    def look_before(self, model: TunedModel) -> None:
        """Measure before tuning, or load this measurement if the run is resumed."""
        kept = self._folder.load(BEFORE)
        self._before = kept["kl"] if kept else self._measure(model)
        if not kept:
            self._folder.save(BEFORE, {"kl": list(self._before)})

    def judge(self, model: TunedModel) -> Judgement:
        """Measure after tuning and compare."""
        after = self._measure(model)
        ones = [1.0] * len(after)
        return Judgement(
            ratio_estimate(self._before, ones, 0),
            ratio_estimate(after, ones, 0),
            ratio_estimate(after, [max(kl, LEAST) for kl in self._before], 0),
            self._tokens.numel(),
        )

    def _measure(self, model: TunedModel) -> list[float]:
        """KL of each sequence in nats per token; both models run block by block."""
        return kl_by_sequence(model, self._dense, self._tokens)
