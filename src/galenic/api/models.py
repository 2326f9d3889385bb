"""Functions that do not change a model: load, inspect, plan, export."""

from __future__ import annotations

from pathlib import Path

from galenic.api.given import Model, Progress, data_folder, model_name, watcher_of
from galenic.models.load import resolve_model
from galenic.models.size import ModelSize, inspect_model
from galenic.recipes.plan import RecipePlan
from galenic.runtimes.base import Runtime

__all__ = ["export", "inspect", "load_model", "plan"]


def load_model(
    model: Model,
    runtime: str = "auto",
    *,
    threads: int | None = None,
    context_length: int | None = None,
) -> Runtime:
    """Load a model for inference; use the result as a context manager, or call ``close``.

    Args:
        model: a name, path, Hub id, or the result of another call.
        runtime: a name in `galenic.registry.RUNTIMES`; ``auto`` uses llama for a GGUF and torch
            for a folder.
        threads: number of compute threads; default: chosen from the machine's current load.
        context_length: maximum length of a text in tokens; default: the model's own limit.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    from galenic.evaluation.divergence import serving_runtime
    from galenic.registry import RUNTIMES

    files = resolve_model(model_name(model))
    engine = RUNTIMES.load(serving_runtime(files, runtime))
    loaded: Runtime = engine(files, threads=threads, context_length=context_length)
    return loaded


def inspect(model: Model, *, zeros: bool = False) -> ModelSize:
    """Describe a model: parameters, bytes by type, tokenizer, and the stages applied to it.

    Args:
        model: a name, path, Hub id, or the result of another call.
        zeros: also count weights that are exactly zero (reads all weights).

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    return inspect_model(resolve_model(model_name(model)), zeros=zeros)


def plan(
    model: Model,
    *,
    ram: str | None = None,
    disk: str | None = None,
    min_speed: float | None = None,
    context: int = 2048,
    threads: int | None = None,
    probe: bool = True,
    progress: Progress = False,
) -> RecipePlan:
    """Predict which recipes fit a device, without reading any weights.

    Args:
        model: a name, path, Hub id, or the result of another call.
        ram: memory limit for running the model, such as ``"8GB"``.
        disk: size limit of its file.
        min_speed: minimum decoding speed in tokens per second; needs ``probe``.
        context: context length in tokens that memory is predicted for.
        threads: number of compute threads; default: chosen from the machine's load.
        probe: time this machine (some seconds); without it, neither memory nor speed is predicted.
        progress: True prints progress to standard error.

    Raises:
        UserError: a size cannot be parsed, or the model cannot be compressed.
    """
    from galenic.errors import UserError
    from galenic.recipes.plan import Device, PlanSettings, make_plan
    from galenic.units import parse_size

    if min_speed is not None and not probe:
        raise UserError("min_speed needs a timing of this machine: leave probe=False out.")
    device = Device(
        None if ram is None else parse_size(ram, "ram"),
        None if disk is None else parse_size(disk, "disk"),
        min_speed,
    )
    files = resolve_model(model_name(model))
    settings = PlanSettings(context, threads, probe)
    return make_plan(files, device, settings, watcher_of(progress))[0]


def export(model: Model, to: str, output: str | Path, *, data: str | Path | None = None) -> str:
    """Export a model for another program.

    Args:
        model: a name, path, Hub id, or the result of another call.
        to: a name in `galenic.registry.EXPORTERS`: ollama, llama.cpp, transformers, lm-eval.
        output: the folder to create.
        data: folder with the benchmark files, for lm-eval; default: ``GALENIC_DATA``.

    Returns:
        Shell commands that show how to use the exported model.

    Raises:
        UserError: there is no such program or model, or the model cannot be converted.
    """
    from galenic.exporters.run import export as run

    return run(model_name(model), to, Path(output), data_folder(data))
