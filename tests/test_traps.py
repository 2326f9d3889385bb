"""Traps that programs of this kind fell into, each as its kind: models swapped under one name, dead
channels, values that come back, texts cut in silence, tokens with a space before them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.compression.quantize.kquant import quantize_rows
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.evaluation.run import evaluate
from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.runtimes import llama_context
from galenic.runtimes.base import encode_request
from galenic.runtimes.llama import LlamaRuntime
from galenic.watcher import SilentWatcher
from params import block_types
from tiny import write_tiny_gguf

COLUMNS = 256
ROWS = np.random.default_rng(0).normal(size=(8, COLUMNS)).astype(np.float32)


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def run(model: Path, output: Path, **options: Any) -> list[dict[str, Any]]:
    given = {"model": str(model), "benchmarks": "medqa_5options", "data": "sample", "limit": 2}
    given |= {"scoring": "letter", "runtime": "llama", "threads": 1}
    evaluate(EvaluateConfig.model_validate(given | options), output, SilentWatcher(), "")
    lines = (output / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_never_mixes_two_models_of_one_name(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "model.gguf", seed=1)
    run(model, tmp_path / "run")
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    shutil.copy(write_tiny_gguf(tmp_path / "other.gguf", seed=2), model)
    with pytest.raises(UserError, match=r"holds another run: .*sha256"):
        run(model, tmp_path / "run")
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before


def test_a_run_never_mixes_two_files_of_one_name(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "model.gguf")
    questions = tmp_path / "exam.jsonl"
    row = {"id": "1", "question": "Is he ill?", "options": {"A": "yes", "B": "no"}, "answer": "A"}
    questions.write_text(json.dumps(row) + "\n")
    exam = {"benchmarks": str(questions), "data": None, "limit": None}
    run(model, tmp_path / "run", **exam)
    questions.write_text(json.dumps(row | {"answer": "B"}) + "\n")
    with pytest.raises(UserError, match="holds another run: data"):
        run(model, tmp_path / "run", **exam)


def test_a_text_that_was_cut_says_so(tmp_path: Path) -> None:
    """An abstract loses its beginning, and so does a question that does not fit itself."""
    model = write_tiny_gguf(tmp_path / "model.gguf")
    short = run(model, tmp_path / "medqa", context_length=64)
    assert all(record["truncated"] for record in short)
    [first, *_] = run(model, tmp_path / "whole", benchmarks="pubmedqa")
    assert not first["truncated"]
    cut = run(model, tmp_path / "cut", benchmarks="pubmedqa", context_length=500)
    assert any(record["truncated"] for record in cut)
    assert cut[0]["loglikelihoods"] != first["loglikelihoods"]


@pytest.mark.parametrize("kind", block_types())
def test_no_type_minds_dead_columns(kind: str) -> None:
    from gguf import GGMLQuantizationType, quants

    importance = np.random.default_rng(1).random(COLUMNS).astype(np.float32)
    importance[:64] = 0  # whole blocks
    importance[100] = 0
    made = quantize_rows(ROWS, kind, importance=importance)
    back = quants.dequantize(made, GGMLQuantizationType[kind])
    assert np.isfinite(back).all()
    assert np.linalg.norm(back - ROWS) < 0.75 * np.linalg.norm(ROWS)
    dead = ROWS.copy()
    dead[:, :32] = 0
    dead[3] = 0
    back = quants.dequantize(quantize_rows(dead, kind), GGMLQuantizationType[kind])
    assert np.abs(back[3]).max() == 0


def deaf_model(folder: Path) -> Path:
    """A feed-forward part that reads nothing but zeros, and channels that are always zero."""
    from safetensors.numpy import load_file, save_file

    from tiny_hf import write_tiny_hf

    write_tiny_hf(folder, "llama", hidden_size=64)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.post_attention_layernorm.weight"][:] = 0
    weights["model.layers.0.input_layernorm.weight"][:40] = 0
    weights["model.layers.0.mlp.gate_proj.weight"][5] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("method", ["kquant", "gptq"])
def test_quantizers_take_layers_that_read_zeros(tmp_path: Path, method: str) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from galenic.compression.quantize.config import QuantizeConfig
    from galenic.compression.quantize.run import quantize
    from galenic.registry import QUANTIZERS

    model, text = deaf_model(tmp_path / "m"), tmp_path / "text.txt"
    text.write_text("\n\n".join(f"The patient {i} has the flu. " * 9 for i in range(60)))
    config = QuantizeConfig(model=str(model), text=str(text), num_samples=4, seq_len=32)
    quantizer = QUANTIZERS.load(method)(type="Q4_0")
    stage = quantize(config, quantizer, tmp_path / "out", SilentWatcher()).stages[-1]
    assert stage.checks["logit_difference"] < stage.checks["tolerance"]


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
def test_dequantized_values_come_back_bit_for_bit(kind: str) -> None:
    from gguf import GGMLQuantizationType, quants

    first = quantize_rows(ROWS, kind)
    values = quants.dequantize(first, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(quantize_rows(values, kind), first)
    theirs = quants.quantize(ROWS, GGMLQuantizationType[kind])  # another program's rounding
    values = quants.dequantize(theirs, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(
        quants.dequantize(quantize_rows(values, kind), GGMLQuantizationType[kind]), values
    )


@pytest.mark.parametrize("kind", ["llama2", "mistral", "gemma3"])
def test_a_letter_after_a_space_is_one_token_of_its_own(kind: str, tmp_path: Path) -> None:
    """SentencePiece: " A" after a colon is another token than "A", in both engines the same."""
    pytest.importorskip("torch", reason="needs the train extra")
    from galenic.runtimes.torch import TorchRuntime
    from tiny_hf import write_tiny_hf

    family = {"llama2": "llama"}.get(kind, kind)
    folder = write_tiny_hf(tmp_path / "m", family, pieces=kind)
    path = tmp_path / "m.gguf"
    folder_to_gguf(folder, path, "F32")
    with (
        LlamaRuntime(files(path), threads=1) as llama,
        TorchRuntime(ModelFiles("m", "folder", folder, "0"), threads=1) as torch,
    ):
        for letter in " A", " B", "A", "B":
            requests = [encode_request(one, "Answer:", letter) for one in (llama, torch)]
            assert requests[0] == requests[1]
            scored = requests[0].tokens[requests[0].start :]
            spelled = [str(llama.vocabulary()[token]) for token in scored]
            assert "".join(spelled) == letter.replace(" ", "▁")


def test_a_pruned_qwen2_reloads_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Biases of queries, keys and values, and two key/value heads."""
    torch = pytest.importorskip("torch", reason="needs the train extra")
    import transformers

    from galenic.compression.prune.config import PruneConfig
    from galenic.compression.prune.run import prune
    from galenic.registry import PRUNERS
    from tiny_hf import write_tiny_hf

    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)
    folder, output = write_tiny_hf(tmp_path / "m", "qwen2"), tmp_path / "out"
    config = PruneConfig(model=str(folder), method="width")
    method = PRUNERS.load("width")(sparsity=0.3, score="magnitude")
    prune(config, method, output, SilentWatcher())
    model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
        output, dtype=torch.float32, output_loading_info=True
    )
    assert not any(loaded.values())
    tokens = list(range(5, 45))
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([tokens])).logits[0], -1).numpy()
    path = tmp_path / "m.gguf"
    folder_to_gguf(output, path, "F32")
    with LlamaRuntime(files(path), threads=1) as llama:
        np.testing.assert_allclose(llama.log_probs(tokens), wanted, rtol=0, atol=0.01)


