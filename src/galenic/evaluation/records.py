"""Records: the result of one question under one scoring, without anything that varies by run.

Wall times are stored separately (``timings.jsonl``), so that a run that was killed and resumed has
the same records, byte for byte, as an uninterrupted one.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Record", "Timing"]


class Record(BaseModel):
    """Result of one question under one scoring.

    ``prediction`` is None if a generated answer could not be parsed, which is a valid result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    id: str
    scoring: str
    debias: str = "none"
    gold: str
    prediction: str | None
    probabilities: dict[str, float] = {}
    """Probability by label, summing to 1; empty for generated answers."""
    loglikelihoods: dict[str, float] = {}
    """Unnormalized log-likelihood in nats by label, for the source order of the options."""
    rotations: list[dict[str, float]] = []
    """With permutations: the probabilities, by original label, for each cyclic rotation of the
    options; the first is the source order."""
    truncated: bool = False
    """Whether the prompt was truncated to fit the model's context length."""
    text: str | None = None
    """The generated text, for the ``generate`` scoring."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Unique key within a run."""
        return (self.benchmark, self.id, self.scoring)

    @property
    def correct(self) -> bool:
        """Whether the prediction equals the gold label."""
        return self.prediction == self.gold


class Timing(BaseModel):
    """Wall time and token counts of one chunk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: int
    items: int
    tokens_asked: int
    tokens_computed: int
    seconds: float
    seconds_per_item: float
