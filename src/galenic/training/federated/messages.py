"""What server and clients send each other: adapter tensors, numbers, and names of sources."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.training.batch import Tally

__all__ = [
    "ARRAYS",
    "ERROR",
    "EXAMPLES",
    "FACTS",
    "NUMBERS",
    "SETTINGS",
    "Weights",
    "hash_weights",
    "read_tally",
    "read_weights",
    "write_error",
    "write_tally",
    "write_weights",
]

Weights = Mapping[str, NDArray[Any]]
"""Trained tensors by the name of their parameter."""

ARRAYS, NUMBERS, SETTINGS, FACTS, ERROR = "arrays", "numbers", "settings", "facts", "error"
"""Records of a message: weights; what a client counted; which round it is; who a client is."""
ANSWERS = "answers"
EXAMPLES = "num-examples"
"""Among the numbers: what a client counts for in the mean; the name is Flower's."""


def write_weights(weights: Weights) -> Any:
    """An ``ArrayRecord`` of Flower."""
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({name: Array(np.asarray(value)) for name, value in weights.items()})


def read_weights(record: Any) -> dict[str, NDArray[Any]]:
    """The tensors of an ``ArrayRecord``; they are stored as numpy does, without pickle."""
    return {name: array.numpy() for name, array in record.items()}


def hash_weights(weights: Weights) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def write_tally(tally: Tally) -> dict[str, Any]:
    """Records with sums of losses and counts of answers, which add up over clients."""
    from flwr.app import MetricRecord

    answers = {json.dumps(key): count for key, count in sorted(tally.answers.items())}
    return {
        NUMBERS: MetricRecord({"loss": tally.loss, "weight": tally.weight}),
        ANSWERS: MetricRecord(answers),
    }


def read_tally(content: Any) -> Tally:
    """What `write_tally` wrote."""
    numbers = content[NUMBERS]
    answers: Counter[tuple[str, str, str]] = Counter()
    for key, count in content[ANSWERS].items():
        group, label, gold = json.loads(key)
        answers[group, label, gold] = int(count)
    return Tally(float(numbers["loss"]), float(numbers["weight"]), answers)


def write_error(client: str, error: Exception) -> dict[str, Any]:
    """What a server hears of a client's error: its kind alone, for a message may quote a text."""
    from flwr.app import ConfigRecord

    return {ERROR: ConfigRecord({"client": client, "kind": type(error).__name__})}
