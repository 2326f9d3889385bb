"""The stage around the training loop: a learner and its texts in, a finished folder out.

What an unfinished run needs to go on lies in ``.NAME.run`` beside the output.
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
"""A line for each step and each validation, within the finished folder."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors")


@dataclass(frozen=True)
class Tuning:
    """A training that is ready to begin, and what is written of it.

    Attributes:
        stage: what kind, as a manifest names it.
        method: with ``name`` and ``reference_url``.
        options: every option with the value that is used.
        saves: a whole ``"model"``, or an ``"adapter"`` to lay over it.
        save: writes a trained model into a folder, and returns what was checked.
        checkpoint: the model before.
        learner: the model in memory, with its objective.
        data: what it learns.
        described: the texts, as a manifest has them.
        config: how it is trained.
        run: folder of the unfinished run.
        depends: what the run depends on besides these; plain values.
        files: copied into the finished folder.
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
    """What came of it: the manifest, which the first process writes, and how training ended."""

    manifest: Manifest | None
    outcome: TrainingOutcome

    @property
    def alone(self) -> Manifest:
        """The manifest, where one process did it all.

        Raises:
            UserError: there were several.
        """
        if self.manifest is None:
            raise UserError("a recipe is followed by one process.")
        return self.manifest


def tune(tuning: Tuning, output: Path, watcher: Watcher) -> Tuned:
    """Train, or go on with a run that lies there, and write the weights of the best validation.

    Several processes do it together; the first one writes.

    Raises:
        UserError: the training diverged; or a check of what was saved failed. What is needed to go
            on stays beside the output.
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
    """The folder of an unfinished run; after an error it stays only if a run can go on from it."""
    run = run_folder(output)
    try:
        yield run
    except UserError:
        if not (run / "state" / STATE).exists():
            shutil.rmtree(run, ignore_errors=True)
        raise


def run_folder(output: Path) -> Path:
    """Where an unfinished run lies; made when missing."""
    run = output.with_name(f".{output.name}.run")
    run.mkdir(parents=True, exist_ok=True)
    return run


def train_config(config: TrainConfig) -> TrainConfig:
    """Only how to train, of a larger configuration: on nothing else depends whether runs agree."""
    return TrainConfig(**{name: getattr(config, name) for name in TrainConfig.model_fields})


def set_threads(wanted: int | None) -> None:
    """Tell PyTorch how many threads to use; None = the free cores, shared among the processes."""
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(wanted or max(1, choose_threads() // num_local()))


def _write(
    tuning: Tuning, outcome: TrainingOutcome, trained: int, how: str, part: Path
) -> Manifest:
    """All files of the finished folder, the manifest last.

    Args:
        tuning: what was done.
        outcome: how it ended.
        trained: numbers that were trained.
        how: the precision.
        part: the folder.
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
    """The log without times, which are another in each run."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row.pop("tokens_per_second", None)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    target.write_text(text, encoding="utf-8", newline="\n")


def _sizes(tuning: Tuning, trained: int, part: Path) -> dict[str, Any]:
    """The stage's ``parameters`` and ``sizes``."""
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
    """The held-out split before any step and with the weights that were kept."""
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
