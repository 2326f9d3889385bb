"""Train the tiny model in a process of its own: ``train_child.py MODEL FOLDER [--fsdp]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from training import load_tiny, make_trainer

SETTINGS: dict[str, Any] = {
    "epochs": 10,
    "batch_tokens": 20,
    "learning_rate": 1e-3,
    "checkpoint_every": 3,
    "evaluate_every": 10,
}


def held(tensor: Any) -> int:
    """Numbers that this process holds of it."""
    own = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return int(own.numel())


if __name__ == "__main__":
    fsdp = "--fsdp" in sys.argv
    trainer = make_trainer(
        load_tiny(Path(sys.argv[1])),
        Path(sys.argv[2]),
        **SETTINGS,
        fsdp=fsdp,
    )
    trainer.run()
    if fsdp:
        state = [v for one in trainer.optimizer.state.values() for v in one.values() if v.dim()]
        for tensors in (trainer.parameters.values(), state):
            share = sum(map(held, tensors)) / sum(tensor.numel() for tensor in tensors)
            assert 0.4 < share < 0.6, share
        if trainer.accelerator.is_main_process:  # whole, and without a trace of having been spread
            torch.save(trainer.learner.model.state_dict(), Path(sys.argv[2]) / "model.pt")
