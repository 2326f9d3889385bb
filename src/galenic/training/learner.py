"""A model, what is asked of it, and the loss: everything that a training step computes.

Texts are packed without padding, each seeing only itself (`galenic.runtimes.tree`); beginnings
that several texts of a step share are computed once, in both directions; the output head runs only
where a token is supervised.
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
"""How far packed and plain logits may differ, beside the largest of them: more for narrow types,
and for packed weights, beside which a difference in the last place may be rounded up or down."""


class Learner(torch.nn.Module):  # type: ignore[misc]
    """A causal language model with an objective; calling it with a batch gives the loss.

    Args:
        model: from transformers, adapters already in place.
        objective: what is minimised.
        lower: that many blocks from the first are frozen, and what they put out may come from a
            cache (`galenic.training.activation_cache`).
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
        """The batch's summed loss; call within `attending`, and go backward within it, too."""
        batch = batch.to(self.device)
        return self.objective(self.logits(batch), batch)

    def release(self) -> Any:
        """The model with the attention that it came with, for use elsewhere."""
        _use_attention(self.model, self.attention)
        return self.model

    @staticmethod
    def cut(items: Sequence[TrainItem], most_tokens: int) -> list[Batch]:
        """See `cut_batches`."""
        return cut_batches(items, most_tokens)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return next(self.model.parameters()).device

    def logits(self, batch: Batch) -> Any:
        """Logits at ``batch.rows`` in float32, shape (r, vocabulary)."""
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
        """Switch the model to attention over packs, and see that it computes the same.

        Raises:
            UserError: it does not; an architecture may ask for what packs cannot give.
        """
        if self.model.config._attn_implementation == ATTENTION:
            return  # switched and checked before
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
                "this model cannot be trained here: texts computed together come out otherwise "
                f"than one by one (logits differ by {difference:.2g})."
            )

    @staticmethod
    @contextmanager
    def attending(batch: Batch) -> Iterator[None]:
        """Tell the attention which rows see which, for everything computed inside."""
        with active_plan(TreePlan(batch.pack)):
            yield


def _use_attention(model: Any, name: str) -> None:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            config._attn_implementation_internal = name


@contextmanager
def row_by_row(model: Any) -> Iterator[None]:
    """Let int8 products round each row by itself.

    Ordinarily, which inputs count as outliers, and are not rounded, is decided for all rows
    together (LLM.int8), so that a row's result depends on the others.
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
    """The frozen beginning of a model."""

    blocks: Sequence[Any]

    def __call__(self, pack: Pack) -> Any:
        """What the last of them puts out for the pack's rows, shape (1, rows, hidden)."""


@contextmanager
def standing_aside(modules: Sequence[Any]) -> Iterator[None]:
    """Let blocks pass on what they get, computing nothing."""

    def pass_on(hidden: Any, *_: Any, **__: Any) -> Any:
        return hidden

    with ExitStack() as undo:
        for module in modules:
            before = module.forward
            module.forward = pass_on
            undo.callback(partial(setattr, module, "forward", before))
        yield
