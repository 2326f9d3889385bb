"""Taking dimensions out of the residual stream, the same ones everywhere.

A block whose stream is zero in the dimensions that go computes what the narrower block does, but
for the norms: over fewer numbers, the same energy is a larger mean square. So weights of norms are
multiplied by ``sqrt(all / kept)``. Measured on SmolLM2 with 2,048 tokens (576 to 480 dimensions), a
factor that also compensates the energy of what is pruned is no better, and fitting what reads
the stream by least squares to what it reads in the whole model is worse.
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
    """Let a block write nothing to the dimensions of the stream that go."""
    import torch

    gone = torch.ones(kept.sizes.hidden_size, dtype=torch.bool)
    gone[kept.hidden] = False
    for role in ("o", "down"):
        linear = block.linears[role]
        linear.weight[gone] = 0
        if linear.bias is not None:
            linear.bias[gone] = 0


def fit_norms_(block: Block, kept: Kept, family: str) -> None:
    """The same numbers from norms over fewer dimensions, as if the others were zero."""
    for norm in norms_of(block).values():
        scale_norm_(norm, math.sqrt(kept.sizes.hidden_size / len(kept.hidden)), family)


def scale_norm_(norm: Any, factor: float, family: str) -> None:
    """Multiply what a norm puts out; some families store its weights less one."""
    shift = FAMILIES[family].norm_shift
    weight = norm.weight.detach()
    weight.add_(shift).mul_(factor).sub_(shift)


def write_embedding(writer: FolderWriter, layout: Layout, target: Layout, kept: Any) -> None:
    """Write the input embedding; where it is multiplied by a factor of the width, as before."""
    embedding = _embedding(layout)
    name = next(name for name, tensor in _outer(layout).items() if tensor is embedding)
    writer.write(name, embedding.detach()[:, kept] * _embed_factor(layout, target))


def write_leaving(writer: FolderWriter, layout: Layout, target: Layout, kept: Any) -> None:
    """Write final norm and head; the norm of the whole model is changed."""
    factor = math.sqrt(layout.sizes.hidden_size / len(kept))
    if layout.model.get_output_embeddings().weight is _embedding(layout):
        factor /= _embed_factor(layout, target)  # the head has it too now
    scale_norm_(layout.decoder.norm, factor, layout.family)
    for name, tensor in _outer(layout).items():
        if tensor is not _embedding(layout):
            writer.write(name, tensor.detach()[..., kept])


def _embedding(layout: Layout) -> Any:
    return layout.model.get_input_embeddings().weight


def _outer(layout: Layout) -> dict[str, Any]:
    state = layout.model.state_dict(keep_vars=True)
    return {name: state[name] for name in outer_names(layout)}


def _embed_factor(layout: Layout, target: Layout) -> float:
    """By how much more the whole model multiplies its embedding (Gemma: by the root of its
    width)."""
    before, after = (
        float(getattr(one.model.get_input_embeddings(), "scalar_embed_scale", 1.0))
        for one in (layout, target)
    )
    return before / after
