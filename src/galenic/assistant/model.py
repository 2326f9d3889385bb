"""Loading of the language model for answers: llama.cpp for GGUF files, PyTorch for folders."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.assistant import DEFAULT_MODEL
from galenic.errors import UserError
from galenic.evaluation.divergence import serving_runtime
from galenic.models.adapter import with_adapter
from galenic.models.load import resolve_model
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime

if TYPE_CHECKING:
    from galenic.models.encoders.entailment import EntailmentModel

__all__ = ["judge_if", "load_runtime", "runtime_if"]


def judge_if(wanted: bool, name: str | None, style: str) -> EntailmentModel | None:
    """Load a model for entailment if one is named and wanted; return None otherwise.

    Raises:
        UserError: one is named although nothing is written, or it cannot be used.
    """
    if name is not None and style != "written":
        raise UserError(
            f"the entailment model {name} checks what a model writes: it needs the style `written`."
        )
    if name is None or not wanted:
        return None
    from galenic.models.encoders.entailment import load_entailment_model

    return load_entailment_model(resolve_model(name))


def runtime_if(wanted: bool, name: str) -> AbstractContextManager[Runtime | None]:
    """Return a context manager that yields the loaded model if it is wanted, and None otherwise.

    Loading a model takes seconds, so it is skipped when no model is needed. The name is still
    checked in that case, unless it is the default model.

    Args:
        wanted: whether a model is needed.
        name: model name as for `load_runtime`.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
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
    """Load a model for answering questions.

    Args:
        name: name of an embedded model or of a compressed model of this project ("dose"), path of a
            GGUF file or of a model folder, or Hugging Face Hub id.
        threads: number of compute threads; by default chosen from the current load of the machine.
        context_length: maximum context in tokens; by default the model's own limit.
        adapter: path of a LoRA adapter that is applied at run time to a GGUF model; None for none.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    model = resolve_model(name)
    if adapter is not None:
        model = with_adapter(model, Path(adapter))
    engine = RUNTIMES.load(serving_runtime(model, "auto"))
    runtime: Runtime = engine(model, threads=threads, context_length=context_length)
    return runtime
