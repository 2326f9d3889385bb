"""`galenic inspect`: counts against sums over the tensors that were written."""

from __future__ import annotations

import hashlib
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from galenic.artifact.manifest import Manifest
from galenic.cli.main import app
from galenic.cli.measure.inspect import _show_history
from galenic.errors import UserError
from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.size import _folder_tokenizer
from tiny import TinyShape, tiny_tensors, tiny_vocabulary, write_tiny_gguf


def inspect(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["inspect", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def as_json(*arguments: str) -> dict[str, Any]:
    found = json.loads(inspect(*arguments, "--json"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf(tmp_path: Path, tied: bool) -> None:
    shape = TinyShape(tied=tied)
    path = write_tiny_gguf(tmp_path / "tiny.gguf", shape=shape)
    found = as_json(str(path), "--zeros")
    sizes = {name: tensor.size for name, tensor in tiny_tensors(0, shape).items()}
    blocks = sum(size for name, size in sizes.items() if name.startswith("blk."))
    vocab = len(tiny_vocabulary()) * 32 * (1 if tied else 2)
    assert found["parameters"] == {
        "total": sum(sizes.values()), "embeddings": vocab, "blocks": blocks, "other": 32
    }  # fmt: skip
    assert found["bytes_by_type"] == {"F32": 4 * sum(sizes.values())}
    assert found["bits_per_weight"] == 32
    assert found["file_bytes"] == path.stat().st_size
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found["architecture"], found["num_layers"], found["context_length"]) == (
        "llama",
        2,
        2048,
    )
    assert found["tokenizer"] == f"gpt2 (gpt-2), {len(tiny_vocabulary())} tokens"
    assert found["chat_template"] is True
    assert found["zeros"] == {"total": 0, "blocks": 0}
    assert found["manifest"] is None


def test_quantized_types_and_the_table(tmp_path: Path) -> None:
    from galenic.compression.quantize.kquant import model_source, quantize_gguf, uniform_types
    from galenic.models.files import ModelFiles

    path = write_tiny_gguf(tmp_path / "tiny.gguf", chat_template=None)
    source = model_source(ModelFiles("tiny", "gguf", path, "0" * 64))
    types = uniform_types(source, "Q4_0") | {"token_embd.weight": "Q8_0"}
    quantize_gguf(source, tmp_path / "q4.gguf", types)
    found = as_json(str(tmp_path / "q4.gguf"))
    sizes = {name: tensor.size for name, tensor in tiny_tensors().items()}
    bits = {"Q4_0": 4.5, "Q8_0": 8.5, "F32": 32}
    expected = {
        kind: sum(size for name, size in sizes.items() if types[name] == kind) * each // 8
        for kind, each in bits.items()
    }
    assert found["bytes_by_type"] == expected
    total = sum(sizes.values())
    assert found["bits_per_weight"] == pytest.approx(8 * sum(expected.values()) / total)
    assert found["parameters"]["total"] == total
    assert (found["zeros"], found["chat_template"]) == (None, False)
    text = inspect(str(tmp_path / "q4.gguf"))
    for part in (f"{total:,}", "Q4_0", f"{found['bits_per_weight']:.2f}", "chat template", "no"):
        assert part in text
    assert "zeros" not in text


def test_a_folder_with_zeros_and_a_manifest(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from safetensors.numpy import load_file, save_file

    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / "tiny", "qwen2")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][:, ::2] = 0
    weights["model.layers.1.mlp.down_proj.weight"][0, 1] = -0.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "manifest.json").write_text('{"stages": ["pruned by hand"]}')
    found = as_json(str(folder), "--zeros")
    total = sum(tensor.size for tensor in weights.values())
    embeddings = 2 * 297 * 48
    zeros = {name: int(np.count_nonzero(tensor == 0)) for name, tensor in weights.items()}
    zero = sum(zeros.values())
    in_blocks = sum(number for name, number in zeros.items() if ".layers." in name)
    assert zero > in_blocks == 48 * 48 + 1  # the embedding of the padding token is zero
    assert found["parameters"]["total"] == total
    assert found["parameters"]["embeddings"] == embeddings
    assert found["parameters"]["blocks"] == total - embeddings - 48
    assert found["zeros"]["total"] == pytest.approx(zero / total)
    assert found["zeros"]["blocks"] == pytest.approx(in_blocks / (total - embeddings - 48))
    assert found["bytes_by_type"] == {"F32": 4 * total}
    assert found["tokenizer"] == "BPE, 297 tokens"
    assert (found["architecture"], found["context_length"]) == ("qwen2", 512)
    assert found["manifest"] == {"stages": ["pruned by hand"]}
    folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    converted = as_json(str(tmp_path / "tiny.gguf"), "--zeros")
    for same in ("zeros", "parameters", "context_length", "num_layers", "architecture"):
        assert converted[same] == found[same]
    text = inspect(str(folder), "--zeros")
    assert "pruned by hand" in text
    assert f"{zero / total:.2%} of all" in text


def test_tied_weights_count_once_and_packed_ones_not(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from safetensors.numpy import load_file, save_file

    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    weights = load_file(folder / "model.safetensors")
    total = sum(tensor.size for tensor in weights.values())
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert as_json(str(folder))["parameters"]["total"] == total
    weights["model.layers.0.mlp.down_proj.weight"] = np.zeros((48, 48), np.uint8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = as_json(str(folder))
    assert found["parameters"]["total"] == total - 48 * 96
    assert found["bits_per_weight"] is None
    assert found["bytes_by_type"]["U8"] == 48 * 48
    assert "weights are packed" in inspect(str(folder))
    with pytest.raises(UserError, match="has the type U8"):
        inspect(str(folder), "--zeros")


def test_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    good: dict[str, Any] = {"model": {"type": "BPE", "vocab": {"a": 0}}}
    path.write_text(json.dumps(good | {"added_tokens": [{"content": "b"}, {"content": "a"}]}))
    assert _folder_tokenizer(tmp_path) == "BPE, 2 tokens"
    models = ([1], "x", {"vocab": 5}, {"vocab": [5]}, {"vocab": [[]]}, {"vocab": [[["a"]]]})
    lies = [{"model": model} for model in models]
    lies += [good | {"added_tokens": tokens} for tokens in (5, [[]], [{}], [{"content": []}], "x")]
    for lie in lies:
        path.write_text(json.dumps(lie))
        with pytest.raises(UserError, match=r"tokenizer\.json is damaged"):
            _folder_tokenizer(tmp_path)


def history(manifest: dict[str, Any]) -> str:
    file = StringIO()
    _show_history(Console(file=file, width=300), manifest)
    return file.getvalue()


def stage_of(**changed: Any) -> dict[str, Any]:
    names = {"stage": "prune", "method": "wanda", "reference_url": "x", "options": {}}
    facts = {"parent": {"name": "[/s]", "sha256": "0"}, "calibration": None, "parameters": {}}
    return {**names, **facts, "removed": {}, "checks": {}, "versions": {}, **changed}


def test_what_a_manifest_says_is_no_markup() -> None:
    stage = stage_of(stage="[/red]", method="[/b]", options={"[/i]": "[/u]"})
    files = {"recipe.yaml": {"sha256": "[/red]", "num_bytes": 1}}
    manifest = Manifest.model_validate({"stages": [stage], "files": files})
    said = history(manifest.model_dump())
    assert "[/red] [/b]" in said
    assert "sha256 [/red]" in said


@pytest.mark.parametrize("number", [40, 41, 3000])
def test_of_many_stages_the_first_and_the_last_are_shown(number: int) -> None:
    stages = [stage_of(method=f"m{one}", options={"a": "x" * 9_999}) for one in range(number)]
    said = history({"stages": stages, "files": {}})
    assert len(said) < 99_000
    shown = [one for one in range(number) if re.search(rf"prune m{one}\b", said)]
    assert shown == [*range(20), *range(number - 20, number)]
    assert (f"{number - 40:,} more" in said) == (number > 40)


def test_each_stage_fits_80_columns_with_the_options_that_were_set() -> None:
    parent = {"name": "/somewhere/deep/in/the/tree/smollm2-135m-width", "sha256": "ab" * 32}
    options = {"bits": 4, "exclude": [], "type": None, "importance": True}
    stage = stage_of(options=options, parent=parent, removed={"blocks": 0.203, "whole": 0.16})
    file = StringIO()
    _show_history(Console(file=file, width=80), {"stages": [stage], "files": {}})
    assert [line.rstrip() for line in file.getvalue().splitlines()][1:] == [
        "1  prune wanda, 20.3% of the blocks removed, 16.0% of the whole removed",
        f"   from {parent['name']} (sha256 abababababab)",
        "   bits 4, importance True",
    ]


def test_a_long_manifest_of_others_is_cut() -> None:
    said = history({"theirs": ["\x1b[31m" + "x" * 99] * 1000})
    assert len(said) < 25_000
    assert "--json prints them" in said
    assert "\x1b" not in said


def test_a_damaged_manifest(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "manifest.json").write_text("[1, 2]")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        inspect(str(path))
