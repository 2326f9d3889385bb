"""Train the tiny model in a process of its own: ``train_child.py MODEL FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from training import load_tiny, make_trainer

if __name__ == "__main__":
    trainer = make_trainer(
        load_tiny(Path(sys.argv[1])),
        Path(sys.argv[2]),
        epochs=10,
        batch_tokens=20,
        learning_rate=1e-3,
        checkpoint_every=3,
        evaluate_every=10,
    )
    trainer.run()
