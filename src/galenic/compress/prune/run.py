"""The stage: a model in, a pruned model folder out."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from galenic.artifact import (
    Manifest,
    Parent,
    Stage,
    check_new,
    new_artifact,
    read_manifest,
    write_manifest,
)
from galenic.compress.prune.base import Pruner
from galenic.compress.prune.config import PruneConfig
from galenic.data.calibration import CalibrationText, pack, read_calibration_text
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint, load_layout, open_checkpoint
from galenic.models.layers import Layout, count_parameters, count_zeros
from galenic.models.load import resolve_model
from galenic.models.save import check_saved, save_layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Watcher", "prune"]

LIBRARIES = ("galenic", "torch", "transformers", "safetensors")


class Watcher(Protocol):
    """Who is told how far the work is."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """A new stage begins; ``total`` is its size where known."""

    def advance(self, done: int, note: str = "") -> None:
        """So much of the stage is done."""


def prune(config: PruneConfig, pruner: Pruner, output: Path, watcher: Watcher) -> Manifest:
    """Prune a model and write it as a new folder, which is there only if every check passed.

    Args:
        config: the model and the calibration text.
        pruner: the method with its knobs.
        output: the folder to make.
        watcher: told of progress.

    Raises:
        UserError: whatever is wrong with the input, before any slow work; or a check of the saved
            model failed.
    """
    check_new(output)
    texts = read_calibration_text(config) if pruner.calibrated else []
    files = resolve_model(config.model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_checkpoint(files)
    check_new(output, checkpoint.num_bytes)
    pruner.check(checkpoint.shapes)
    earlier = read_manifest(checkpoint.folder)
    tokens = _pack(config, texts, checkpoint) if pruner.calibrated else None
    layout = load_layout(checkpoint)
    before = _parameters(layout)
    watcher.stage(f"pruning with {pruner.name}", total=len(layout.blocks))
    pruner.apply_(layout, _as_tensor(tokens), watcher.advance)
    watcher.stage("saving and reading back")
    with new_artifact(output) as part:
        save_layout(layout, checkpoint.folder, part, checkpoint.dtype)
        after = _parameters(layout)
        stage = Stage(
            stage="prune",
            method=pruner.name,
            reference_url=pruner.reference_url,
            knobs=pruner.knobs,
            parent=Parent(name=files.name, sha256=files.sha256),
            calibration=None if tokens is None else _describe(config, texts, tokens),
            parameters={"before": before, "after": after},
            removed=_removed(before, after),
            checks=check_saved(layout, part),
            versions={"python": platform.python_version()}
            | {name: version(name) for name in LIBRARIES},
        )
        return write_manifest(part, [*(earlier.stages if earlier else ()), stage])


def _pack(
    config: PruneConfig, texts: list[CalibrationText], checkpoint: Checkpoint
) -> NDArray[np.int64]:
    import transformers

    longest = int(checkpoint.shapes.model.config.max_position_embeddings)
    if config.seq_len > longest:
        raise UserError(f"--seq-len {config.seq_len}: the model takes at most {longest} tokens.")
    # Auto would put its own rules for some families in place of those of a GGUF
    gguf = checkpoint.files.kind == "gguf"
    kind = transformers.PreTrainedTokenizerFast if gguf else transformers.AutoTokenizer
    tokenizer: Any = kind.from_pretrained(checkpoint.folder)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    empty = tokenizer("")["input_ids"]

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    start = empty[: -len(end)] if end and empty[-1:] == end else empty
    return pack(texts, encode, config, start=start, end=end)


def _as_tensor(tokens: NDArray[np.int64] | None) -> Any | None:
    import torch

    from galenic.runtimes.threads import choose_threads

    torch.set_num_threads(choose_threads())
    return None if tokens is None else torch.from_numpy(tokens)


def _describe(
    config: PruneConfig, texts: list[CalibrationText], tokens: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        "sources": [{"source": text.source, "sha256": text.sha256} for text in texts],
        "num_samples": config.num_samples,
        "seq_len": config.seq_len,
        "seed": config.seed,
        "tokens_sha256": hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest(),
    }


def _parameters(layout: Layout) -> dict[str, int]:
    zeros = count_zeros(layout)
    return {
        **asdict(count_parameters(layout)),
        "zeros": zeros.total,
        "zeros_in_blocks": zeros.blocks,
    }


def _removed(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    return {
        "blocks": 1 - (after["blocks"] - after["zeros_in_blocks"]) / before["blocks"],
        "whole": 1 - (after["total"] - after["zeros"]) / before["total"],
    }
