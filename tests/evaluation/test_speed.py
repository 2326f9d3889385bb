"""Which engine is faster is measured once for all models of one shape and types."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.evaluation import speed
from galenic.evaluation.config import EvaluateConfig
from galenic.models.files import ModelFiles
from tiny import TinyShape, write_tiny_gguf


def test_one_timing_serves_models_of_one_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torch", "transformers", "accelerate"):
        pytest.importorskip(package, reason="needs the train extra")
    timed: list[str] = []

    def measure(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
        timed.append(model.name)
        return {"llama": 200.0, "torch": 100.0}

    monkeypatch.setattr(speed, "_measure", measure)
    shapes = {"a": TinyShape(), "b": TinyShape(), "c": TinyShape(ffn_size=96)}
    for seed, (name, shape) in enumerate(shapes.items()):
        path = write_tiny_gguf(tmp_path / f"{name}.gguf", seed=seed, shape=shape)
        model = ModelFiles(name, "gguf", path, f"{seed:064x}")
        said: list[str] = []
        chosen = speed.choose_runtime(model, EvaluateConfig(model=name), said.append)
        assert chosen == "llama"
    assert timed == ["a", "c"]
