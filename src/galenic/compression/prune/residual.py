"""Remove dimensions of the residual stream, the same ones in all blocks.

If the removed dimensions are zero, the original block computes the same as the narrower one, except
for the norms, whose mean square is taken over fewer dimensions. Norm weights are therefore
multiplied by ``sqrt(all / kept)``. Measured on SmolLM2 with 2,048 tokens (576 to 480 dimensions), a
factor that also compensates the energy of the pruned dimensions is no better, and fitting the
layers that read the stream to their original inputs by least squares is worse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from galenic.compression.prune.slice import Kept, norms_of
from galenic.models.families import FAMILIES
from galenic.models.layers import Block, Layout
from galenic.models.stream import outer_names

if TYPE_CHECKING:
    from galenic.models.save import FolderWriter

__all__ = ["fit_norms_", "silence_", "write_embedding", "write_leaving"]


def silence_(block: Block, kept: Kept) -> None:
    """Zero the block's outputs in the removed dimensions of the residual stream, in place."""
    import torch

    gone = torch.ones(kept.sizes.hidden_size, dtype=torch.bool)
    gone[kept.hidden] = False
    for role in ("o", "down"):
        linear = block.linears[role]
        linear.weight[gone] = 0
        if linear.bias is not None:
            linear.bias[gone] = 0


def fit_norms_(block: Block, kept: Kept, family: str) -> None:
    """Scale the norms' weights to correct for the smaller number of dimensions, in place."""
    for norm in norms_of(block).values():
        scale_norm_(norm, math.sqrt(kept.sizes.hidden_size / len(kept.hidden)), family)


def scale_norm_(norm: Any, factor: float, family: str) -> None:
    """Multiply a norm's output by a factor, in place; some families store the weights minus 1."""
    shift = FAMILIES[family].norm_shift
    weight = norm.weight.detach()
    weight.add_(shift).mul_(factor).sub_(shift)


def write_embedding(writer: FolderWriter, layout: Layout, target: Layout, kept: Any) -> None:
    """Write the input embedding, corrected if the model scales it by a factor of its width."""
    embedding = _embedding(layout)
    name = next(name for name, tensor in _outer(layout).items() if tensor is embedding)
    writer.write(name, embedding.detach()[:, kept] * _embed_factor(layout, target))


def write_leaving(writer: FolderWriter, layout: Layout, target: Layout, kept: Any) -> None:
    """Write the final norm and the head; changes the norm of ``layout`` in place."""
    factor = math.sqrt(layout.sizes.hidden_size / len(kept))
    if layout.model.get_output_embeddings().weight is _embedding(layout):
        factor /= _embed_factor(layout, target)  # a tied head was scaled with the embedding
    scale_norm_(layout.norm, factor, layout.family)
    for name, tensor in _outer(layout).items():
        if tensor is not _embedding(layout):
            writer.write(name, tensor.detach()[..., kept])


def _embedding(layout: Layout) -> Any:
    return layout.model.get_input_embeddings().weight


def _outer(layout: Layout) -> dict[str, Any]:
    state = layout.model.state_dict(keep_vars=True)
    return {name: state[name] for name in outer_names(layout)}


def _embed_factor(layout: Layout, target: Layout) -> float:
    """Ratio of the embedding's scale factors before and after pruning (Gemma scales by the square
    root of the width)."""
    before, after = (
        float(getattr(one.model.get_input_embeddings(), "scalar_embed_scale", 1.0))
        for one in (layout, target)
    )
    return before / after
