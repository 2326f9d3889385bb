"""Fine-tuning stage: train a model on text, and write an adapter or the tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.artifact.manifest import check_new
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.layers import Layout
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.training.activation_cache import FrozenBlocks
from galenic.training.batch import Batch
from galenic.training.distributed import check_spread, num_local, rank
from galenic.training.finetune.base import Finetuner
from galenic.training.finetune.config import FinetuneConfig
from galenic.training.finetune.texts import REMOVED, prepare_texts, read_sources
from galenic.training.learner import Learner
from galenic.training.loop import choose_precision
from galenic.training.losses import CrossEntropy
from galenic.training.run import Tuned, Tuning, resumable, set_threads, train_config, tune
from galenic.watcher import SilentWatcher, Watcher

__all__ = ["finetune"]


def finetune(config: FinetuneConfig, method: Finetuner, output: Path, watcher: Watcher) -> Tuned:
    """Fine-tune a model on text, and write the adapter or model with the best weights.

    With ``torchrun``, all processes call this together.

    Args:
        config: the model, the texts, and training options.
        method: the fine-tuning method with its options.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), the training diverged,
            or a check of the saved model failed. The state for resuming stays beside the output.
    """
    watcher = watcher if rank() == 0 else SilentWatcher()
    output = output.absolute()
    check_new(output)
    _check_cache(config, method)
    sources = read_sources(config, keeps=method.saves == "adapter")
    clashes = {
        "--cache": config.cache,
        "--base-bits": method.options.get("base_bits") is not None,
        "the form kept": any(one.form == "kept" for one in sources.train),
    }
    check_spread(config, clashes)
    files = resolve_model(config.model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_model(files)
    check_new(output, checkpoint.num_bytes if method.saves == "model" else 0)
    method.check(checkpoint.shapes)
    with resumable(output) as run:
        texts = prepare_texts(config, sources, checkpoint, run, config.seed, watcher)
        watcher.stage("loading the weights")
        set_threads(config.threads)
        layout = method.load(checkpoint)
        lower = _lower_blocks(config, method, layout, checkpoint, run)
        how = train_config(config)
        tuning = Tuning(
            stage="finetune",
            method=method,
            options={**how.model_dump(mode="json"), **method.options},
            saves=method.saves,
            save=lambda model, folder: method.save(
                model, folder, base=files.name, source=checkpoint.folder
            ),
            checkpoint=checkpoint,
            learner=_learner(method.prepare(layout, config.seed), method, lower),
            data=texts.data,
            described=texts.described,
            config=how,
            run=run,
            depends={},
            files=[run / REMOVED],
        )
        return tune(tuning, output, watcher)


def _learner(model: Any, method: Finetuner, lower: FrozenBlocks | None) -> Learner:
    """Create the learner; with an adapter, the base serves as untuned model for ``kept`` texts."""
    if method.saves != "adapter":
        return Learner(model, CrossEntropy(), lower)
    untuned = Learner(model, CrossEntropy(), lower)

    def logits(batch: Batch) -> Any:
        with untuned.attending(batch), model.disable_adapter():
            return untuned.logits(batch)

    return Learner(model, CrossEntropy(logits), lower)


def _check_cache(config: FinetuneConfig, method: Finetuner) -> None:
    if not config.cache:
        if config.cache_folder is not None:
            raise UserError("--cache-folder needs --cache.")
        return
    if method.top_blocks is None:
        raise UserError(
            "--cache needs --top-blocks: it stores the output of the frozen blocks below them."
        )


def _lower_blocks(
    config: FinetuneConfig, method: Finetuner, layout: Layout, checkpoint: Checkpoint, run: Path
) -> FrozenBlocks | None:
    frozen = len(layout.blocks) - len(method.trained_blocks(layout))
    if not config.cache or not frozen:
        return None
    folder = Path(config.cache_folder) if config.cache_folder else run / "cache"
    if num_local() > 1:  # one cache per process, as a cache has a single writer
        folder = folder / str(rank())
    limit = int(config.cache_gb * 1e9 / num_local())
    options, precision = method.options, choose_precision(config.precision)
    held = options.get("for_type") or options.get("base_bits")
    key = f"{checkpoint.files.sha256}/{held}/{precision}"
    return FrozenBlocks(layout, frozen, folder, limit=limit, key=key)
