"""Distilled for a type: what is written is what was measured, once the file rounds it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from galenic.compression.quantize.block_types import KQuant
from galenic.compression.quantize.config import QuantizeConfig
from galenic.compression.quantize.run import quantize
from galenic.errors import UserError
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.folder import folder_source
from galenic.training.distill.config import DistillConfig
from galenic.training.distill.logits import Logits
from galenic.training.distill.run import distill
from galenic.training.finetune.stored import rounded
from tiny_hf import write_tiny_hf
from training import Quiet


class Loud(Quiet):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)


@pytest.mark.slow
def test_what_is_stored_is_what_was_measured(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"the man of ward {i} said yes or no {i * i}" for i in range(300)))
    config = DistillConfig(
        model=str(model), teacher=str(model), text=str(text), seq_len=24, num_heldout=2
    )
    method = Logits(rank=4, for_type="q4_0", num_samples=16, learning_rate=3e-2)
    watcher = Loud()
    stage = distill(config, method, tmp_path / "healed", watcher).alone.stages[-1]
    assert stage.options["for_type"] == "Q4_0"
    assert stage.checks["heldout_kl"] < stage.checks["heldout_kl_before"]
    told = " ".join(watcher.heard)
    assert f"({stage.checks['margin_stored'] - stage.checks['margin_merged']:+.3f})" in told

    before, after = (
        {tensor.name: tensor for tensor in folder_source(folder).tensors}
        for folder in (model, tmp_path / "healed")
    )
    changed = []
    for name, tensor in after.items():
        one, other = (torch.from_numpy(x.read(0, x.shape[0])) for x in (before[name], tensor))
        if not torch.equal(one, other):
            changed.append(name)
    assert len(changed) == 3 * 7  # the maps, and not the embedding that was rounded meanwhile

    watcher = Loud()
    stored = quantize(
        QuantizeConfig(model=str(tmp_path / "healed")),
        KQuant(type="Q4_0", importance=False),
        tmp_path / "stored",
        watcher,
    ).stages[-1]
    for name in ("margin_merged", "margin_stored"):
        assert stored.checks[name] == pytest.approx(stage.checks[name], rel=1e-4)
    assert "was trained for" not in " ".join(watcher.heard)
    for tensor in gguf_source(tmp_path / "stored" / "model.gguf").tensors:
        if len(tensor.shape) == 2:
            values = after[tensor.name].read(0, tensor.shape[0])
            wanted = rounded(torch.from_numpy(values).reshape(tensor.shape), "Q4_0")
            held = torch.from_numpy(tensor.read(0, tensor.shape[0])).reshape(tensor.shape)
            torch.testing.assert_close(held, wanted, rtol=0, atol=0)


def test_only_adapters_are_trained_for_a_type() -> None:
    with pytest.raises(UserError, match="give their --rank as well"):
        Logits(for_type="Q4_0")
    with pytest.raises(UserError, match="unknown block type for --for-type 'Q9'"):
        Logits(rank=4, for_type="Q9")
