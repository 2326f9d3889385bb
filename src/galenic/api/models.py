"""Models as they are: loading, looking inside, planning, handing over to other programs."""

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
    """Load a model to compute with; use it as a context manager, or call ``close``.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        runtime: of `galenic.registry.RUNTIMES`; ``auto`` takes llama for a GGUF, torch for a
            folder.
        threads: to compute with; default: chosen from the machine's live load.
        context_length: longest text in tokens; default: the model's own limit.

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
    """Say what a model consists of: parameters, bytes by type, tokenizer, what was done to it.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        zeros: count weights that are exactly zero, too (reads them all).

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
    """Say which recipe fits a device; no weight is read.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        ram: memory that running the model may take: ``"8GB"``.
        disk: room that its file may take.
        min_speed: new tokens a second that it must reach; needs ``probe``.
        context: tokens of conversation to hold.
        threads: default: by the machine's load.
        probe: time this machine (some seconds); without, neither memory nor speed is predicted.
        progress: True prints what is being done on standard error.

    Raises:
        UserError: a size is not readable, or the model cannot be compressed.
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
    """Write a model for another program.

    Args:
        model: a name, path, Hub id, or what another call has returned.
        to: of `galenic.registry.EXPORTERS`: ollama, llama.cpp, transformers, lm-eval.
        output: the folder to make.
        data: folder with the benchmark files, for lm-eval; default: ``GALENIC_DATA``.

    Returns:
        How to use it, as lines of a shell.

    Raises:
        UserError: there is no such program or model, or the model cannot take its form.
    """
    from galenic.exporters.run import export as run

    return run(model_name(model), to, Path(output), data_folder(data))
