"""``galenic encoder``: train an encoder to choose among the options of medical questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from galenic.cli.flags import parse_config, with_flags
from galenic.cli.options import ManifestOption, NewFolderOption
from galenic.cli.output import echo
from galenic.training.encoder.config import EncoderConfig

if TYPE_CHECKING:
    from galenic.training.encoder.run import TrainedEncoder

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Train an encoder (BERT, RoBERTa, DeBERTa-v2, MPNet, ModernBERT ...) with a multiple-choice "
    "head on medical questions, as a baseline for generative models; `galenic evaluate` measures "
    "both. Test questions are removed from the training data. An interrupted run resumes when the "
    "same command is run again; training stops early when predictions collapse."
)
EXAMPLES = """
**Examples**

`galenic encoder all-MiniLM-L6-v2/ --train medqa_4options,medmcqa,pubmedqa --data DIR -o enc/`

`galenic encoder answerdotai/ModernBERT-base --max-length 1024 -o modern/`

`galenic encoder ./my-encoder --train mine.jsonl --epochs 5 -o enc/`

`galenic evaluate enc/ --benchmarks pubmedqa,medqa,medmcqa --data DIR`
"""
COLLAPSED = 1
"""Exit status when the training was stopped for a collapse."""
FIRST = ("model", "train", "data", "epochs", "learning_rate", "batch_size", "max_length", "threads")


@with_flags(EncoderConfig, without={"fsdp"}, first=FIRST)  # one process trains it
def command(
    *,
    output: NewFolderOption,
    as_json: ManifestOption = False,
    **values: Any,
) -> None:
    """Train an encoder."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched

    config = parse_config(EncoderConfig, values)
    check_new(output)
    from galenic.training.encoder.run import train_encoder  # only now, for it takes seconds

    with watched(
        f"{output} was not written; run the same command again to resume at the last checkpoint.",
        less="--max-steps N stops earlier",
    ) as watcher:
        done = train_encoder(config, output, watcher)
    if as_json:
        echo(done.manifest.model_dump_json(indent=1))
    else:
        _show(done, output)
    if done.outcome.collapsed:
        raise typer.Exit(COLLAPSED)


def _show(done: TrainedEncoder, output: Path) -> None:
    outcome, checks = done.outcome, done.manifest.stages[-1].checks
    if outcome.collapsed:
        echo(f"stopped: {outcome.stopped}.", err=True)
    best = outcome.best.step if outcome.best else 0
    echo(f"{output}: encoder of step {best} of {outcome.steps} ({outcome.stopped}).")
    echo(
        f"Held-out loss {checks['heldout_loss_before']:.4f} before, "
        f"{checks['heldout_loss']:.4f} after."
    )
    echo(f"Next: galenic evaluate {output} --data DIR")
