"""The stage: a model and training text in, an adapter or a tuned model out.

What an unfinished run needs to go on lies in ``.NAME.run`` beside the output.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galenic.artifact import (
    Manifest,
    Parent,
    Stage,
    check_new,
    library_versions,
    new_artifact,
    read_manifest,
    write_manifest,
)
from galenic.compress.card import CARD, parent_licence
from galenic.compress.finetune.base import Finetuner
from galenic.compress.finetune.card import TunedFacts, tuned_card
from galenic.compress.finetune.config import FinetuneConfig
from galenic.compress.finetune.texts import REMOVED, Texts, prepare_texts, read_sources
from galenic.compress.frozen import FrozenBlocks
from galenic.compress.learner import Learner
from galenic.compress.objectives import CrossEntropy
from galenic.compress.processes import SilentWatcher, num_local, rank
from galenic.compress.run_folder import LOG, STATE
from galenic.compress.sizes import count_stored, weight_bytes
from galenic.compress.train import Outcome, Trainer
from galenic.compress.train_config import TrainConfig
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.layers import Layout
from galenic.models.load import resolve_model
from galenic.watcher import Watcher

__all__ = [
    "TRAINING_LOG",
    "Finetuned",
    "finetune",
    "heldout_checks",
    "resumable",
    "run_folder",
    "set_threads",
    "train_config",
]

TRAINING_LOG = "training.jsonl"
"""A line for each step and each look, within the finished folder."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors")


@dataclass(frozen=True)
class Finetuned:
    """What came of it: how the training ended, and the manifest, which the first process writes."""

    manifest: Manifest | None
    outcome: Outcome


