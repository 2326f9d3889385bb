"""Taking dimensions out of the residual stream, the same ones everywhere.

A block whose stream is zero in the dimensions that go computes what the narrower block does, but
for the norms: over fewer numbers, the same energy is a larger mean square. So weights of norms are
multiplied by ``sqrt(all / kept)``, and by the mean share ``sqrt(kept energy / energy)`` of their
input that stays, measured on the whole model. What reads the stream is then fitted anew: with ``h``
what a map reads in the whole model and ``k`` in the cut one, so far as it is cut,
``(W H + d W_K) (K + d I)^-1`` with ``H = sum h k^T`` and ``K = sum k k^T`` has the least squared
error of its outputs, ``d`` pulling it towards the weights that stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

import torch

from galenic.compress.backward import inputs_of
from galenic.compress.slice import norms_of
from galenic.models.gguf_family import FAMILIES
from galenic.models.layers import INPUT_OF, Block, Layout
from galenic.models.stream import outer_names

if TYPE_CHECKING:
    from galenic.models.save import FolderWriter

__all__ = ["Whole", "scale_norm_", "write_embedding", "write_leaving"]


class Whole:
    """The whole model running beside the one that is cut.

    Args:
        layout: of the whole model.
        kept: dimensions of the stream that stay, sorted.
        hidden: what enters the first block, (num_samples, seq_len, hidden).
        damping: ``d`` above, as a share of the mean of the diagonal of ``K``.
    """

    def __init__(self, layout: Layout, kept: Any, hidden: Any, damping: float) -> None:
        self.family, self.kept, self.damping = layout.family, kept, damping
        self.hidden = hidden.clone()

    def run_(self, block: Block, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Run the block with the weights it has, and make its norms ready for the cut stream.

        Returns:
            What its maps read of the stream: ``attention`` and ``ffn``, shaped like ``hidden``.
        """
        read = {name: torch.empty_like(self.hidden) for name in ("attention", "ffn")}
        shares: dict[str, list[float]] = {}
        with ExitStack() as hooks, torch.no_grad():
            for name, norm in norms_of(block).items():
                see = self._seeing(shares.setdefault(name, []))
                hooks.callback(norm.register_forward_pre_hook(see).remove)
            for number, sample in enumerate(self.hidden.split(1)):
                with inputs_of(block, ("attention", "ffn")) as inputs:
                    sample.copy_(block.module(sample, **settings))
                for name, values in read.items():
                    values[number] = inputs[name][0]  # type: ignore[index]
        for name, norm in norms_of(block).items():
            scale_norm_(norm, sum(shares[name]) / len(shares[name]), self.family)
        return read

    def _seeing(self, shares: list[float]) -> Callable[[Any, Any], None]:
        return lambda _, args: shares.append(kept_share(args[0], self.kept))

    def fit_(
        self,
        block: Block,
        name: Literal["attention", "ffn"],
        read: Any,
        hidden: Any,
        settings: Mapping[str, Any],
    ) -> None:
        """Fit the maps that read the named input to what they read of the cut stream.

        Args:
            block: its norms are ready; its stream is as wide as before.
            name: the input.
            read: what they read in the whole model, (num_samples, seq_len, hidden).
            hidden: what enters the block in the cut model: zero where dimensions go.
            settings: the block's other inputs.
        """
        size = read.shape[-1]
        cross = torch.zeros(size, len(self.kept), dtype=torch.float64)
        among = torch.zeros(len(self.kept), len(self.kept), dtype=torch.float64)
        with torch.no_grad():
            for sample, whole in zip(hidden.split(1), read, strict=True):
                with inputs_of(block, (name,)) as inputs:
                    block.module(sample, **settings)
                thin = inputs[name][0][:, self.kept]
                cross += (whole.T @ thin).double()
                among += (thin.T @ thin).double()
        shift = self.damping * float(among.diagonal().mean())
        if not shift:
            return  # nothing of the stream stays that could be read
        factor = torch.linalg.cholesky(among + shift * torch.eye(len(self.kept)))
        for role, linear in block.linears.items():
            if INPUT_OF[role] == name:
                weight = linear.weight.double()
                wanted = weight @ cross + shift * weight[:, self.kept]
                linear.weight[:, self.kept] = torch.cholesky_solve(wanted.T, factor).T.float()


def kept_share(inputs: Any, kept: Any) -> float:
    """Mean over tokens of the root of the share of a norm's input that stays."""
    squares = inputs.double().square()
    whole = squares.sum(dim=-1).clamp_min(torch.finfo(torch.float64).tiny)
    return float((squares[..., kept].sum(dim=-1) / whole).sqrt().mean())


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


def write_leaving(
    writer: FolderWriter, layout: Layout, target: Layout, kept: Any, hidden: Any | None
) -> None:
    """Write final norm and head.

    Args:
        writer: takes them.
        layout: the whole model.
        target: the cut one.
        kept: dimensions that stay.
        hidden: what leaves the last block of the whole model; None to take it that all of its
            energy stays.
    """
    share = 1.0 if hidden is None else kept_share(hidden, kept)
    factor = share * math.sqrt(layout.sizes.hidden_size / len(kept))
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
