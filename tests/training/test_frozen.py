"""Frozen blocks from the cache give the loss and the gradients of computed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from galenic.models.layers import read_layout
from galenic.training.activation_cache import INDEX, STATES, FrozenBlocks
from galenic.training.batch import cut_batches
from galenic.training.finetune.lora import LoRA
from galenic.training.learner import Learner
from galenic.training.losses import CrossEntropy
from tiny_hf import FAMILIES
from training import load_tiny, some_items

ROOM = 1 << 20


def learner(tmp_path: Path, family: str = "llama", **cache: Any) -> Learner:
    """One that trains the last of three blocks; with the arguments of a cache, over it."""
    layout = read_layout(load_tiny(tmp_path / "model", family))
    lower = FrozenBlocks(layout, 2, tmp_path / "cache", **cache) if cache else None
    return Learner(LoRA(top_blocks=1).prepare(layout, seed=1), CrossEntropy(), lower)


def run(learner: Learner, most: int = 60) -> tuple[float, list[torch.Tensor]]:
    learner.zero_grad()
    learner.train()
    total = 0.0
    for batch in cut_batches(some_items(), most):
        with learner.attending(batch):
            loss = learner(batch)
            loss.backward()
        total += loss.item()
    return total, [p.grad.clone() for p in learner.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cache_changes_nothing(tmp_path: Path, family: str) -> None:
    loss, gradients = run(learner(tmp_path, family))
    cached = learner(tmp_path, family, limit=ROOM, key="a")
    for most in (60, 10_000):  # computed, then read, in other packs
        found, others = run(cached, most)
        assert found == pytest.approx(loss, rel=1e-4)
        assert len(others) == len(gradients)
        for one, two in zip(gradients, others, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)


def test_the_second_pass_and_the_next_process_compute_nothing(tmp_path: Path) -> None:
    cached = learner(tmp_path, limit=ROOM, key="a")
    first, _ = run(cached)
    before = cached.lower.computed  # type: ignore[union-attr]
    second, _ = run(cached)
    assert cached.lower.computed == before > 0  # type: ignore[union-attr]
    assert second == first
    again = FrozenBlocks(
        read_layout(load_tiny(tmp_path / "model")), 2, tmp_path / "cache", limit=ROOM, key="a"
    )
    (batch,) = cut_batches(some_items(3), 10_000)
    again(batch.pack)
    assert again.computed == 0


def test_the_cache_is_bounded_and_what_is_beyond_is_computed(tmp_path: Path) -> None:
    loss, _ = run(learner(tmp_path))
    limit = 5000
    cached = learner(tmp_path, limit=limit, key="a")
    assert run(cached)[0] == pytest.approx(loss, rel=1e-4)
    assert 0 < (tmp_path / "cache" / STATES).stat().st_size <= limit
    before = cached.lower.computed  # type: ignore[union-attr]
    assert run(cached)[0] == pytest.approx(loss, rel=1e-4)
    assert cached.lower.computed > before  # type: ignore[union-attr]


def test_a_cache_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    loss, _ = run(learner(tmp_path, limit=ROOM, key="a"))
    states, index = tmp_path / "cache" / STATES, tmp_path / "cache" / INDEX
    with states.open("r+b") as handle:
        handle.truncate(states.stat().st_size // 2)
    index.write_text(index.read_text()[:-9])
    cached = learner(tmp_path, limit=ROOM, key="a")
    assert 0 < len(cached.lower.places) < 12  # type: ignore[union-attr]
    assert run(cached)[0] == pytest.approx(loss, rel=1e-4)
    assert run(learner(tmp_path, limit=ROOM, key="a"))[0] == pytest.approx(loss, rel=1e-4)


def test_another_model_does_not_read_it(tmp_path: Path) -> None:
    run(learner(tmp_path, limit=ROOM, key="a"))
    layout = read_layout(load_tiny(tmp_path / "model"))
    other = FrozenBlocks(layout, 2, tmp_path / "cache", limit=ROOM, key="b")
    assert not other.places
    assert (tmp_path / "cache" / STATES).stat().st_size == 0
    with pytest.raises(ValueError, match="count 4"):
        FrozenBlocks(layout, 4, tmp_path / "cache", limit=ROOM, key="b")
