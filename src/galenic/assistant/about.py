"""Background information on answers: benchmark scores of the model, and contents of the index."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from galenic.home import index_path
from galenic.retrieval.store import Collection, open_store

__all__ = ["UNMEASURED", "indexed", "scores"]

UNMEASURED = (
    "This model has not been measured here. `galenic evaluate MODEL --data DIR` measures it on "
    "PubMedQA, MedQA and MedMCQA."
)
_MEASURED = (
    "Measured on all questions of each set (95 % intervals): near the majority baseline this model "
    "knows little medicine by itself. It only orders what sources say."
)


def scores(model: str) -> tuple[list[dict[str, Any]], str]:
    """Return the benchmark scores of a model, and a sentence that explains them.

    Args:
        model: model name as the runtime reports it, for example ``smollm2-135m``.

    Returns:
        One dictionary per benchmark from ``measured.json``, and a caption for the reader. For a
        model without stored scores the list is empty, and the text is `UNMEASURED`, which says how
        to measure it.
    """
    found = _measured().get(model, [])
    return found, _MEASURED if found else UNMEASURED


def indexed(path: Path | None = None) -> list[Collection]:
    """Return the collections in the index; an empty list if there is no index file.

    Args:
        path: path of the index; by default the user's own.

    Raises:
        UserError: the index file is damaged, of another version, or cannot be read.
    """
    path = path or index_path()
    if not path.is_file():
        return []
    with open_store(path) as store:
        return store.collections()


@cache
def _measured() -> dict[str, list[dict[str, Any]]]:
    """Load ``measured.json``: benchmark scores by name of the model."""
    text = files("galenic.models").joinpath("measured.json").read_text(encoding="utf-8")
    found: dict[str, list[dict[str, Any]]] = json.loads(text)
    return found
