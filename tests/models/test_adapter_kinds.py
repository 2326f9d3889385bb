"""Adapters whose weights are not ``W + s B A`` are refused beside a GGUF, by the setting's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.adapter import read_adapter
from galenic.training.finetune.lora import lay_over
from tiny_hf import write_tiny_adapter


def changed(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"lora_bias": True},
        {"alpha_pattern": {"q_proj": 9}},
        {"alora_invocation_tokens": [3, 4]},  # works from these tokens on only
        {"use_qalora": True},
        {"use_bdlora": {"nblocks": 2}},
        {"kasa_config": {"beta": 1.0}},
        {"target_parameters": ["mlp.experts.gate_up_proj"]},
        {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": "lora_ga"},
        {"bias": "lora_only"},
        {"peft_type": "LOHA"},
    ],
    ids=str,
)
def test_other_sums_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = write_tiny_adapter(tmp_path / "adapter")
    assert len(read_adapter(folder)) == 3
    with pytest.raises(UserError, match="is not a plain LoRA or rsLoRA adapter"):
        read_adapter(changed(folder, settings))


def test_a_base_that_was_changed_and_not_stored(tmp_path: Path) -> None:
    """peft would lay the adapter over the unchanged base, and say nothing."""
    folder = changed(write_tiny_adapter(tmp_path / "adapter"), {"init_lora_weights": "lora_ga"})
    with pytest.raises(UserError, match=r"changed weights of its base \(lora_ga\)"):
        lay_over(None, folder)


@pytest.mark.parametrize(("rslora", "scale"), [(False, 4 / 2), (True, 4 / 2**0.5)])
def test_the_scale_is_that_of_the_paper(tmp_path: Path, rslora: bool, scale: float) -> None:
    folder = changed(write_tiny_adapter(tmp_path / "adapter"), {"use_rslora": rslora})
    assert {part.scale for part in read_adapter(folder).values()} == {scale}
