"""A folder whose weights are not those of its configuration is refused by every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from galenic.errors import UserError
from galenic.exporters.run import export
from galenic.models.checkpoint import open_checkpoint
from galenic.models.load import resolve_model
from galenic.runtimes.torch import TorchRuntime
from tiny_hf import write_tiny_hf

TENSOR = "model.layers.1.mlp.up_proj.weight"


def _missing(tensors: dict[str, Any]) -> None:
    del tensors[TENSOR]


def _misshapen(tensors: dict[str, Any]) -> None:
    tensors[TENSOR] = tensors[TENSOR][:5].clone()


def _left_over(tensors: dict[str, Any]) -> None:
    tensors["model.layers.9.mlp.up_proj.weight"] = tensors[TENSOR].clone()


def _damaged(folder: Path, family: str, change: Callable[[dict[str, Any]], None]) -> Path:
    from safetensors.torch import load_file, save_file

    write_tiny_hf(folder, family)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _evaluate(folder: Path, output: Path) -> None:
    del output
    TorchRuntime(resolve_model(str(folder)), threads=1)


def _export(target: str) -> Callable[[Path, Path], None]:
    return lambda folder, output: export(str(folder), target, output, "sample") and None


def _open(folder: Path, output: Path) -> None:
    del output
    open_checkpoint(resolve_model(str(folder)))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize("change", [_missing, _misshapen, _left_over])
@pytest.mark.parametrize(
    "command",
    [_evaluate, _export("transformers"), _export("lm-eval"), _export("llama.cpp"), _open],
)
def test_refused_in_words_without_the_loaders_report(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    family: str,
    change: Callable[[dict[str, Any]], None],
    command: Callable[[Path, Path], None],
) -> None:
    folder = _damaged(tmp_path / "model", family, change)
    capfd.readouterr()
    name = "model.layers.9" if change is _left_over else TENSOR
    with pytest.raises(UserError, match=name):
        command(folder, tmp_path / "out")
    assert "LOAD REPORT" not in "".join(capfd.readouterr())
    assert not (tmp_path / "out").exists()


def test_a_family_of_which_nothing_else_is_known_is_checked_too(tmp_path: Path) -> None:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes: dict[str, int] = {"vocab_size": 270, "hidden_size": 16, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    folder = write_tiny_hf(tmp_path / "model", "llama")
    torch.manual_seed(0)
    GPTNeoXForCausalLM(GPTNeoXConfig(**sizes)).save_pretrained(folder)
    _evaluate(folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    for command in (_evaluate, _export("transformers")):
        with pytest.raises(UserError, match="lacks"):
            command(folder, tmp_path / "out")
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(UserError, match="no place"):
        _evaluate(folder, tmp_path)
