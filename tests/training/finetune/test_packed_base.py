"""Adapters trained over a packed base (QLoRA), and merged into the weights that it rounds to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from galenic.artifact.manifest import read_manifest
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.load import resolve_model
from galenic.training.finetune.config import FinetuneConfig
from galenic.training.finetune.lora import LoRA, lay_over
from galenic.training.finetune.run import finetune
from galenic.training.learner import row_by_row
from galenic.training.loading import load_dense, load_packed, load_rounded
from galenic.training.merge import merge
from tiny_hf import write_tiny_hf
from training import Quiet

pytest.importorskip("bitsandbytes", reason="needs the bnb extra")

TOKENS = torch.tensor([[5, 6, 7, 20, 30, 41, 50]])


def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(resolve_model(str(write_tiny_hf(folder, "llama"))))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(input_ids=TOKENS, use_cache=False).logits
    return out


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_nf4_weights_are_multiples_of_its_sixteen_levels(tmp_path: Path) -> None:
    found = checkpoint(tmp_path / "m")
    rounded = load_rounded(found, 4).model.layers[0].mlp.up_proj.weight.detach()
    dense = load_dense(found).blocks[0].linears["up"].weight
    assert rounded.dtype == torch.float32
    assert 0.01 < far(rounded, dense) < 0.4
    for block in rounded.reshape(-1, 64):  # bitsandbytes' blocks, each with one scale
        assert len(block.unique()) <= 16


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 8])
def test_a_packed_base_is_learnt_over_and_merged(tmp_path: Path, bits: int) -> None:
    found = checkpoint(tmp_path / "m")
    rows = [
        {"question": f"Which of the {i}?", "options": ["x", "A and B"], "answer": i % 2}
        for i in range(12)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = FinetuneConfig(
        model=str(tmp_path / "m"),
        train=str(tmp_path / "q.jsonl"),
        against="none",
        epochs=8,
        warmup=0.0,
        learning_rate=3e-3,
        threads=1,
    )
    method = LoRA(base_bits=bits, rank=8)
    done = finetune(config, method, tmp_path / "out", Quiet())
    assert done.outcome.best is not None
    assert done.outcome.best.loss < 0.5 * done.outcome.validations[0].loss
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None and manifest.stages[0].options["base_bits"] == bits
    merge(str(tmp_path / "m"), tmp_path / "out", tmp_path / "merged", Quiet())
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    packed = lay_over(load_packed(found, bits).model, tmp_path / "out")
    assert far(merged, logits(packed)) < (1e-4 if bits == 4 else 0.05)
    if bits == 4:  # the rounded base is another one than the dense, and it is the one merged into
        dense = lay_over(load_dense(found).model, tmp_path / "out")
        assert far(logits(dense), logits(packed)) > 0.01


def test_int8_is_checked_row_by_row_and_computes_as_it_is_made(tmp_path: Path) -> None:
    model = load_packed(checkpoint(tmp_path / "m"), 8).model
    states = [m.state for m in model.modules() if hasattr(getattr(m, "state", None), "SCB")]
    assert len(states) == 3 * 7
    for state in states:
        state.threshold = 2.0  # so low that rows of the tiny model have outliers of their own
    pair = torch.cat([TOKENS, TOKENS + 60])
    with torch.no_grad():
        apart, together = logits(model), model(input_ids=pair, use_cache=False).logits[:1]
        assert far(together, apart) > 1e-3
        with row_by_row(model):
            apart, together = logits(model), model(input_ids=pair, use_cache=False).logits[:1]
        assert far(together, apart) < 1e-5
    assert {state.threshold for state in states} == {2.0}


def test_other_bits_are_refused() -> None:
    with pytest.raises(UserError, match="--base-bits 5: allowed are 4 and 8"):
        LoRA(base_bits=5)
