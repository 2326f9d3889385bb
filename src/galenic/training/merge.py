"""Merge stage: combine a model and an adapter into an ordinary model folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from galenic.artifact.manifest import (
    Manifest,
    check_new,
    new_artifact,
    read_manifest,
)
from galenic.artifact.record import NamedMethod, record_stage
from galenic.artifact.sizes import count_stored, weight_bytes
from galenic.cache import file_sha256
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.files import ModelFiles
from galenic.models.folder import ADAPTER_WEIGHTS, check_adapter
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.models.save import TOKENIZER_FILES
from galenic.training.finetune.full import write_model
from galenic.training.finetune.lora import lay_over, quiet_peft
from galenic.training.loading import load_dense, load_rounded
from galenic.watcher import Watcher

__all__ = ["merge"]

TOLERANCE = 1e-4
"""Largest accepted difference of logits, relative to the largest logit."""
CHECKED_TOKENS = 64
LIBRARIES = ("torch", "transformers", "peft", "safetensors")
MERGE = NamedMethod("merge", "https://arxiv.org/abs/2106.09685")


def merge(model: str, adapter: Path, output: Path, watcher: Watcher) -> Manifest:
    """Add an adapter to its base model's weights, and write the result as a new folder.

    A quantized GGUF is dequantized first. A base that was quantized while the adapter was trained
    (``base_bits``) is merged with its rounded weights, since the adapter was fitted to them. The
    whole model is held in memory in float32, and stored in the base's type; in float32 if the
    adapter was trained for a GGUF type (``--for-type``), because quantizing will round it later.

    Args:
        model: the base model, in any form that `galenic.models.load.resolve_model` takes.
        adapter: folder of a peft adapter.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid, or the merged model's logits differ from those of base and
            adapter.
    """
    check_new(output)
    check_adapter(adapter)
    files = resolve_model(model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_model(files)
    check_new(output, checkpoint.num_bytes)
    watcher.stage("merging")
    merged, difference = _merged(checkpoint, adapter)
    with new_artifact(output) as part:
        watcher.stage("writing and reading back")
        if merged.config.vocab_size != checkpoint.shapes.model.config.vocab_size:
            _copy_tokenizer(adapter, part)
        dtype = merged.dtype if _option(adapter, "for_type") else checkpoint.dtype
        checks = write_model(merged, part, checkpoint.folder, dtype)
        written = open_checkpoint(ModelFiles(str(output), "folder", part, ""))
        return record_stage(
            part,
            "merge",
            MERGE,
            files,
            earlier=[read_manifest(checkpoint.folder), read_manifest(adapter)],
            libraries=LIBRARIES,
            options={"adapter": file_sha256(adapter / ADAPTER_WEIGHTS)},
            parameters={"before": count_stored(checkpoint), "after": count_stored(written)},
            sizes={"before": weight_bytes(checkpoint.folder), "after": weight_bytes(part)},
            checks={"adapter_logit_difference": difference, **checks},
        )


def _merged(checkpoint: Checkpoint, adapter: Path) -> tuple[Any, float]:
    """Return the merged model, and the relative difference of its logits from the unmerged one."""
    import torch

    bits = _trained_bits(adapter)
    base = load_rounded(checkpoint, bits) if bits else load_dense(checkpoint).model
    _fit_vocabulary_(base, adapter)
    both = lay_over(base, adapter).eval()
    size = int(base.get_input_embeddings().weight.shape[0])
    tokens = torch.arange(CHECKED_TOKENS)[None] * 7919 % size
    with torch.no_grad():
        wanted = both(input_ids=tokens, use_cache=False).logits
        _untie_(base, both)
        try:
            with quiet_peft():
                merged = both.merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
            raise UserError(f"peft cannot merge {adapter}: {error} Nothing was written.") from error
        found = merged(input_ids=tokens, use_cache=False).logits
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"the merged model's logits differ from those of base and adapter by {difference:.2g} "
            f"of the largest ({TOLERANCE:g} is allowed). Nothing was written."
        )
    return merged, difference


def _fit_vocabulary_(base: Any, adapter: Path) -> None:
    """Resize the base's vocabulary to the size that the adapter was trained with.

    Raises:
        UserError: the sizes differ, and the adapter's folder has no tokenizer.
    """
    from safetensors import safe_open

    before = int(base.get_input_embeddings().weight.shape[0])
    with safe_open(adapter / ADAPTER_WEIGHTS, "np") as file:
        shapes = [
            file.get_slice(name).get_shape()
            for name in file.keys()  # noqa: SIM118
            if re.search(r"(embed_tokens|embed_in|lm_head)\.(\w+\.)?weight$", name)
        ]
    rows = {int(shape[0]) for shape in shapes if len(shape) == 2 and shape[1] > 0}
    wanted = max(rows, default=before)
    if wanted == before:
        return
    if not (adapter / "tokenizer.json").is_file():
        raise UserError(
            f"{adapter} was trained with {wanted} tokens, the base has {before}, and there is no "
            "tokenizer.json beside the adapter that says what the others are. Save it there."
        )
    base.resize_token_embeddings(wanted, mean_resizing=False)


def _copy_tokenizer(adapter: Path, folder: Path) -> None:
    for pattern in TOKENIZER_FILES:
        for file in sorted(adapter.glob(pattern)):
            shutil.copyfile(file, folder / file.name)


def _untie_(base: Any, both: Any) -> None:
    """Untie the head from the embedding if the adapter changes either of them, because peft
    treats the two as separate weights."""
    import torch

    ends = (both.base_model.model.get_input_embeddings(), both.get_output_embeddings())
    if not base.config.tie_word_embeddings or not any(hasattr(one, "base_layer") for one in ends):
        return
    head = getattr(ends[1], "base_layer", ends[1])
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    base.config.tie_word_embeddings = False


def _trained_bits(adapter: Path) -> int | None:
    """Bits per weight of the base that our adapter was trained with; None if not quantized."""
    bits = _option(adapter, "base_bits")
    return bits if isinstance(bits, int) else None


def _option(adapter: Path, name: str) -> Any:
    """Return a training option from the adapter's manifest; None if the adapter has no manifest."""
    manifest = read_manifest(adapter)
    return manifest.stages[-1].options.get(name) if manifest and manifest.stages else None
