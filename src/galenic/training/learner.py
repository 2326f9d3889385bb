"""A model with its loss: everything that a training step computes.

Texts are packed without padding, and each attends only to itself (`galenic.runtimes.tree`).
Prefixes shared by several texts of a batch are computed once, in the forward and the backward
pass. The output head runs only at positions whose next token is supervised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from galenic.errors import UserError
from galenic.runtimes.tree import Pack
from galenic.runtimes.tree_attention import ATTENTION, TreePlan, active_plan, tree_attention
from galenic.training.batch import Batch, Objective, TrainItem, cut_batches, make_batch

__all__ = [
    "Learner",
    "LowerBlocks",
]

SAME_LOGITS, ROUGH = {torch.float32: 1e-3}, 0.05
"""Largest difference between packed and plain logits, relative to the largest logit. ``ROUGH``
applies to narrow types and to quantized weights, which amplify differences in the last digit."""


class Learner(torch.nn.Module):  # type: ignore[misc]
    """A causal language model with an objective; calling it with a batch returns the loss.

    Args:
        model: a transformers model, with any adapters already added.
        objective: the loss function.
        lower: frozen first blocks of the model, whose outputs may come from a cache
            (`galenic.training.activation_cache`).
    """

    def __init__(self, model: Any, objective: Objective, lower: LowerBlocks | None = None) -> None:
        from transformers import AttentionInterface

        super().__init__()
        AttentionInterface.register(ATTENTION, tree_attention)
        self.model = model
        self.objective = objective
        self.lower = lower
        self.attention = model.config._attn_implementation
        self._check_packs()

    def forward(self, batch: Batch) -> Any:
        """Return the batch's summed loss; call this and ``backward()`` within `attending`."""
        batch = batch.to(self.device)
        return self.objective(self.logits(batch), batch)

    def release(self) -> Any:
        """Return the model with its original attention implementation restored."""
        _use_attention(self.model, self.attention)
        return self.model

    @staticmethod
    def cut(items: Sequence[TrainItem], most_tokens: int) -> list[Batch]:
        """See `cut_batches`."""
        return cut_batches(items, most_tokens)

    @property
    def device(self) -> Any:
        """Device of the model's parameters."""
        return next(self.model.parameters()).device

    def logits(self, batch: Batch) -> Any:
        """Return the logits at ``batch.rows`` in float32, shape (r, vocabulary)."""
        positions = torch.from_numpy(batch.pack.positions.astype(np.int64))[None]
        inputs: dict[str, Any] = {
            "position_ids": positions.to(self.device),
            "use_cache": False,
            "logits_to_keep": batch.rows.to(self.device),
        }
        with ExitStack() as stack:
            if self.lower is None:
                tokens = torch.from_numpy(batch.pack.tokens.astype(np.int64))[None]
                inputs["input_ids"] = tokens.to(self.device)
            else:
                inputs["inputs_embeds"] = self.lower(batch.pack).to(self.device)
                stack.enter_context(standing_aside(self.lower.blocks))
            return self.model(**inputs).logits[0].float()

    def _check_packs(self) -> None:
        """Switch the model to attention over packs, and check that its logits stay the same.

        Raises:
            UserError: they differ, or the architecture does not work with packs.
        """
        if self.model.config._attn_implementation == ATTENTION:
            return  # already switched and checked
        size = int(self.model.get_input_embeddings().weight.shape[0])
        texts = [tuple((7 * i + 31 * (i > 5) * k) % size for i in range(12)) for k in (1, 2)]
        batch = make_batch([TrainItem(text, 1) for text in texts])
        before = self.model.training
        self.model.eval()
        with torch.no_grad(), row_by_row(self.model):
            plain = torch.cat(
                [
                    self.model(torch.tensor([text], device=self.device)).logits[0, :-1].float()
                    for text in texts
                ]
            )
            _use_attention(self.model, ATTENTION)
            try:
                with self.attending(batch):
                    packed = self.logits(batch)[batch.place]
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
                raise UserError(f"this model cannot be trained here: {error}") from error
        self.model.train(before)
        packed_weights = getattr(self.model, "hf_quantizer", None) is not None
        share = ROUGH if packed_weights else SAME_LOGITS.get(self.model.dtype, ROUGH)
        allowed = share * float(plain.abs().max())
        difference = float((plain - packed).abs().max())
        if not difference <= allowed:
            raise UserError(
                "this model cannot be trained here: its logits change when texts are computed "
                f"together (by {difference:.2g})."
            )

    @staticmethod
    @contextmanager
    def attending(batch: Batch) -> Iterator[None]:
        """Context in which attention follows the batch's pack: which rows attend to which."""
        with active_plan(TreePlan(batch.pack)):
            yield


def _use_attention(model: Any, name: str) -> None:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            config._attn_implementation_internal = name


@contextmanager
def row_by_row(model: Any) -> Iterator[None]:
    """Make int8 matrix products round each row independently.

    By default LLM.int8 chooses the outlier inputs, which are not rounded, for all rows together,
    so that the result of a row depends on the others.
    """
    found: list[Any] = [getattr(module, "state", None) for module in model.modules()]
    states = [state for state in found if hasattr(state, "SCB")]
    before = [state.threshold for state in states]
    for state in states:
        state.threshold = 0.0
    try:
        yield
    finally:
        for state, threshold in zip(states, before, strict=True):
            state.threshold = threshold


class LowerBlocks(Protocol):
    """The frozen first blocks of a model."""

    blocks: Sequence[Any]

    def __call__(self, pack: Pack) -> Any:
        """Return the output of the last frozen block for the pack, shape (1, rows, hidden)."""


@contextmanager
def standing_aside(modules: Sequence[Any]) -> Iterator[None]:
    """Context in which the given blocks return their input unchanged."""

    def pass_on(hidden: Any, *_: Any, **__: Any) -> Any:
        return hidden

    with ExitStack() as undo:
        for module in modules:
            before = module.forward
            module.forward = pass_on
            undo.callback(partial(setattr, module, "forward", before))
        yield
