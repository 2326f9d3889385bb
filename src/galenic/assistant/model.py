"""The engine that a model runs in here: llama.cpp for a GGUF, PyTorch for a folder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from galenic.assistant import DEFAULT_MODEL
from galenic.evaluation.divergence import serving_runtime
from galenic.models.adapter import with_adapter
from galenic.models.load import resolve_model
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime

__all__ = ["load_runtime", "runtime_if"]


def runtime_if(wanted: bool, name: str) -> AbstractContextManager[Runtime | None]:
    """The model where it has something to do, else none: loading one takes seconds.

    A model that is named must be there, though nothing needs it this time.
    """
    if wanted:
        return load_runtime(name)
    if name != DEFAULT_MODEL:
        resolve_model(name)
    return nullcontext()


def load_runtime(
    name: str,
    *,
    threads: int | None = None,
    context_length: int | None = None,
    adapter: str | None = None,
) -> Runtime:
    """Load a model to answer with.

    Args:
        name: an embedded model, a dose, a GGUF file, a folder, or a Hub id.
        threads: to compute with; None: chosen from the machine's live load.
        context_length: longest text in tokens; None: the model's own limit.
        adapter: folder or file of an adapter that is computed beside a GGUF; None without.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    model = resolve_model(name)
    if adapter is not None:
        model = with_adapter(model, Path(adapter))
    engine = RUNTIMES.load(serving_runtime(model, "auto"))
    runtime: Runtime = engine(model, threads=threads, context_length=context_length)
    return runtime
