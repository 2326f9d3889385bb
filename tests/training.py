"""A tiny model and texts to train it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from galenic.models.layers import read_layout
from galenic.training.batch import TrainItem
from galenic.training.finetune.lora import LoRA
from galenic.training.learner import Learner
from galenic.training.loop import TrainConfig, Trainer
from galenic.training.losses import CrossEntropy
from galenic.training.validation import measure
from tiny_hf import write_tiny_hf

__all__ = ["Quiet", "Texts", "load_tiny", "make_trainer", "some_items", "write_adapter"]


class Quiet:
    """Keeps what it is told; raises when told of step ``fail_at``, as a killed process stops."""

    def __init__(self, fail_at: int = -1) -> None:
        self.said: list[str] = []
        self.fail_at = fail_at

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None:
        if done == self.fail_at:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        self.said.append(text)

    def keep(self, text: str) -> None:
        self.said.append(text)


class Texts:
    """The same texts in each pass."""

    def __init__(self, items: list[TrainItem], heldout: list[TrainItem] | None = None) -> None:
        self.items = items
        self.heldout = heldout or items

    def epoch(self, number: int) -> list[TrainItem]:
        return list(self.items)


def load_tiny(folder: Path, family: str = "llama", *, dropout: float = 0.0) -> Any:
    """A tiny model; with dropout, at the output of each feed-forward part."""
    if not (folder / "config.json").exists():
        write_tiny_hf(folder, family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if dropout:
        for layer in model.model.layers:
            layer.mlp = torch.nn.Sequential(layer.mlp, torch.nn.Dropout(dropout))
    return model


def some_items(count: int = 10, *, shared: int = 4) -> list[TrainItem]:
    """Texts of different lengths that begin alike, with two answers."""
    stem = tuple(range(5, 5 + shared))
    return [
        TrainItem(
            tokens=(*stem, *(20 + (7 * i + 3 * j) % 90 for j in range(3 + i % 5)), 130 + i % 2),
            start=shared + 3 + i % 5,
            weight=1.0 + i % 3,
            group="toy",
            choices=(("yes", 130), ("no", 131)),
            gold=("yes", "no")[i % 2],
        )
        for i in range(count)
    ]


def make_trainer(
    model: Any,
    folder: Path,
    *,
    data: Texts | None = None,
    watcher: Quiet | None = None,
    objective: Any = None,
    **options: Any,
) -> Trainer:
    """In float32 unless the options say otherwise: references are computed so."""
    usual = {"batch_size": 4, "evaluate_every": 2, "checkpoint_every": 2, "precision": "float32"}
    options = {**usual, **options}
    return Trainer(
        Learner(model, objective or CrossEntropy()),
        data or Texts(some_items()),
        TrainConfig(**options),
        folder,
        fingerprint={"model": "tiny"},
        watcher=watcher or Quiet(),
        measure=measure,
    )


def write_adapter(tmp_path: Path, family: str = "llama", method: LoRA | None = None) -> Path:
    """An adapter whose weights are all random, as after a training."""
    method = method or LoRA(rank=4)
    model = method.prepare(read_layout(load_tiny(tmp_path / "model", family)), seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.05 * noise)
    folder = tmp_path / "adapter"
    folder.mkdir()
    method.save(model, folder, base="tiny", source=tmp_path / "model")
    return folder
