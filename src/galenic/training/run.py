"""Training stage: run the training loop on a learner and its texts, and write the result folder.

The state of an unfinished run is kept in ``.NAME.run`` beside the output.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from galenic.artifact.manifest import (
    Manifest,
    new_artifact,
    read_manifest,
)
from galenic.artifact.record import record_stage
from galenic.artifact.sizes import count_stored, weight_bytes
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.training.card import tuned_card
from galenic.training.checkpoints import LOG, STATE
from galenic.training.config import TrainConfig
from galenic.training.distributed import num_local
from galenic.training.learner import Learner
from galenic.training.loop import TrainData, Trainer, TrainingOutcome
from galenic.training.validation import measure
from galenic.watcher import Watcher

__all__ = [
    "TRAINING_LOG",
    "Tuned",
    "Tuning",
    "heldout_checks",
    "resumable",
    "run_folder",
    "set_threads",
    "train_config",
    "tune",
    "write_log",
]

TRAINING_LOG = "training.jsonl"
"""Log file in the result folder, with a line for each step and each validation."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors")


@dataclass(frozen=True)
class Tuning:
    """Everything needed to train a model and to record the result.

    Attributes:
        stage: name of the stage in the manifest.
        method: object with ``name`` and ``reference_url``.
        options: all options with the values in use.
        saves: what is written: ``"model"``, or ``"adapter"`` for an adapter only.
        save: writes the trained model into a folder; returns the results of its checks.
        checkpoint: the model before training.
        learner: the model in memory, with its objective.
        data: training and held-out texts.
        described: description of the texts for the manifest.
        config: training options.
        run: folder for the state of the unfinished run.
        depends: anything else that the run depends on, as plain values.
        files: files to copy into the result folder.
    """

    stage: str
    method: Any
    options: dict[str, Any]
    saves: str
    save: Callable[[Any, Path], dict[str, float]]
    checkpoint: Checkpoint
    learner: Learner
    data: TrainData
    described: dict[str, Any]
    config: TrainConfig
    run: Path
    depends: dict[str, Any]
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class Tuned:
    """Result of `tune`: the manifest (None except on rank 0) and the outcome of training."""

    manifest: Manifest | None
    outcome: TrainingOutcome

    @property
    def alone(self) -> Manifest:
        """The manifest, which must exist in this process.

        Raises:
            UserError: there is none, because this is not the first of several processes.
        """
        if self.manifest is None:
            raise UserError("a recipe runs in one process: start it without torchrun.")
        return self.manifest


def tune(tuning: Tuning, output: Path, watcher: Watcher) -> Tuned:
    """Train, resuming an unfinished run if there is one, and write the best weights.

    Called by all processes together; only rank 0 writes.

    Raises:
        UserError: the training diverged, or a check of the saved model failed. The state of the
            run stays beside the output, so that it can be resumed.
    """
    run = tuning.run
    trainer = Trainer(
        tuning.learner,
        tuning.data,
        tuning.config,
        run / "state",
        fingerprint={
            "model": tuning.checkpoint.files.sha256,
            "method": {"name": tuning.method.name, **tuning.method.options},
            "texts": tuning.described,
            **tuning.depends,
        },
        watcher=watcher,
        measure=measure,
    )
    outcome = trainer.run()
    manifest = None
    if trainer.accelerator.is_main_process:
        trained = sum(parameter.numel() for parameter in trainer.parameters.values())
        with new_artifact(output) as part:
            watcher.stage("writing")
            manifest = _write(tuning, outcome, trained, trainer.precision, part)
        shutil.rmtree(run)
    trainer.close()
    return Tuned(manifest, outcome)


@contextmanager
def resumable(output: Path) -> Iterator[Path]:
    """Yield the run's state folder; after a UserError it is deleted unless it holds a state."""
    run = run_folder(output)
    try:
        yield run
    except UserError:
        if not (run / "state" / STATE).exists():
            shutil.rmtree(run, ignore_errors=True)
        raise


def run_folder(output: Path) -> Path:
    """Return the folder for the state of a run with this output; created if missing."""
    run = output.with_name(f".{output.name}.run")
    run.mkdir(parents=True, exist_ok=True)
    return run


def train_config(config: TrainConfig) -> TrainConfig:
    """Extract the training options from a larger config; only they identify a run."""
    return TrainConfig(**{name: getattr(config, name) for name in TrainConfig.model_fields})


def set_threads(wanted: int | None) -> None:
    """Set PyTorch's number of threads; None divides the free cores among the local processes."""
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(wanted or max(1, choose_threads() // num_local()))


def _write(
    tuning: Tuning, outcome: TrainingOutcome, trained: int, how: str, part: Path
) -> Manifest:
    """Write all files of the result folder, the manifest last.

    Args:
        tuning: the training that was done.
        outcome: its outcome.
        trained: number of trained parameters.
        how: precision of the matrix products.
        part: folder to write to.
    """
    files = tuning.checkpoint.files
    checks = tuning.save(tuning.learner.release(), part)
    for file in tuning.files:
        shutil.copyfile(file, part / file.name)
    write_log(tuning.run / "state" / LOG, part / TRAINING_LOG)
    return record_stage(
        part,
        tuning.stage,
        tuning.method,
        files,
        earlier=[read_manifest(tuning.checkpoint.folder) if tuning.saves == "model" else None],
        libraries=LIBRARIES,
        card=partial(tuned_card, files, tuning.saves),
        options=tuning.options,
        calibration=tuning.described,
        notes=_notes(outcome, how),
        checks={**checks, **heldout_checks(outcome)},
        **_sizes(tuning, trained, part),
    )


def write_log(source: Path, target: Path) -> None:
    """Copy the log without timings, so that repeated runs write the same file."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row.pop("tokens_per_second", None)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    target.write_text(text, encoding="utf-8", newline="\n")


def _sizes(tuning: Tuning, trained: int, part: Path) -> dict[str, Any]:
    """Return ``parameters`` (counts) and ``sizes`` (bytes) for the manifest."""
    checkpoint = tuning.checkpoint
    parameters = {"before": count_stored(checkpoint), "trained": {"total": trained}}
    sizes = {"before": weight_bytes(checkpoint.folder)}
    if tuning.saves == "model":
        after = open_checkpoint(replace(checkpoint.files, kind="folder", path=part))
        parameters["after"] = count_stored(after)
        sizes["after"] = weight_bytes(part)
    else:
        sizes["after"] = sum(file.stat().st_size for file in part.glob("*.safetensors"))
    return {"parameters": parameters, "sizes": sizes}


def _notes(outcome: TrainingOutcome, precision: str) -> tuple[str, ...]:
    best = outcome.best.step if outcome.best else 0
    return (
        f"trained in {precision}; the weights are those of step {best} of {outcome.steps}",
        f"ended because {outcome.stopped}",
    )


def heldout_checks(outcome: TrainingOutcome) -> dict[str, float]:
    """Return held-out loss and accuracy before training and with the weights that were kept."""
    best, first = outcome.best, outcome.validations[0]
    if best is None:
        return {}
    found = {"heldout_loss_before": first.loss, "heldout_loss": best.loss}
    if best.share:
        found["heldout_kl_before"] = first.divergence
        found["heldout_kl"] = best.divergence
    for group, value in best.accuracy.items():
        found[f"heldout_accuracy_before_{group}"] = first.accuracy[group]
        found[f"heldout_accuracy_{group}"] = value
    return found
