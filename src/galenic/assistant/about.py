"""What stands behind the answers: the model's measured scores, and what is indexed."""

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
    """A model's scores on the benchmarks, and what to say of them.

    Args:
        model: as the runtime names it; those that come with the package have scores.
    """
    found = _measured().get(model, [])
    return found, _MEASURED if found else UNMEASURED


def indexed(path: Path | None = None) -> list[Collection]:
    """What the index holds; nothing where there is none.

    Raises:
        UserError: it cannot be used.
    """
    path = path or index_path()
    if not path.is_file():
        return []
    with open_store(path) as store:
        return store.collections()


@cache
def _measured() -> dict[str, list[dict[str, Any]]]:
    text = files("galenic.models").joinpath("measured.json").read_text(encoding="utf-8")
    found: dict[str, list[dict[str, Any]]] = json.loads(text)
    return found
