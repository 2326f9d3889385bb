"""Tuning after any method that makes a GGUF: first codes block by block, then scales by KL."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.kept import KeptTensors
from galenic.compression.quantize.tuning.codes import Samples, fast, tune_codes_
from galenic.compression.quantize.tuning.model import TunedModel
from galenic.compression.quantize.tuning.scales import kl_of_hidden, mean_kl, tune_scales_
from galenic.models.forward import embed
from galenic.models.gguf.header import read_header
from galenic.models.gguf.write import write_gguf
from galenic.models.paged import PagedModel
from galenic.runtimes.threads import choose_threads

__all__ = ["tune_gguf"]

BATCH = 4
"""Sequences in a step."""
APART = 8
"""One of so many sequences of the calibration text is kept apart to judge on: the last ones."""


def tune_gguf(job: QuantizeJob, path: Path) -> dict[str, float]:
    """Tune the numbers of a file; it is written anew only where the KL is lower than before.

    Args:
        job: the dense model and the calibration text.
        path: the file; every tensor keeps its type and its bytes their number.

    Returns:
        ``tuning_kl_before`` and ``tuning_kl_after``: in nats a token, on the sequences kept apart.
    """
    tokens, config = job.tokens, job.config
    torch.set_num_threads(choose_threads())
    apart = max(1, len(tokens) // APART)
    generator = torch.Generator().manual_seed(config.seed)
    model = TunedModel(job.checkpoint, path)
    dense = PagedModel(job.checkpoint, job.source)
    job.watcher.stage("tuning codes block by block", total=len(model.layout.blocks))
    normed, before = _walk(job, model, dense, tokens, apart, generator)
    learnt, judged = tokens[:-apart], tokens[-apart:]
    steps = config.tune_passes * -(-len(learnt) // BATCH)
    job.watcher.stage("tuning scales of the whole model", total=steps)
    tune_scales_(
        model, dense, normed[:-apart], learnt, passes=config.tune_passes, batch_size=BATCH,
        generator=generator, advance=job.watcher.advance,
    )  # fmt: skip
    stored = dict(model.stored())
    model.forget_factors_()
    after = mean_kl(model, dense, normed[-apart:], judged)
    left = "" if after < before else ": the file stays as it was"
    job.watcher.say(
        f"KL to the dense model on {judged.numel():,} tokens kept apart: {before:.4f} before "
        f"tuning, {after:.4f} after{left}"
    )
    if after < before:
        _write(job, path, stored)
    return {"tuning_kl_before": before, "tuning_kl_after": min(before, after)}


def _walk(
    job: QuantizeJob,
    model: TunedModel,
    dense: PagedModel,
    tokens: Any,
    apart: int,
    generator: Any,
) -> tuple[Any, float]:
    """Tune block after block; gives what the dense head reads, and the KL before any tuning."""
    wanted, settings = dense.enter(tokens)
    hidden, _ = embed(model.layout, tokens)
    untuned = hidden[-apart:].clone()
    for index, given in enumerate(settings):
        with torch.no_grad(), dense.block(index) as module, fast(wanted.shape[-1]):
            for sample in wanted.split(1):
                sample.copy_(module(sample, **given))
        _run_on(model, index, untuned, given)
        if job.config.tune_steps:
            tune_codes_(
                model, index, dense.tensor, Samples(hidden, wanted, apart), given,
                steps=job.config.tune_steps, batch_size=BATCH, generator=generator,
            )  # fmt: skip
        _run_on(model, index, hidden, given)
        job.watcher.advance(index + 1)
    with torch.no_grad():
        normed = torch.cat([dense.layout.decoder.norm(sample) for sample in wanted.split(1)])
    return normed, kl_of_hidden(model, dense, untuned, normed[-apart:])


def _run_on(model: TunedModel, index: int, hidden: Any, settings: dict[str, Any]) -> None:
    with torch.no_grad(), fast(hidden.shape[-1]):
        values = model.block_values(index)
        for sample in hidden.split(1):
            sample.copy_(model.run_block(index, sample, settings, values))


def _write(job: QuantizeJob, path: Path, stored: dict[str, Any]) -> None:
    types = {tensor.name: tensor.type for tensor in read_header(path).tensors}
    with TemporaryDirectory(prefix=".tuned-", dir=path.parent) as scratch:
        kept = KeptTensors(Path(scratch), job.checkpoint.folder)
        while stored:  # each is let go once it is on disk
            name = next(iter(stored))
            kept.put_rows(name, stored.pop(name))
        write_gguf(job.source, path, types, encode=kept.encode)
