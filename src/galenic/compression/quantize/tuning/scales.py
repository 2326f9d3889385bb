"""Scales, norms and biases of the whole model tuned by KL to the dense model, codes as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from galenic.compression.quantize.tuning.codes import fast
from galenic.compression.quantize.tuning.model import TunedModel
from galenic.models.families import finish_logits
from galenic.models.forward import embed
from galenic.models.paged import PagedModel

__all__ = ["kl_of_hidden", "mean_kl", "tune_scales_"]

RATE = 4e-4
"""Learning rate of the factors, falling to nothing; ten times as much diverges (LOG.md)."""


def tune_scales_(
    model: TunedModel,
    dense: PagedModel,
    normed: Any,
    tokens: Any,
    *,
    passes: int,
    batch_size: int,
    generator: Any,
    advance: Callable[[int], None],
) -> None:
    """Train the factors.

    Args:
        model: whose factors are trained.
        dense: its head gives the target.
        normed: what the dense head reads, shape (samples, seq_len, hidden).
        tokens: shape (samples, seq_len).
        passes: over the text.
        batch_size: sequences in a step.
        generator: of the order of the sequences.
        advance: told how many steps are done.
    """
    factors = [f for f in (*_factors(model), *model.factors.values()) if f is not None]
    optimizer = torch.optim.Adam(factors, lr=RATE, betas=(0.9, 0.99))
    per_pass = -(-len(tokens) // batch_size)
    done = 0
    for _ in range(passes):
        model.refresh_embedding_()
        order = torch.randperm(len(tokens), generator=generator)
        for chosen in order.split(batch_size):
            optimizer.param_groups[0]["lr"] = RATE * (1 - done / (passes * per_pass))
            optimizer.zero_grad(set_to_none=True)
            hidden = _forward(model, tokens[chosen])
            gradient = _head_gradient(model, dense, hidden, normed[chosen])
            hidden.backward(gradient)
            optimizer.step()
            done += 1
            advance(done)


def mean_kl(model: TunedModel, dense: PagedModel, normed: Any, tokens: Any) -> float:
    """KL(dense || tuned) in nats a token; arguments as `tune_scales_` has them."""
    with torch.no_grad():
        parts = [_forward(model, row) for row in tokens.split(1)]
    return kl_of_hidden(model, dense, torch.cat(parts), normed)


def kl_of_hidden(model: TunedModel, dense: PagedModel, hidden: Any, normed: Any) -> float:
    """The same of what leaves the last block, shape (samples, seq_len, hidden)."""
    total = 0.0
    with torch.no_grad():
        head = model.value(model.head)
        for mine, theirs in zip(hidden.split(1), normed.split(1), strict=True):
            total += float(_kl(model, dense, head, mine, theirs).sum())
    return total / float(hidden.shape[0] * hidden.shape[1])


def _factors(model: TunedModel) -> list[Any]:
    matrices = model.matrices.values()
    return [f for matrix in matrices for f in (matrix.factor, matrix.min_factor)]


def _forward(model: TunedModel, tokens: Any) -> Any:
    """What leaves the last block; of each block only its input is kept for the gradient."""
    hidden, settings = embed(model.layout, tokens)
    hidden.requires_grad_(torch.is_grad_enabled())
    for index, given in enumerate(settings):
        run = partial(model.run_block, index, settings=given)
        with fast(hidden.shape[-1]):
            if torch.is_grad_enabled():
                hidden = checkpoint(run, hidden, use_reentrant=False)
            else:
                hidden = run(hidden)
    return hidden.float()


def _head_gradient(model: TunedModel, dense: PagedModel, hidden: Any, normed: Any) -> Any:
    """Gradient of the mean KL at ``hidden``; that of the head's factors is added to them."""
    held = model.value(model.head)
    head = held.detach().requires_grad_()
    leaving = hidden.detach().requires_grad_()
    count = hidden.shape[0] * hidden.shape[1]
    for number in range(len(hidden)):  # logits of one sequence in memory
        rows = slice(number, number + 1)
        loss = _kl(model, dense, head, leaving[rows], normed[rows]).sum() / count
        loss.backward()
    if held.requires_grad:
        held.backward(head.grad)
    return leaving.grad


def _kl(model: TunedModel, dense: PagedModel, head: Any, hidden: Any, normed: Any) -> Any:
    """KL of each token, shape (samples, seq_len)."""
    norm = {"weight": model.value("model.norm.weight")}
    read = torch.func.functional_call(model.layout.decoder.norm, norm, (hidden,))
    with fast(hidden.shape[-1]):
        mine = torch.nn.functional.linear(read, head)
        with torch.no_grad():
            theirs = dense.layout.model.get_output_embeddings()(normed)
    target = torch.log_softmax(_capped(dense, theirs.float()), -1)
    found = torch.log_softmax(_capped(dense, mine.float()), -1)
    return (target.exp() * (target - found)).sum(-1)


def _capped(model: PagedModel, logits: Any) -> Any:
    return finish_logits(model.layout.model.config, logits)
