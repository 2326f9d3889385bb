"""An adapter trained for a type: what it computed with is what the merged model's file holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_finetune_methods import TOKENS, logits, plain

from galenic.compression.blocks.tokens import load_tokenizer
from galenic.compression.quantize import run
from galenic.compression.quantize.agreement import PASSAGE
from galenic.compression.quantize.block_types import KQuant
from galenic.compression.quantize.config import QuantizeConfig
from galenic.errors import UserError
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.folder import folder_source
from galenic.models.layers import read_layout
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.models.paged import PagedModel
from galenic.training.finetune.lora import LoRA
from galenic.training.finetune.stage import LoRAStage
from galenic.training.finetune.stored import rounded
from galenic.training.merge import merge
from tiny_hf import write_tiny_hf
from training import Quiet, load_tiny, make_trainer


class Loud(Quiet):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)


def trained(folder: Path, method: LoRA) -> Any:
    write_tiny_hf(folder / "model", "llama", hidden_size=64)
    checkpoint = open_model(resolve_model(str(folder / "model")))
    model = method.prepare(method.load(checkpoint), seed=1)
    make_trainer(model, folder / "run", max_steps=6, learning_rate=3e-2, warmup=0.0).run()
    (folder / "adapter").mkdir()
    method.save(model, folder / "adapter", base="tiny", source=folder / "model")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_the_file_of_the_merged_model_is_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = plain(trained(tmp_path, LoRA(rank=4, for_type=kind.lower())))
    wanted = logits(model)
    merge(str(tmp_path / "model"), tmp_path / "adapter", tmp_path / "merged", Quiet())
    stage = SimpleNamespace(options={"for_type": kind})
    monkeypatch.setattr(run, "_adapted", lambda _: [stage])
    watcher = Loud()
    config = QuantizeConfig(model=str(tmp_path / "merged"))
    method = KQuant(type=kind, importance=False)
    checks = run.quantize(config, method, tmp_path / "out", watcher).stages[-1].checks
    checkpoint = open_model(resolve_model(str(tmp_path / "merged")))
    stored = PagedModel(checkpoint, gguf_source(tmp_path / "out" / "model.gguf"))
    merged = PagedModel(checkpoint, folder_source(tmp_path / "merged"))
    away = merged.logits(TOKENS) - wanted
    # a weight that lies in the middle of two levels may be rounded the other way
    assert float((stored.logits(TOKENS) - wanted).abs().mean()) < 0.02 * float(away.abs().mean())
    tokens = load_tokenizer(checkpoint)(PASSAGE)["input_ids"][:48]
    leads: list[list[float]] = []
    for held in (merged, stored):
        found = torch.log_softmax(held.logits(torch.tensor([tokens]))[0], -1)
        leads.append([])
        for row, base in zip(found, merged.logits(torch.tensor([tokens]))[0], strict=True):
            first, second = base.argsort(descending=True)[:2]
            leads[-1].append(float(row[first] - row[second]))
    assert checks["margin_merged"] == pytest.approx(sum(leads[0]) / 48, rel=1e-3)
    assert checks["margin_stored"] == pytest.approx(sum(leads[1]) / 48, rel=1e-3)
    heard = " ".join(watcher.heard)
    assert "in the stored file" in heard
    assert "was trained for" not in heard


def test_another_type_than_it_was_trained_for_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    stage = SimpleNamespace(options={"for_type": "Q4_0"})
    monkeypatch.setattr(run, "_adapted", lambda _: [stage])
    watcher = Loud()
    config = QuantizeConfig(model=str(tmp_path / "model"))
    run.quantize(config, KQuant(type="IQ4_NL", importance=False), tmp_path / "out", watcher)
    assert "was trained for --type Q4_0 --no-importance" in " ".join(watcher.heard)


@pytest.mark.slow
def test_gradients_pass_the_rounding(tmp_path: Path) -> None:
    model = trained(tmp_path, LoRA(rank=4, for_type="Q4_0"))
    factors = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert factors
    assert all(float(p.detach().abs().max()) > 0 for p in factors)


def test_rounded_as_ggml_does_with_a_stand_in_where_it_does_not_fit() -> None:
    weight = torch.randn(4, 64)
    assert float((rounded(weight, "Q8_0") - weight).abs().max()) < 0.02
    torch.testing.assert_close(rounded(weight[:, :48], "Q8_0"), weight[:, :48].half().float())
    torch.testing.assert_close(rounded(weight, "Q4_K"), rounded(weight, "Q5_0"))


def test_what_it_does_not_go_with(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown block type for --for-type 'Q9'"):
        LoRA(for_type="Q9")
    with pytest.raises(UserError, match=r"cannot be combined with --base-bits, --dora"):
        LoRA(for_type="Q4_0", base_bits=4, dora=True)
    stage = LoRAStage(train="medquad", for_type="Q4_0")
    with pytest.raises(UserError, match="would be rounded twice"):
        stage.check(read_layout(load_tiny(tmp_path / "model", "llama")))
