"""Encoder training stage: train an encoder with a multiple-choice head on questions.

The state of an unfinished run is kept in ``.NAME.run`` beside the output.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from galenic.artifact.manifest import (
    Manifest,
    check_new,
    new_artifact,
    read_manifest,
)
from galenic.artifact.record import NamedMethod, record_stage
from galenic.artifact.sizes import weight_bytes
from galenic.errors import UserError
from galenic.models.encoders.encoder import Encoder, load_encoder, refuse_writer
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.models.quiet import quiet_transformers
from galenic.models.save import LICENCE_FILES
from galenic.models.size import inspect_model
from galenic.training.card import tuned_card
from galenic.training.checkpoints import LOG
from galenic.training.distributed import check_spread, num_local
from galenic.training.encoder.config import EncoderConfig
from galenic.training.encoder.items import PairTexts, check_sets
from galenic.training.encoder.learner import ChoiceLearner, measure_choices
from galenic.training.finetune.texts import (
    REMOVED,
    TrainingSources,
    describe_sources,
    keep_untested,
    read_sources,
)
from galenic.training.loop import Trainer, TrainingOutcome
from galenic.training.run import (
    TRAINING_LOG,
    heldout_checks,
    resumable,
    set_threads,
    train_config,
    write_log,
)
from galenic.watcher import Watcher

__all__ = ["METHOD", "TrainedEncoder", "train_encoder"]

METHOD = "encoder"
REFERENCE = "https://arxiv.org/abs/1810.04805"
LIBRARIES = ("torch", "transformers", "accelerate", "safetensors")
TOLERANCE = 1e-4
"""Largest accepted difference of scores after reading back, relative to the largest score or 1."""
CHECKED = 8
"""Number of held-out questions used to check the saved encoder."""


@dataclass(frozen=True)
class TrainedEncoder:
    """Result of training an encoder: the manifest and the outcome of training."""

    manifest: Manifest
    outcome: TrainingOutcome


def train_encoder(config: EncoderConfig, output: Path, watcher: Watcher) -> TrainedEncoder:
    """Train an encoder to choose among options, and write it with the best weights.

    Args:
        config: the encoder, the questions, and training options.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), the training diverged,
            or a check of the saved model failed. The state for resuming stays beside the output.
    """
    if num_local() > 1:
        raise UserError("an encoder is trained in one process: start it without torchrun.")
    check_spread(config)
    output = output.absolute()
    check_new(output)
    sources = read_sources(config)
    check_sets(sources.train)
    files = resolve_model(config.model)
    refuse_writer(files)
    check_new(output, weight_bytes(files.path))
    set_threads(config.threads)
    watcher.stage(f"opening {files.name}")
    encoder = load_encoder(files, seed=config.seed, longest=config.max_length)
    with resumable(output) as run:
        data = _prepare(config, sources, encoder, run, watcher)
    described = _describe(config, sources, data, run)
    trainer = Trainer(
        ChoiceLearner(encoder),
        data,
        train_config(config),
        run / "state",
        fingerprint={"model": files.sha256, "method": {"name": METHOD}, "texts": described},
        watcher=watcher,
        measure=measure_choices,
    )
    outcome = trainer.run()
    done = _Done(config, files, encoder, data, described, trainer.precision, outcome)
    with new_artifact(output) as part:
        watcher.stage("writing and reading back")
        manifest = _write(done, part, run)
    shutil.rmtree(run)
    return TrainedEncoder(manifest, outcome)


def _prepare(
    config: EncoderConfig, sources: TrainingSources, encoder: Encoder, run: Path, watcher: Watcher
) -> PairTexts:
    """Remove test questions from the sources, and tokenize the rest."""
    kept = keep_untested(config, sources, run, watcher)
    watcher.stage("encoding the questions")
    data = PairTexts(kept, encoder.pairs, num_heldout=config.num_heldout, seed=config.seed)
    if data.first.cut:
        watcher.say(
            f"of {len(data.first.items):,} questions {data.first.cut:,} do not fit into "
            f"{encoder.pairs.longest} tokens with each option and were truncated"
        )
    return data


def _describe(
    config: EncoderConfig, sources: TrainingSources, data: PairTexts, run: Path
) -> dict[str, Any]:
    return {
        "sources": describe_sources(sources.train, data.sets),
        "documents": len(data.first.items),
        "heldout": len(data.heldout),
        "cut": data.first.cut,
        "against": config.against,
        "removed_sha256": hashlib.sha256((run / REMOVED).read_bytes()).hexdigest(),
        "allow_contaminated": config.allow_contaminated,
        "max_length": data.pairs.longest,
        "num_heldout": config.num_heldout,
        "seed": config.seed,
    }


@dataclass(frozen=True)
class _Done:
    """A finished training run."""

    config: EncoderConfig
    files: ModelFiles
    encoder: Encoder
    data: PairTexts
    described: dict[str, Any]
    precision: str
    outcome: TrainingOutcome


def _write(done: _Done, part: Path, run: Path) -> Manifest:
    """Write all files of the result folder, the manifest last."""
    files = done.files
    checks = _save(done, part)
    shutil.copyfile(run / REMOVED, part / REMOVED)
    write_log(run / "state" / LOG, part / TRAINING_LOG)
    after = ModelFiles(files.name, "folder", part, "")
    best = done.outcome.best.step if done.outcome.best else 0
    parameters = inspect_model(after).parameters
    return record_stage(
        part,
        "finetune",
        NamedMethod(METHOD, REFERENCE),
        files,
        earlier=[read_manifest(files.path)],
        libraries=LIBRARIES,
        card=partial(tuned_card, files, "model"),
        options=train_config(done.config).model_dump(mode="json"),
        calibration=done.described,
        parameters={
            "before": inspect_model(files).parameters,
            "trained": {"total": parameters["total"]},
            "after": parameters,
        },
        sizes={"before": weight_bytes(files.path), "after": weight_bytes(part)},
        notes=(
            f"trained in {done.precision}; the weights are those of step {best} of "
            f"{done.outcome.steps}",
            f"ended because {done.outcome.stopped}",
        ),
        checks={**checks, **heldout_checks(done.outcome)},
    )


def _save(done: _Done, part: Path) -> dict[str, float]:
    """Save weights and tokenizer, with the maximum pair length, and check them by reading back.

    Raises:
        UserError: the scores of the encoder that was read back differ.
    """
    import torch

    pairs = done.encoder.pairs
    with quiet_transformers():
        done.encoder.model.cpu().eval().save_pretrained(part)
    tokenizer = pairs.tokenizer
    tokenizer.model_max_length = pairs.longest
    tokenizer.save_pretrained(part)
    for pattern in LICENCE_FILES:
        for file in sorted(done.files.path.glob(pattern)):
            shutil.copyfile(file, part / file.name)
    written = load_encoder(ModelFiles("what was saved", "folder", part, ""))
    checked = [pair for item in done.data.heldout[:CHECKED] for pair in item.pairs]
    with torch.no_grad():
        wanted, found = done.encoder.scores(checked), written.scores(checked)
    difference = float((found - wanted).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(wanted.abs().max())):
        raise UserError(
            f"the encoder was not saved: read back, its scores differ (by {difference:.2g})."
        )
    return {"score_difference": difference, "tolerance": TOLERANCE}
