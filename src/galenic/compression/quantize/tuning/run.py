"""Tuning of a quantized GGUF: first codes block by block, then scales by KL divergence."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.kept import KeptTensors
from galenic.compression.quantize.tuning.codes import Samples, tune_codes_
from galenic.compression.quantize.tuning.folder import TuningFolder
from galenic.compression.quantize.tuning.heldout import Judge
from galenic.compression.quantize.tuning.model import TunedModel, fast
from galenic.compression.quantize.tuning.scales import Schedule, tune_scales_
from galenic.models.forward import embed
from galenic.models.gguf.header import read_header
from galenic.models.gguf.write import write_gguf
from galenic.models.paged import PagedModel
from galenic.runtimes.threads import choose_threads

__all__ = ["tune_gguf"]

BATCH = 4
"""Number of sequences per step."""
APART = 8
"""One in this many calibration sequences, at the end, is held out to evaluate tuned blocks."""
WALK = "walk"


def tune_gguf(job: QuantizeJob, path: Path, folder: TuningFolder) -> dict[str, float]:
    """Tune a GGUF file; it is rewritten only if the KL divergence from the dense model is lower.

    Args:
        job: the dense model, the calibration text, and held-out text from other documents.
        path: the file; every tensor keeps its type and size.
        folder: stores the state for resuming.

    Returns:
        ``tuning_kl_before`` and ``tuning_kl_after`` in nats per token on the held-out text, the
        95 % interval of their ratio, and the number of tokens.
    """
    tokens, config = job.tokens, job.config
    torch.set_num_threads(choose_threads())
    generator = torch.Generator().manual_seed(config.seed)
    model = TunedModel(job.checkpoint, path)
    dense = PagedModel(job.checkpoint, job.source)
    judge = Judge(dense, job.heldout_tokens, folder)
    job.watcher.stage("measuring the KL before tuning")
    judge.look_before(model)
    normed = _walk(job, model, dense, tokens, folder, generator)
    learnt = len(tokens) - _apart(tokens)
    schedule = Schedule(config.tune_passes, BATCH, generator)
    tune_scales_(model, dense, normed[:learnt], tokens[:learnt], schedule, folder, job.watcher)
    stored = dict(model.stored())
    model.forget_factors_()
    job.watcher.stage("measuring the KL after tuning")
    found = judge.judge(model)
    helped = found.after.value < found.before.value
    job.watcher.say(found.told() + ("" if helped else ": the file stays as it was"))
    if helped:
        _write(job, path, stored)
    kept = found.after.value if helped else found.before.value
    return {
        "tuning_kl_before": found.before.value,
        "tuning_kl_after": kept,
        "tuning_kl_ratio_low": found.ratio.low,
        "tuning_kl_ratio_high": found.ratio.high,
        "tuning_kl_tokens": float(found.num_tokens),
    }


def _apart(tokens: Any) -> int:
    """Number of calibration sequences, at the end, that are held out from training."""
    return max(1, len(tokens) // APART)


def _walk(
    job: QuantizeJob,
    model: TunedModel,
    dense: PagedModel,
    tokens: Any,
    folder: TuningFolder,
    generator: Any,
) -> Any:
    """Tune the codes of all blocks, or resume; return the inputs of the dense model's head."""
    wanted, settings = dense.enter(tokens)
    done = 0
    if state := folder.load(WALK):
        done, hidden, wanted = state["done"], state["hidden"], state["wanted"]
        generator.set_state(state["generator"])
        job.watcher.say(f"resuming after block {done} of {len(settings)}")
    else:
        hidden, _ = embed(model.layout, tokens)
    for index in range(done):
        _put_(model, folder.load(f"block-{index}") or {})
    job.watcher.stage("tuning codes block by block", total=len(settings), done=done)
    for index in range(done, len(settings)):
        given = settings[index]
        with torch.no_grad(), dense.block(index) as module, fast(wanted.shape[-1]):
            for sample in wanted.split(1):
                sample.copy_(module(sample, **given))
        if job.config.tune_steps:
            tune_codes_(
                model, index, dense.tensor, Samples(hidden, wanted, _apart(tokens)), given,
                steps=job.config.tune_steps, batch_size=BATCH, generator=generator,
            )  # fmt: skip
        model.run_on_(index, hidden, given)
        names = [name for _, name in model.of_block(index) if name in model.matrices]
        blocks = {name: torch.from_numpy(model.matrices[name].blocks) for name in names}
        folder.save(f"block-{index}", blocks)
        reached = {"done": index + 1, "hidden": hidden, "wanted": wanted}
        folder.save(WALK, {**reached, "generator": generator.get_state()})
        job.watcher.advance(index + 1)
    with torch.no_grad():
        return torch.cat([dense.layout.norm(sample) for sample in wanted.split(1)])


def _put_(model: TunedModel, blocks: dict[str, Any]) -> None:
    for name, held in blocks.items():
        model.matrices[name].put_(held.numpy())


def _write(job: QuantizeJob, path: Path, stored: dict[str, Any]) -> None:
    types = {tensor.name: tensor.type for tensor in read_header(path).tensors}
    with TemporaryDirectory(prefix=".tuned-", dir=path.parent) as scratch:
        kept = KeptTensors(Path(scratch), job.checkpoint.folder)
        while stored:  # free each once it is on disk
            name = next(iter(stored))
            kept.put_rows(name, stored.pop(name))
        write_gguf(job.source, path, types, encode=kept.encode)
