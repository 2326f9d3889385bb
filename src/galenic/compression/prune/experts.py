"""Expert pruning: remove the experts of each block that the calibration text uses least.

An expert's use is the sum of its router weights over all tokens: the soft counts of Muzio et al.,
SEER-MoE (2024), https://arxiv.org/abs/2404.05089. The router loses the rows of the removed experts,
so their tokens are routed to the best remaining experts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.compression.prune.base import ShrinkingPruner
from galenic.errors import UserError
from galenic.models.configuration import changed_configuration
from galenic.models.families import EXPERTS
from galenic.models.layers import Block, Layout

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["Experts"]

ROUNDING = 1e-9


class Experts(ShrinkingPruner):
    """Remove the experts that the text uses least, the same number from every block."""

    name = "experts"
    title = "fewer experts in each block"
    reference_url = "https://arxiv.org/abs/2404.05089"
    keeps_experts = True

    def check(self, layout: Layout) -> None:
        self.count(layout)

    def count(self, layout: Layout) -> int:
        """Return the number of experts to keep in each block.

        Raises:
            UserError: the model has no experts, or fewer would remain than a token is routed to.
        """
        if layout.family not in EXPERTS:
            raise UserError(
                f"--method experts: a {layout.family} model has no experts. Take width, depth or "
                "one of the others."
            )
        config = layout.model.config
        experts, used = int(config.num_local_experts), int(config.num_experts_per_tok)
        kept = experts - math.ceil(experts * self.share - ROUNDING)
        if kept < used:
            raise UserError(
                f"--sparsity {self.share:g} leaves {kept} of {experts} experts, and each token is "
                f"routed to {used}. At most {(experts - used) / experts:g} is possible."
            )
        return kept

    def resulting_configs(self, layout: Layout) -> list[Any]:
        return [self._config(layout)]

    def _config(self, layout: Layout) -> Any:
        changes = {"num_local_experts": self.count(layout)}
        return changed_configuration(layout.model.config, changes)

    def apply(
        self, stream: Stream, tokens: Any, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        import torch

        from galenic.models.forward import embed
        from galenic.models.save import FolderWriter

        layout, count = stream.layout, self.count(stream.layout)
        checkpoint = stream.checkpoint
        hidden, settings = embed(layout, tokens)
        config = self._config(layout)
        with FolderWriter(folder, config, checkpoint.folder, checkpoint.dtype) as writer:
            writer.write_outer(layout)
            for index, others in enumerate(settings):
                with stream.block(index) as block, torch.no_grad():
                    use = _use_and_run_(block, hidden, others)
                    best = use.argsort(descending=True, stable=True)[:count]
                    kept = best.sort().values
                    for name, tensor in block.module.state_dict().items():
                        chosen = name.startswith(("mlp.gate.", "mlp.experts."))
                        writer.write(
                            f"{stream.prefix(index)}{name}", tensor[kept] if chosen else tensor
                        )
                advance(index + 1)
        return writer.checks


def _use_and_run_(block: Block, hidden: Any, settings: dict[str, Any]) -> Any:
    """Return each expert's use, shape (experts,); replaces ``hidden`` by the unpruned output."""
    import torch

    router = block.module.mlp.gate
    use = torch.zeros(router.weight.shape[0], dtype=torch.float64)

    def count(_module: Any, _inputs: Any, chosen: Any) -> None:
        _, weights, indices = chosen
        use.index_add_(0, indices.flatten(), weights.double().flatten())

    hook = router.register_forward_hook(count)
    try:
        for sample in hidden.split(1):
            sample.copy_(block.module(sample, **settings))
    finally:
        hook.remove()
    return use