@pytest.mark.slow
def test_a_tuned_model_stops_where_its_parent_did(tmp_path: Path) -> None:
    """Through merging, pruning, GGUF and back."""
    pytest.importorskip("peft", reason="needs the train extra")
    from galenic.compression.prune.config import PruneConfig
    from galenic.compression.prune.run import prune
    from galenic.models.gguf.dequantize import dequantized_folder
    from galenic.registry import PRUNERS
    from galenic.runtimes.torch import TorchRuntime
    from galenic.training.merge import merge
    from training import Quiet, write_adapter

    adapter = write_adapter(tmp_path, "llama")
    merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    config = PruneConfig(model=str(tmp_path / "merged"), method="magnitude")
    method = PRUNERS.load("magnitude")(sparsity=0.3)
    prune(config, method, tmp_path / "pruned", SilentWatcher())
    path = tmp_path / "m.gguf"
    folder_to_gguf(tmp_path / "pruned", path, "F32")
    ends = []
    for folder in (tmp_path / "model", tmp_path / "pruned", dequantized_folder(files(path))):
        with TorchRuntime(ModelFiles("m", "folder", folder, "0"), threads=1) as runtime:
            ends.append(runtime.end_tokens)
            assert runtime.vocabulary()[ends[-1][0]] == "<|im_end|>"
    with LlamaRuntime(files(path), threads=1) as llama:
        assert set(ends[0]) <= set(llama.end_tokens)
    assert ends[0] == ends[1] == ends[2]
