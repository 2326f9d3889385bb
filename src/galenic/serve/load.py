"""The engine that serves: llama.cpp for a GGUF, PyTorch for a folder."""

from __future__ import annotations

from typing import Any

from galenic.evaluate.divergence import serving_runtime
from galenic.models.load import resolve_model
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime
from galenic.serve.settings import ServeConfig

__all__ = ["load_runtime"]


def load_runtime(config: ServeConfig) -> Runtime:
    """Load a model for serving.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    model = resolve_model(config.model)
    knobs: dict[str, Any] = {"threads": config.threads, "context_length": config.context_length}
    runtime: Runtime = RUNTIMES.load(serving_runtime(model, "auto"))(model, **knobs)
    return runtime
