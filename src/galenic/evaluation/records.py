"""One record a question and scoring: what the model did, and nothing that changes between runs.

Wall times differ from run to run, so they are kept beside the records (``timings.jsonl``): the
records of a run that was killed and resumed are then byte for byte those of one that was not.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Record", "Timing"]


class Record(BaseModel):
    """What one scoring said about one question.

    ``prediction`` is None when a generated answer could not be parsed: a result of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    id: str
    scoring: str
    debias: str = "none"
    gold: str
    prediction: str | None
    probabilities: dict[str, float] = {}
    """Label -> probability, summing to 1 over the options; empty for generated answers."""
    loglikelihoods: dict[str, float] = {}
    """Label -> log-likelihood in nats of the option in the order shown, before normalising."""
    rotations: list[dict[str, float]] = []
    """With permutations: the probabilities (by original label) for each cyclic rotation of the
    options; the first is the order shown in the source."""
    truncated: bool = False
    """True when the beginning of the context was cut to fit the model's context length."""
    text: str | None = None
    """The generated text, for the ``generate`` scoring."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a record unique within a run."""
        return (self.benchmark, self.id, self.scoring)

    @property
    def correct(self) -> bool:
        """True when the prediction is the right label."""
        return self.prediction == self.gold


class Timing(BaseModel):
    """Wall time and tokens of one planned chunk of questions (they are computed together)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: int
    items: int
    tokens_asked: int
    tokens_computed: int
    seconds: float
    seconds_per_item: float