def finetune(
    config: FinetuneConfig, method: Finetuner, output: Path, watcher: Watcher
) -> Finetuned:
    """Tune a model on text and write what was learnt, the weights of the best look.

    Several processes that are started alike (``torchrun``) do it together.

    Args:
        config: the model, the texts, and how to train.
        method: what is trained, with its knobs.
        output: the folder to make.
        watcher: told of progress.

    Raises:
        UserError: something is wrong with the input, before any slow work; the training diverged;
            or a check of what was saved failed. What is needed to go on stays beside the output.
    """
    watcher = watcher if rank() == 0 else SilentWatcher()
    output = output.absolute()
    check_new(output)
    _check_cache(config, method)
    sources = read_sources(config)
    files = resolve_model(config.model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_checkpoint(files)
    check_new(output, checkpoint.num_bytes if method.saves == "model" else 0)
    method.check(checkpoint.shapes)
    with resumable(output) as run:
        texts = prepare_texts(config, sources, checkpoint, run, config.seed, watcher)
        watcher.stage("loading the weights")
        set_threads(config.threads)
        layout = method.load(checkpoint)
        lower = _lower_blocks(config, method, layout, checkpoint, run)
        learner = Learner(method.prepare(layout, config.seed), CrossEntropy(), lower)
        trainer = Trainer(
            learner,
            texts.data,
            train_config(config),
            run / "state",
            fingerprint={
                "model": files.sha256,
                "method": {"name": method.name, **method.knobs},
                "texts": texts.described,
            },
            watcher=watcher,
        )
        outcome = trainer.run()
        manifest = None
        if trainer.accelerator.is_main_process:
            trained = sum(parameter.numel() for parameter in trainer.parameters.values())
            how = trainer.precision
            model = learner.release()
            done = _Done(config, method, checkpoint, model, texts, trained, how, outcome)
            manifest = _finish(done, output, run, watcher)
        trainer.close()
    return Finetuned(manifest, outcome)


def run_folder(output: Path) -> Path:
    """Where an unfinished run lies; made when missing."""
    run = output.with_name(f".{output.name}.run")
    run.mkdir(parents=True, exist_ok=True)
    return run


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


def train_config(config: TrainConfig) -> TrainConfig:
    """Only how to train, of a larger configuration: on nothing else depends whether runs agree."""
    return TrainConfig(**{name: getattr(config, name) for name in TrainConfig.model_fields})


def set_threads(wanted: int | None) -> None:
    """Tell PyTorch how many threads to use; None = the free cores, shared among the processes."""
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(wanted or max(1, choose_threads() // num_local()))


def _check_cache(config: FinetuneConfig, method: Finetuner) -> None:
    if not config.cache:
        if config.cache_folder is not None:
            raise UserError("--cache-folder goes with --cache.")
        return
    if method.top_blocks is None:
        raise UserError("--cache goes with --top-blocks: only blocks below those are kept.")


def _lower_blocks(
    config: FinetuneConfig, method: Finetuner, layout: Layout, checkpoint: Checkpoint, run: Path
) -> FrozenBlocks | None:
    frozen = len(layout.blocks) - len(method.trained_blocks(layout))
    if not config.cache or not frozen:
        return None
    folder = Path(config.cache_folder) if config.cache_folder else run / "cache"
    if num_local() > 1:  # each computes other texts, and a cache has one writer
        folder = folder / str(rank())
    limit = int(config.cache_gb * 1e9 / num_local())
    return FrozenBlocks(layout, frozen, folder, limit=limit, key=_cache_key(method, checkpoint))


def _cache_key(method: Finetuner, checkpoint: Checkpoint) -> str:
    bits = method.knobs.get("base_bits")
    return checkpoint.files.sha256 + (f"/{bits}" if bits else "")


@dataclass(frozen=True)
class _Done:
    """A finished training."""

    config: FinetuneConfig
    method: Finetuner
    checkpoint: Checkpoint
    model: Any
    texts: Texts
    trained: int
    precision: str
    outcome: Outcome


def _finish(done: _Done, output: Path, run: Path, watcher: Watcher) -> Manifest:
    with new_artifact(output) as part:
        watcher.stage("writing")
        manifest = _write(done, part, run)
    shutil.rmtree(run)
    return manifest


def _write(done: _Done, part: Path, run: Path) -> Manifest:
    """All files of the finished folder, the manifest last."""
    files, method = done.checkpoint.files, done.method
    checks = method.save(done.model, part, base=files.name, source=done.checkpoint.folder)
    shutil.copyfile(run / REMOVED, part / REMOVED)
    _write_log(run / "state" / LOG, part / TRAINING_LOG)
    stage = _stage(done, part, checks)
    facts = TunedFacts(files.name, parent_licence(files), method.saves, stage)
    (part / CARD).write_text(tuned_card(facts), encoding="utf-8", newline="\n")
    earlier = read_manifest(done.checkpoint.folder) if method.saves == "model" else None
    return write_manifest(part, [*(earlier.stages if earlier else ()), stage])


def _write_log(source: Path, target: Path) -> None:
    """The log without times, which are another in each run."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row.pop("tokens_per_second", None)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    target.write_text(text, encoding="utf-8", newline="\n")


def _stage(done: _Done, part: Path, checks: dict[str, float]) -> Stage:
    files, method, outcome = done.checkpoint.files, done.method, done.outcome
    before = count_stored(done.checkpoint)
    sizes = {"before": weight_bytes(done.checkpoint.folder)}
    parameters = {
        "before": before,
        "trained": {"total": done.trained},
    }
    if method.saves == "model":
        after = open_checkpoint(replace(files, kind="folder", path=part))
        parameters["after"] = count_stored(after)
        sizes["after"] = weight_bytes(part)
    else:
        sizes["after"] = sum(file.stat().st_size for file in part.glob("*.safetensors"))
    return Stage(
        stage="finetune",
        method=method.name,
        reference_url=method.reference_url,
        knobs={**train_config(done.config).model_dump(mode="json"), **method.knobs},
        parent=Parent(name=files.name, sha256=files.sha256),
        calibration=done.texts.described,
        parameters=parameters,
        removed={"blocks": 0.0, "whole": 0.0},
        sizes=sizes,
        notes=tuple(_notes(done)),
        checks={**checks, **heldout_checks(outcome)},
        versions=library_versions(*LIBRARIES),
    )


def _notes(done: _Done) -> Sequence[str]:
    outcome = done.outcome
    best = outcome.best.step if outcome.best else 0
    return (
        f"trained in {done.precision}; the weights are those of step {best} of {outcome.steps}",
        f"ended because {outcome.stopped}",
    )


def heldout_checks(outcome: Outcome) -> dict[str, float]:
    """The held-out split before any step and with the weights that were kept."""
    best, first = outcome.best, outcome.looks[0]
    if best is None:
        return {}
    found = {"heldout_loss_before": first.loss, "heldout_loss": best.loss}
    for group, value in best.accuracy.items():
        found[f"heldout_accuracy_before_{group}"] = first.accuracy[group]
        found[f"heldout_accuracy_{group}"] = value
    return found
