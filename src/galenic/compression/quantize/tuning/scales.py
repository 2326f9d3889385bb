"""Tune scales, norms and biases of the whole model by KL to the dense model; codes are fixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from galenic.compression.quantize.tuning.folder import TuningFolder
from galenic.compression.quantize.tuning.model import TunedModel, fast
from galenic.models.families import finish_logits
from galenic.models.forward import embed
from galenic.models.paged import PagedModel
from galenic.watcher import Watcher

__all__ = ["Schedule", "kl_by_sequence", "tune_scales_"]

RATE = 4e-4
"""Initial learning rate, decaying linearly to zero; a ten times larger one diverges (LOG.md)."""
POSITIONS = 64
"""Number of positions whose logits are computed at once, to limit memory."""
SCALES = "scales"


@dataclass(frozen=True)
class Schedule:
    """Training schedule.

    Attributes:
        passes: number of passes over the text.
        batch_size: number of sequences per step.
        generator: random generator for the order of the sequences.
    """

    passes: int
    batch_size: int
    generator: Any


def tune_scales_(
    model: TunedModel,
    dense: PagedModel,
    normed: Any,
    tokens: Any,
    schedule: Schedule,
    folder: TuningFolder,
    watcher: Watcher,
) -> None:
    """Train the factors of scales, norms and biases, resuming if there is a saved state.

    Args:
        model: the quantized model, whose factors are trained.
        dense: the dense model, whose head computes the target.
        normed: inputs of the dense head, shape (samples, seq_len, hidden).
        tokens: training text, shape (samples, seq_len).
        schedule: number of passes, batch size and random order.
        folder: stores the state for resuming.
        watcher: reports progress.
    """
    factors = model.all_factors()
    optimizer = torch.optim.Adam(factors, lr=RATE, betas=(0.9, 0.99))
    batch_size, generator = schedule.batch_size, schedule.generator
    per_pass = -(-len(tokens) // batch_size)
    steps, done, order = schedule.passes * per_pass, 0, None
    if state := folder.load(SCALES):
        done, order = state["done"], state["order"]
        _restore_(factors, optimizer, generator, state)
    watcher.stage("tuning scales of the whole model", total=steps, done=done)
    while done < steps:
        place = done % per_pass
        if order is None or place == 0:
            order = torch.randperm(len(tokens), generator=generator)
        chosen = order[place * batch_size : (place + 1) * batch_size]
        optimizer.param_groups[0]["lr"] = RATE * (1 - done / steps)
        _step_(model, dense, optimizer, tokens[chosen], normed[chosen])
        done += 1
        watcher.advance(done)
        if done == steps or folder.is_due():
            folder.save(
                SCALES,
                {
                    "done": done,
                    "order": order,
                    "factors": [factor.detach() for factor in factors],
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                },
            )


def _restore_(factors: list[Any], optimizer: Any, generator: Any, state: dict[str, Any]) -> None:
    with torch.no_grad():
        for factor, kept in zip(factors, state["factors"], strict=True):
            factor.copy_(kept)
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])


def _step_(model: TunedModel, dense: PagedModel, optimizer: Any, tokens: Any, normed: Any) -> None:
    model.refresh_embedding_()
    optimizer.zero_grad(set_to_none=True)
    hidden = _forward(model, tokens)
    gradient = _head_gradient(model, dense, hidden, normed)
    hidden.backward(gradient)
    optimizer.step()


def kl_by_sequence(model: TunedModel, dense: PagedModel, tokens: Any) -> list[float]:
    """Mean KL(dense || tuned) of each sequence in nats per token; tokens: (samples, seq_len)."""
    with torch.no_grad():
        normed, settings = dense.enter(tokens)
        for index, given in enumerate(settings):
            with dense.block(index) as module, fast(normed.shape[-1]):
                for sample in normed.split(1):
                    sample.copy_(module(sample, **given))
        hidden, _ = embed(model.layout, tokens)
        for index, given in enumerate(settings):
            model.run_on_(index, hidden, given)
        head = model.value(model.head)
        found = []
        for mine, theirs in zip(hidden.split(1), normed.split(1), strict=True):
            read = dense.layout.norm(theirs)
            total = sum(float(part.sum()) for part in _kl(model, dense, head, mine, read))
            found.append(total / mine.shape[1])
    return found


def _forward(model: TunedModel, tokens: Any) -> Any:
    """Return the last block's output, in float32, with gradient checkpointing for each block."""
    hidden, settings = embed(model.layout, tokens)
    hidden.requires_grad_()
    for index, given in enumerate(settings):
        run = partial(model.run_block, index, settings=given)
        with fast(hidden.shape[-1]):
            hidden = checkpoint(run, hidden, use_reentrant=False)
    return hidden.float()


def _head_gradient(model: TunedModel, dense: PagedModel, hidden: Any, normed: Any) -> Any:
    """Return the gradient of the mean KL at ``hidden``; also accumulates that of head and norm."""
    with torch.no_grad():
        head = model.value(model.head)
    head.requires_grad_(model.head in model.matrices)
    leaving = hidden.detach().requires_grad_()
    count = hidden.shape[0] * hidden.shape[1]
    for mine, theirs in zip(leaving.split(1), normed.split(1), strict=True):
        for part in _kl(model, dense, head, mine, theirs):
            (part.sum() / count).backward()
    if head.grad is not None:
        model.matrices[model.head].take_gradient_(head.grad)
    return leaving.grad


def _kl(model: TunedModel, dense: PagedModel, head: Any, hidden: Any, normed: Any) -> Iterator[Any]:
    """Yield the KL of each token of a sequence in nats, for `POSITIONS` tokens at a time."""
    for start in range(0, hidden.shape[1], POSITIONS):
        part = slice(start, start + POSITIONS)
        norm = model.final_norm()
        read = torch.func.functional_call(model.layout.norm, norm, (hidden[:, part],))
        with fast(hidden.shape[-1]):
            mine = torch.nn.functional.linear(read, head)
            with torch.no_grad():
                theirs = dense.layout.model.get_output_embeddings()(normed[:, part])
        target = torch.log_softmax(_capped(dense, theirs.float()), -1)
        found = torch.log_softmax(_capped(dense, mine.float()), -1)
        yield torch.nn.functional.kl_div(found, target, reduction="none", log_target=True).sum(-1)


def _capped(model: PagedModel, logits: Any) -> Any:
    return finish_logits(model.layout.model.config, logits)
