"""Messages between server and clients: adapter tensors, numbers, and descriptions of sources."""

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
"""Trained tensors by parameter name."""

ARRAYS, NUMBERS, SETTINGS, FACTS, ERROR = "arrays", "numbers", "settings", "facts", "error"
"""Keys of message records: weights, metrics, number of the round, client's description, error."""
ANSWERS = "answers"
EXAMPLES = "num-examples"
"""Key of a client's weight in the average; the name is defined by Flower."""


def write_weights(weights: Weights) -> Any:
    """Convert weights to a Flower ``ArrayRecord``."""
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({name: Array(np.asarray(value)) for name, value in weights.items()})


def read_weights(record: Any) -> dict[str, NDArray[Any]]:
    """Return the tensors of an ``ArrayRecord``, which are in numpy's format, without pickle."""
    return {name: array.numpy() for name, array in record.items()}


def hash_weights(weights: Weights) -> str:
    """Return the SHA-256 digest of names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def write_tally(tally: Tally) -> dict[str, Any]:
    """Convert a tally to records with loss sums and answer counts, which add up over clients."""
    from flwr.app import MetricRecord

    answers = {json.dumps(key): count for key, count in sorted(tally.answers.items())}
    return {
        NUMBERS: MetricRecord({"loss": tally.loss, "weight": tally.weight}),
        ANSWERS: MetricRecord(answers),
    }


def read_tally(content: Any) -> Tally:
    """Convert the records of `write_tally` back to a tally."""
    numbers = content[NUMBERS]
    answers: Counter[tuple[str, str, str]] = Counter()
    for key, count in content[ANSWERS].items():
        group, label, gold = json.loads(key)
        answers[group, label, gold] = int(count)
    return Tally(float(numbers["loss"]), float(numbers["weight"]), answers)


def write_error(client: str, error: Exception) -> dict[str, Any]:
    """Record of a client's error for the server: only its type, since a message may quote texts."""
    from flwr.app import ConfigRecord

    return {ERROR: ConfigRecord({"client": client, "kind": type(error).__name__})}
