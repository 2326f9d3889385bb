"""Which of several processes this is, as ``torchrun`` and ``accelerate launch`` tell it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.training.config import TrainOptions

__all__ = ["check_spread", "num_local", "rank", "spreads"]


def rank() -> int:
    """Rank of this process, from 0; only rank 0 writes files and reports progress."""
    return int(os.environ.get("RANK", "0"))


def num_local() -> int:
    """Number of training processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def spreads(config: TrainOptions) -> bool:
    """Whether weights are sharded over the processes: by ``--fsdp``, or by accelerate's setting."""
    return config.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_spread(config: TrainOptions, clashes: dict[str, bool] | None = None) -> None:
    """Raise UserError if the weights are to be sharded and cannot be.

    Args:
        config: training options.
        clashes: options that cannot be combined with sharding, and whether each is in use.
    """
    if not spreads(config):
        return
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise UserError(
            "--fsdp spreads the weights over several processes, and this is the only one. Start "
            "with torchrun --nproc-per-node 2 $(which galenic) ..., or leave --fsdp out."
        )
    for what, wanted in (clashes or {}).items():
        if wanted:
            raise UserError(f"--fsdp cannot be combined with {what}. Leave one of the two out.")
