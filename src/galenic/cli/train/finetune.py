"""``galenic finetune``: let a model learn from text, as an adapter or in its own weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.cli.flags import parse_config, parse_method, with_flags, with_options
from galenic.cli.options import ManifestOption
from galenic.cli.output import echo
from galenic.registry import FINETUNERS
from galenic.training.config import TrainOptions
from galenic.training.finetune.config import FinetuneConfig, default_folder, sources_in_data

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest
    from galenic.cli.progress import ConsoleWatcher
    from galenic.training.federated.clients import Federation
    from galenic.training.finetune.base import Finetuner
    from galenic.training.loop import TrainingOutcome
    from galenic.training.run import Tuned

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Fine-tune a model on medical questions or question-answer pairs: LoRA and related methods, "
    "or all weights. Test questions are removed from the training data. An interrupted run "
    "resumes when the same command is run again; training stops early when predictions collapse "
    "to one answer."
)
EXAMPLES = """
**Examples** (GALENIC_DATA names the folder with the data files)

`galenic finetune smollm2-135m --data medquad`

`galenic finetune smollm2-135m --data benchmarks:train`

`galenic finetune ./my-model --train benchmarks:train,medquad=0.2 --data DIR -o adapter/`

`galenic finetune smollm2-135m --train mine.jsonl --top-blocks 10 --cache --permutations 2 -o a/`

`galenic finetune smollm2-135m --federated clients.yaml -o adapter/`

`torchrun --nproc-per-node 4 $(which galenic) finetune ./my-model --fsdp --train medqa -o adapter/`

`galenic finetune ./my-model --method full --learning-rate 2e-5 --train medqa --data DIR -o tuned/`
"""
COLLAPSED = 1
"""Exit status when the training was stopped for a collapse."""


FIRST = (
    *("model", "train", "data", "method", "epochs", "learning_rate"),
    *("batch_size", "top_blocks", "rank", "seed", "threads"),
)


@with_flags(with_options(FinetuneConfig, FINETUNERS), first=FIRST)
def command(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder to create; must not exist. Default: tuned/<model>-<method>-<hash of the "
            "settings>.",
            show_default=False,
        ),
    ] = None,
    federated: Annotated[
        Path | None,
        typer.Option(
            "--federated",
            metavar="CLIENTS.YAML",
            rich_help_panel=TrainOptions.PANEL,
            help="Federated training: the file lists the clients and what each learns from; texts "
            "stay with the clients, only adapters are averaged.",
            show_default=False,
        ),
    ] = None,
    as_json: ManifestOption = False,
    **values: Any,
) -> None:
    """Fine-tune a model."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched

    own = {name: values.pop(name) for name in FinetuneConfig.model_fields}
    folder, federation = os.environ.get("GALENIC_DATA"), None
    if federated is None:
        own = sources_in_data(own, folder)
    else:
        from galenic.training.federated.clients import read_federation

        own["data"] = own["data"] or folder
        federation = read_federation(federated)
    config = parse_config(FinetuneConfig, own)
    method = parse_method(FINETUNERS, config.method, values)
    settings = {} if federation is None else {"federated": federation.model_dump(mode="json")}
    output = output or default_folder(config, {**method.options, **settings})
    check_new(output)

    with watched(
        f"{output} was not written; run the same command again to resume at the last checkpoint.",
        less="--max-steps N stops earlier, --top-blocks N is faster",
    ) as watcher:
        done = _finetune(config, method, output, watcher, federation)
    if done.manifest is None:
        return  # the first process speaks for all
    if as_json:
        echo(done.manifest.model_dump_json(indent=1))
    else:
        _show(done.outcome, done.manifest, config.model, output)
    if done.outcome.collapsed:
        raise typer.Exit(COLLAPSED)


def _finetune(
    config: FinetuneConfig,
    method: Finetuner,
    output: Path,
    watcher: ConsoleWatcher,
    federation: Federation | None,
) -> Tuned:
    """Only here is imported what takes seconds to import."""
    if federation is not None:
        from galenic.training.federated.run import finetune_federated

        return finetune_federated(config, method, federation, output, watcher)
    from galenic.training.finetune.run import finetune

    return finetune(config, method, output, watcher)


def _show(outcome: TrainingOutcome, manifest: Manifest, model: str, output: Path) -> None:
    stage = manifest.stages[-1]
    best = outcome.best.step if outcome.best else 0
    if outcome.collapsed:
        echo(f"stopped: {outcome.stopped}.", err=True)
    kind = "after" if "after" in stage.parameters else "trained"
    what = "tuned model" if kind == "after" else f"adapter, {stage.sizes['after'] / 1e6:.1f} MB"
    unit = "round" if "rounds" in stage.options else "step"
    echo(f"{output}: {what}, weights of {unit} {best} of {outcome.steps} ({outcome.stopped}).")
    echo(
        f"Held-out loss {stage.checks['heldout_loss_before']:.4f} before, "
        f"{stage.checks['heldout_loss']:.4f} after."
    )
    if kind == "trained":
        echo(f"Next: galenic merge {model} {output} -o merged/")
