"""Galenic makes medical language models smaller, measures the cost, and answers health questions.

The names in ``__all__`` are the public interface; docs/python.md shows each. They are loaded when
they are first used, so that ``import galenic`` costs nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galenic.api.health import ask, search, triage
    from galenic.api.measure import compare, evaluate, perplexity, report
    from galenic.api.models import export, inspect, load_model, plan
    from galenic.api.results import Answer, Artifact, Comparison, Report, Run, Table
    from galenic.api.stages import compress, distill, finetune, merge, prune, quantize
    from galenic.errors import UserError

# Keep transformers from fetching native code (kernels) from the Hub.
os.environ.setdefault("USE_HUB_KERNELS", "NO")

__version__ = "0.2.0"

__all__ = [
    "Answer",
    "Artifact",
    "Comparison",
    "Report",
    "Run",
    "Table",
    "UserError",
    "ask",
    "compare",
    "compress",
    "distill",
    "evaluate",
    "export",
    "finetune",
    "inspect",
    "load_model",
    "merge",
    "perplexity",
    "plan",
    "prune",
    "quantize",
    "report",
    "search",
    "triage",
]

_PLACES = {
    "galenic.api.health": ("ask", "search", "triage"),
    "galenic.api.measure": ("compare", "evaluate", "perplexity", "report"),
    "galenic.api.models": ("export", "inspect", "load_model", "plan"),
    "galenic.api.results": ("Answer", "Artifact", "Comparison", "Report", "Run", "Table"),
    "galenic.api.stages": ("compress", "distill", "finetune", "merge", "prune", "quantize"),
    "galenic.errors": ("UserError",),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(place), name)
    raise AttributeError(f"module 'galenic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
