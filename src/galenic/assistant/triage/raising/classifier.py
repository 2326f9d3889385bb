"""A learned layer of triage: how much a text reads like texts that need help now. It only raises.

Rules know words; this knows how people write when it is serious: "he isn't answering me", "it
won't stop". A linear model over hashed n-grams (`galenic.assistant.triage.raising.features`),
trained by ``tools/train_triage.py`` on texts written by hand, with temperature scaling (Guo et al.
2017, https://arxiv.org/abs/1706.04599) and thresholds from conditions that were held out. numpy
alone.
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

from galenic.assistant.triage.raising.features import counts, tokens
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source

__all__ = [
    "KINDS",
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
"""What a text may be; ``general`` is a question about nobody who is ill now."""
WEIGHTS = Path(__file__).with_name("classifier.npz")
WINDOW, STEP = 64, 48
"""Tokens that are read at once, and how far the next window begins behind the last one."""
MOST_WINDOWS = 160
"""Of a longer text the first three quarters of them and the last quarter are read."""
EMERGENCY, URGENT = 0.5, 0.8
"""What `urgency` asks for: this probability of an emergency, and this one of an emergency or a text
for today. The second keeps out what may be harmless just as well; see LOG.md."""
FEW, TERSE = 6, 1.8
"""By how much more is asked of a text of fewer words for self-harm: "I have none of these" is near
to it in its words alone."""
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
"""Tokens that such a sentence may have besides: with more it says something."""
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
_HARM = Finding(
    id="classifier-self-harm",
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
    """What the classifier makes of a text.

    Attributes:
        probabilities: of each of `KINDS`, adding up to 1, of the most urgent window.
        self_harm: the probability that somebody may be about to harm themselves, of any window.
    """

    probabilities: dict[str, float]
    self_harm: float


@dataclass(frozen=True)
class Weights:
    """The model.

    Attributes:
        rarity: inverse document frequency of each column, shape (BUCKETS,), float16.
        table: shape (BUCKETS, kinds + 1), int8; the last column is that of self-harm.
        scale: what a unit of each column of the table is worth, shape (kinds + 1,).
        bias: shape (kinds + 1,).
        temperature: by which the scores of kinds are divided.
        platt: scale and shift of the score of self-harm.
        limits: from which on the layer raises: `urgency` for an emergency, the probability of
            today or worse, and that of self-harm.
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
        """Rounded to what is kept: 8 bits a weight."""
        scale = np.maximum(np.abs(table).max(0), 1e-9) / 127
        whole = np.rint(table / scale).astype(np.int8)
        return cls(rarity.astype(np.float16), whole, scale.astype(np.float32), bias)

    def calibrated(
        self, temperature: float, platt: tuple[float, float], limits: dict[str, float]
    ) -> Weights:
        """With what was found on conditions that were held out."""
        known = limits["emergency"], limits["today"], limits["self_harm"]
        return replace(self, temperature=temperature, platt=platt, limits=known)


def write_weights(weights: Weights, path: Path) -> None:
    """Keep a model in a file."""
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
    """How likely each kind of urgency is, by the way the text is written.

    A text of more than `WINDOW` tokens is read in windows, at most `MOST_WINDOWS` of them.
    Sentences that only play down, or that tell a machine what to do, are not read.
    """
    weights = _weights()
    scores = [_scores(window, weights) for window in windows(text)]
    found = [_kinds(one, weights) for one in scores]
    worst = max(found, key=lambda kinds: (kinds[0], kinds[0] + kinds[1]))
    a, b = weights.platt
    harm = max(1 / (1 + np.exp(-(a * one[-1] + b))) for one in scores)
    return KindEstimate(dict(zip(KINDS, map(float, worst), strict=True)), float(harm))


def urgency(emergency: Any, today: Any) -> Any:
    """1 and more = an emergency: of two probabilities, or arrays of them, see `URGENT`."""
    return np.minimum(emergency / EMERGENCY, (emergency + today) / URGENT)


def findings(text: str, factor: float = 1.0) -> tuple[Finding, ...]:
    """What the layer raises to, if anything: never below what others found.

    Args:
        text: a message, or a part of one.
        factor: by which the limits are multiplied.
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
    """Without sentences that play down: they must not outweigh what else is said."""
    parts = _SENTENCE.findall(text)
    kept = [part for part in parts if not _plays_down(part)]
    return "".join(kept) if len(kept) < len(parts) else text


def _plays_down(sentence: str) -> bool:
    rest, found = _BESIDE.subn(" ", sentence)
    return found > 0 and len(re.findall(r"\w+", rest)) <= _BESIDE_MOST


def windows(text: str) -> Iterator[list[str]]:
    """The runs of tokens of a text that are scored, each by itself."""
    words = tokens(_to_the_point(text))
    starts = list(range(0, max(1, len(words) - (WINDOW - STEP)), STEP))
    if len(starts) > MOST_WINDOWS:
        first = MOST_WINDOWS * 3 // 4
        starts = [*starts[:first], *starts[first - MOST_WINDOWS :]]
    return (words[start : start + WINDOW] for start in starts)


def _scores(words: list[str], weights: Weights) -> np.ndarray[Any, Any]:
    """Of kinds and of self-harm, before calibration: shape (kinds + 1,)."""
    total = weights.bias.astype(np.float64).copy()
    for part in counts(words):
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
