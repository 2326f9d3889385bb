"""Pruning stage: read a model, and write the pruned model as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.artifact.manifest import (
    Manifest,
    check_new,
    new_artifact,
    read_manifest,
)
from galenic.artifact.record import record_stage
from galenic.artifact.sizes import count_stored, weight_bytes
from galenic.compression.blocks.tokens import as_tensor, describe_text, pack_tokens
from galenic.compression.prune.base import Pruner
from galenic.compression.prune.config import PruneConfig
from galenic.compression.prune.gradual import cut_gradually
from galenic.data.calibration import read_calibration_text
from galenic.errors import UserError
from galenic.models.checkpoint import open_checkpoint
from galenic.models.families import EXPERTS
from galenic.models.files import ModelFiles
from galenic.models.gguf.tied import head_once
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.models.stream import open_stream
from galenic.registry import PRUNERS
from galenic.watcher import Watcher

__all__ = ["prune"]

LIBRARIES = ("torch", "transformers", "safetensors")


def prune(config: PruneConfig, pruner: Pruner, output: Path, watcher: Watcher) -> Manifest:
    """Prune a model and write it as a new folder, which is created only if all checks pass.

    Args:
        config: the model and the calibration text.
        pruner: the method with its options.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), or a check of the saved
            model failed.
    """
    check_new(output)
    _check_steps(config, pruner)
    calibrated = pruner.calibrated or config.heals
    texts = read_calibration_text(config) if calibrated else []
    files = resolve_model(config.model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_model(head_once(files, config.tie_head, watcher))
    check_new(output, checkpoint.num_bytes)
    pruner.check_model(checkpoint.shapes)
    if config.heals and checkpoint.shapes.family in EXPERTS:
        raise UserError(
            "--reconstruct and --steps fit the last linear layer of a block, and a block of "
            "experts has several. Leave them out."
        )
    earlier = read_manifest(checkpoint.folder)
    packs = calibrated and not pruner.whole_texts
    tokens = pack_tokens(config, texts, checkpoint) if packs else None
    stream = open_stream(checkpoint, num_tokens=0 if tokens is None else tokens.size)
    with new_artifact(output) as part:
        given = texts or None if tokens is None else as_tensor(tokens)
        if config.heals:
            checks = cut_gradually(stream, pruner, given, config.steps, part, watcher)
        else:
            watcher.stage(f"pruning with {pruner.name}", total=len(stream.layout.blocks))
            checks = pruner.apply(stream, given, part, watcher.advance)
        del stream, given
        watcher.stage("counting and hashing")
        written = open_checkpoint(ModelFiles(str(output), "folder", part, ""))
        before, after = count_stored(checkpoint), count_stored(written)
        return record_stage(
            part,
            "prune",
            pruner,
            files,
            earlier=[earlier],
            libraries=LIBRARIES,
            options=pruner.options | config.tied | _healing(config),
            calibration=describe_text(config, texts, tokens) if texts else None,
            parameters={"before": before, "after": after},
            removed=_removed(before, after),
            sizes={"before": weight_bytes(checkpoint.folder), "after": weight_bytes(part)},
            checks={**checks},
        )


def _check_steps(config: PruneConfig, pruner: Pruner) -> None:
    if not config.heals:
        return
    if not pruner.reconstructs:
        able = ", ".join(name for name in PRUNERS if PRUNERS.load(name).reconstructs)
        raise UserError(
            f"--reconstruct and --steps are for methods that remove channels or blocks ({able}); "
            f"--method {pruner.name} is not one."
        )
    pruner.check_steps(config.steps)


def _healing(config: PruneConfig) -> dict[str, Any]:
    return {"reconstruct": True, "steps": config.steps} if config.heals else {}


def _removed(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """Fractions of the parameters that were removed or newly set to zero."""

    def share(part: str, zeros: str) -> float:
        gone = before[part] - after[part] + max(0, after[zeros] - before[zeros])
        return gone / before[part]

    return {"blocks": share("blocks", "zeros_in_blocks"), "whole": share("total", "zeros")}
