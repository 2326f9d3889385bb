"""Learned classifier of urgency; in triage it can only raise the tier.

Rules match known words; the classifier captures how people write when something is serious ("he
isn't answering me", "it won't stop"). It is a linear model over hashed n-grams
(`galenic.assistant.triage.raising.features`), trained by ``tools/train_triage.py`` on hand-written
texts, with temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) and thresholds
chosen on held-out conditions. It needs numpy only.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from galenic.assistant.triage.raising.features import FEW, counts, tokens
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source

__all__ = [
    "KINDS",
    "SELF_HARM",
    "WEIGHTS",
    "KindEstimate",
    "Weights",
    "estimate",
    "findings",
    "urgency",
    "windows",
    "write_weights",
]

KINDS = ("emergency", "today", "days", "self-care", "general")
"""Classes of a text. The first four are tiers; ``general`` is a question about nobody who is ill
now."""
WEIGHTS = Path(__file__).with_name("classifier.npz")
WINDOW, STEP = 64, 48
"""Length of a window in tokens, and the distance between the starts of adjacent windows."""
MOST_WINDOWS = 160
"""Maximum number of windows; of a longer text, the first three quarters of them and the last
quarter are taken from its beginning and its end."""
EMERGENCY, URGENT = 0.5, 0.8
"""Probabilities at which `urgency` is 1: that of ``emergency``, and the sum of ``emergency`` and
``today``. The second keeps out texts that could as well be harmless; see LOG.md."""
TERSE = 1.8
"""Factor on the self-harm threshold for a text of fewer than `FEW` words, since short texts such as
"I have none of these" resemble statements of self-harm."""
SOURCE = Source(
    name="Galenic's own classifier, trained on texts written for it; no clinician reviewed it",
    url="https://arxiv.org/abs/1706.04599",
)

_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;\n]*")
_BESIDE = re.compile(
    r"\b(?:(?:it'?s|it is|this is|that'?s) (?:probably|surely|likely|maybe|just)? ?"
    r"(?:nothing|fine|ok(?:ay)?|not (?:serious|urgent|a big deal|an emergency))"
    r"|(?:i'?m|i am) sure (?:it|that|this)|probably (?:nothing|fine|overreacting)"
    r"|(?:don'?t|do not) want to (?:bother|trouble|worry|fuss|waste)"
    r"|no (?:big deal|rush|hurry|need to worry)|not worried|don'?t worry|overreacting"
    r"|(?:ignore|disregard|forget) (?:all|any|the|your|previous|prior|earlier)\b"
    r"|(?:answer|reply|respond|classify|label|rate|triage|tell me|say|output|mark) (?:\w+ ){0,4}"
    r"(?:self-?care|not urgent|non-urgent|low (?:risk|priority)|no emergency|harmless))",
    re.IGNORECASE,
)
_BESIDE_MOST = 5
"""Maximum number of other words in such a sentence; with more, it has content of its own."""
_EMERGENCY = Finding(
    id="classifier-emergency",
    tier="emergency",
    reason="The way this is described is like texts that need help now.",
    do="Call your emergency number (112, 999 or 911) now, or go to the nearest emergency "
    "department. If it is not happening now, say so in other words.",
    source=SOURCE,
    words=(),
    layer="classifier",
)
_TODAY = Finding(
    id="classifier-today",
    tier="today",
    reason="The way this is described is like texts that should be seen the same day.",
    do="Speak to a doctor, a nurse line or an urgent care centre today. Call your emergency number "
    "if it gets worse.",
    source=SOURCE,
    words=(),
    layer="classifier",
)
SELF_HARM = "classifier-self-harm"
"""Id of the finding of self-harm."""
_HARM = Finding(
    id=SELF_HARM,
    tier="emergency",
    reason="This reads as if somebody may be thinking of ending their life or of harming "
    "themselves.",
    do="If life is in danger, call your emergency number (112, 999 or 911) now. Stay with somebody "
    "you trust, and talk to a crisis line: somebody is there day and night.",
    source=SOURCE,
    words=(),
    layer="classifier",
)


@dataclass(frozen=True)
class KindEstimate:
    """Class probabilities of a text.

    Attributes:
        probabilities: Probability of each of `KINDS` in the most urgent window; they sum to 1.
        self_harm: Highest probability over all windows that somebody may be about to harm
            themselves.
    """

    probabilities: dict[str, float]
    self_harm: float


@dataclass(frozen=True)
class Weights:
    """Parameters of the classifier; K is the number of `KINDS`.

    Attributes:
        rarity: Inverse document frequency of each column, shape (BUCKETS,), float16.
        table: Quantized weights, shape (BUCKETS, K + 1), int8; the last column is for self-harm.
        scale: Quantization scale of each column of ``table``, shape (K + 1,).
        bias: Bias, shape (K + 1,).
        temperature: Divisor of the class logits (temperature scaling).
        platt: Slope and intercept applied to the self-harm logit (Platt scaling).
        limits: Thresholds from which the layer raises the tier: of `urgency` for an emergency, of
            the probability of ``today`` or worse, and of the probability of self-harm.
    """

    rarity: np.ndarray[Any, Any]
    table: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    temperature: float = 1.0
    platt: tuple[float, float] = (1.0, 0.0)
    limits: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def from_floats(
        cls, rarity: np.ndarray[Any, Any], table: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]
    ) -> Weights:
        """Quantize float weights to 8 bits per weight."""
        scale = np.maximum(np.abs(table).max(0), 1e-9) / 127
        whole = np.rint(table / scale).astype(np.int8)
        return cls(rarity.astype(np.float16), whole, scale.astype(np.float32), bias)

    def calibrated(
        self, temperature: float, platt: tuple[float, float], limits: dict[str, float]
    ) -> Weights:
        """Return the weights with calibration parameters from held-out conditions."""
        known = limits["emergency"], limits["today"], limits["self_harm"]
        return replace(self, temperature=temperature, platt=platt, limits=known)


def write_weights(weights: Weights, path: Path) -> None:
    """Write a model to a compressed npz file."""
    told = {key: getattr(weights, key) for key in ("temperature", "platt", "limits")}
    arrays = {key: getattr(weights, key) for key in ("rarity", "table", "scale", "bias")}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, told=np.array(json.dumps(told)), **arrays)
    path.write_bytes(buffer.getvalue())


@cache
def _weights() -> Weights:
    with np.load(WEIGHTS, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
        arrays = {key: kept[key] for key in ("rarity", "table", "scale", "bias")}
    limits = tuple(told["limits"])
    return Weights(**arrays, temperature=told["temperature"], platt=tuple(told["platt"]),
                   limits=(limits[0], limits[1], limits[2]))  # fmt: skip


def estimate(text: str) -> KindEstimate:
    """Estimate the class probabilities of a text.

    A text longer than `WINDOW` tokens is split into at most `MOST_WINDOWS` overlapping windows.
    Sentences that only play the problem down, or that instruct the model, are ignored.
    """
    weights, known = _weights(), dict[str, list[int]]()
    scores = [_scores(window, weights, known) for window in windows(text)]
    found = [_kinds(one, weights) for one in scores]
    worst = max(found, key=lambda kinds: (kinds[0], kinds[0] + kinds[1]))
    a, b = weights.platt
    harm = max(1 / (1 + np.exp(-(a * one[-1] + b))) for one in scores)
    return KindEstimate(dict(zip(KINDS, map(float, worst), strict=True)), float(harm))


def urgency(emergency: Any, today: Any) -> Any:
    """Combine two class probabilities into an urgency score; 1 or more is an emergency.

    Args:
        emergency: Probability of ``emergency``, a number or an array.
        today: Probability of ``today``, of the same shape.

    Returns:
        The smaller of the two ratios to `EMERGENCY` and `URGENT`, of the same shape.
    """
    return np.minimum(emergency / EMERGENCY, (emergency + today) / URGENT)


def findings(text: str, factor: float = 1.0) -> tuple[Finding, ...]:
    """Return the finding of the classifier for a text: at most one, for an emergency or for today.

    Args:
        text: A message, or a part of one.
        factor: Factor on the thresholds; more than 1 makes the classifier less sensitive.
    """
    words = len(tokens(_to_the_point(text)))
    if not words:
        return ()
    found = estimate(text)
    emergency, today, harm = (factor * limit for limit in _weights().limits)
    harm *= TERSE if words < FEW else 1.0
    p = found.probabilities
    if found.self_harm >= harm:
        return (_HARM,)
    if urgency(p["emergency"], p["today"]) >= emergency:
        return (_EMERGENCY,)
    if p["emergency"] + p["today"] >= today or p["emergency"] >= factor * EMERGENCY:
        return (_TODAY,)
    return ()


def _to_the_point(text: str) -> str:
    """Remove sentences that only play the problem down, so that they do not outweigh the rest."""
    parts = _SENTENCE.findall(text)
    kept = [part for part in parts if not _plays_down(part)]
    return "".join(kept) if len(kept) < len(parts) else text


def _plays_down(sentence: str) -> bool:
    rest, found = _BESIDE.subn(" ", sentence)
    return found > 0 and len(re.findall(r"\w+", rest)) <= _BESIDE_MOST


def windows(text: str) -> Iterator[list[str]]:
    """Split a text into overlapping windows of at most `WINDOW` tokens, scored separately."""
    words = tokens(_to_the_point(text))
    starts = list(range(0, max(1, len(words) - (WINDOW - STEP)), STEP))
    if len(starts) > MOST_WINDOWS:
        first = MOST_WINDOWS * 3 // 4
        starts = [*starts[:first], *starts[first - MOST_WINDOWS :]]
    return (words[start : start + WINDOW] for start in starts)


def _scores(
    words: list[str], weights: Weights, known: dict[str, list[int]]
) -> np.ndarray[Any, Any]:
    """Return the logits of all classes and of self-harm, before calibration, shape (K + 1,)."""
    total = weights.bias.astype(np.float64).copy()
    for part in counts(words, known):
        columns = np.fromiter(part, np.int64, len(part))
        often = np.fromiter(part.values(), np.float64, len(part))
        values = (1 + np.log(often)) * weights.rarity[columns]
        length = max(float(np.sqrt(values @ values)), 1e-9)
        total += (values / length) @ weights.table[columns] * weights.scale
    return total


def _kinds(scores: np.ndarray[Any, Any], weights: Weights) -> np.ndarray[Any, Any]:
    kinds = scores[:-1] / weights.temperature
    raised = np.exp(kinds - kinds.max())
    return np.asarray(raised / raised.sum())
