"""Exports, each loaded by the other program where a registry offers it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from galenic.errors import UserError
from galenic.exporters.run import USE, export
from galenic.models.gguf.header import GgufHeader
from galenic.models.load import resolve_model
from galenic.registry import EXPORTERS
from galenic.runtimes.llama import LlamaRuntime
from raw_gguf import RawGguf
from tiny import write_tiny_gguf
from tiny_hf import write_tiny_hf


@pytest.mark.slow
@pytest.mark.parametrize("name", list(EXPORTERS))
def test_every_program_gets_a_folder_and_a_way_to_use_it(tmp_path: Path, name: str) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama")
    use = export(str(model), name, tmp_path / "out", "sample")
    assert str(tmp_path / "out") in use
    assert (tmp_path / "out" / USE).read_text().strip() == use
    with pytest.raises(UserError, match="out"):
        export(str(model), name, tmp_path / "out", "sample")


def test_unknown_programs_and_models_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ollama"):
        export("smollm2-135m", "olama", tmp_path / "out")
    with pytest.raises(UserError, match=r"--to llama\.cpp"):
        export("smollm2-135m", "GGUF", tmp_path / "out")
    with pytest.raises(UserError, match="no file or folder"):
        export("./missing", "ollama", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(EXPORTERS))
@pytest.mark.parametrize(
    ("key", "value"), [("attention.head_count", 2**31 - 1), ("embedding_length", 2**31)]
)
def test_a_gguf_whose_sizes_contradict_its_tensors_is_not_exported(
    tmp_path: Path, name: str, key: str, value: int
) -> None:
    raw = RawGguf.read(write_tiny_gguf(tmp_path / "tiny.gguf"))
    raw.entry(f"llama.{key}").value = value
    with pytest.raises(UserError, match="damaged GGUF"):
        export(str(raw.write(tmp_path / "m.gguf")), name, tmp_path / "out", "sample")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_transformers_reads_the_folder_and_computes_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from galenic.models.gguf.dequantize import dequantized_folder

    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    export(str(gguf), "transformers", tmp_path / "out")
    AutoTokenizer.from_pretrained(tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    own = AutoModelForCausalLM.from_pretrained(dequantized_folder(resolve_model(str(gguf))))
    tokens = torch.arange(1, 9)[None]
    assert torch.equal(found(tokens).logits, own(tokens).logits)


OTHER_THETA = {"rope_theta": 123.0, "rope_parameters": None}


@pytest.mark.parametrize("fault", ["rows", "theta", "head"])
def test_a_gguf_that_predicts_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from galenic.models.gguf import folder as module

    model = write_tiny_hf(tmp_path / "model", "llama")
    if fault == "rows":
        monkeypatch.setattr(module, "row_order", lambda *_: None)
    elif fault == "theta":
        shape = module.read_shape
        monkeypatch.setattr(module, "read_shape", lambda c, n: shape(c | OTHER_THETA, n))
    else:
        own_head(model)
        monkeypatch.setattr(module, "own_head", lambda _: False)
    with pytest.raises(UserError, match=r"nothing was exported: .* differ by .*F16"):
        export(str(model), "llama.cpp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["transformers", "lm-eval"])
def test_a_folder_that_predicts_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    pytest.importorskip("transformers", reason="needs the train extra")
    from safetensors.numpy import load_file, save_file

    from galenic.models.gguf import dequantize

    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    convert = dequantize._convert

    def wrong(path: Path, header: GgufHeader, folder: Path) -> None:
        convert(path, header, folder)
        weights = load_file(folder / "model.safetensors")
        name = "model.layers.1.self_attn.k_proj.weight"
        weights[name] = weights[name][::-1].copy()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(dequantize, "_convert", wrong)
    with pytest.raises(UserError, match="nothing was exported"):
        export(str(gguf), target, tmp_path / "out", "sample")
    assert not (tmp_path / "out").exists()


def own_head(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    noise = np.random.default_rng(0).normal(size=embedding.shape).astype(np.float32)
    weights["lm_head.weight"] = embedding + noise
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_stored_head_beside_a_tied_configuration_is_kept_everywhere(tmp_path: Path) -> None:
    """As transformers 5 reads it; the check of the export says so, and pruning keeps it."""
    torch = pytest.importorskip("torch", reason="needs the train extra")
    from transformers import AutoModelForCausalLM

    from galenic.models.checkpoint import open_checkpoint

    model = write_tiny_hf(tmp_path / "model", "llama")
    own_head(model)
    use = export(str(model), "llama.cpp", tmp_path / "out")
    assert use.startswith("# read back: logits of transformers and llama.cpp differ by 0.0")
    checkpoint = open_checkpoint(resolve_model(str(model)))
    assert "lm_head.weight" in checkpoint.tensors
    expected = AutoModelForCausalLM.from_pretrained(model).lm_head.weight
    stored = checkpoint.tensors["lm_head.weight"]
    assert torch.equal(torch.from_numpy(stored.decode(stored.map())), expected)


def test_the_llama_runtime_reads_the_gguf(tmp_path: Path) -> None:
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    export(str(gguf), "llama.cpp", tmp_path / "out")
    with LlamaRuntime(resolve_model(str(tmp_path / "out" / "model.gguf")), threads=1) as runtime:
        assert runtime.info.num_parameters > 0


@pytest.mark.slow
def test_the_embedded_models_template_is_known(tmp_path: Path, embedded: str) -> None:
    export(embedded, "ollama", tmp_path / "out")
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert "You are a helpful AI assistant named SmolLM" in text
    assert 'PARAMETER stop "<|im_end|>"' in text


def test_tasks_hold_our_prompts_and_the_right_answers(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama")
    export(str(model), "lm-eval", tmp_path / "out", "sample")
    tasks = tmp_path / "out" / "tasks"
    task = yaml.safe_load((tasks / "galenic_medmcqa_letter.yaml").read_text())
    [file] = task["dataset_kwargs"]["data_files"].values()
    rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
    assert len(rows) == 20
    assert rows[0]["prompt"].endswith("\nAnswer:")
    assert rows[0]["choices"] == [" A", " B", " C", " D"]


@pytest.mark.slow
def test_the_harness_runs_the_tasks_and_predicts_the_same(tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="needs the benchmark extra")
    from galenic.cli.progress import ConsoleWatcher
    from galenic.evaluation.config import EvaluateConfig
    from galenic.evaluation.run import evaluate
    from galenic.reports.runs import load_run

    model = write_tiny_hf(tmp_path / "model", "llama")
    export(str(model), "lm-eval", tmp_path / "out", "sample")
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tmp_path / "out" / "tasks"))
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={tmp_path / 'out' / 'model'},dtype=float32",
        tasks=["galenic_medmcqa_letter"],
        task_manager=manager,
        device="cpu",
        log_samples=True,
        bootstrap_iters=0,
    )
    config = EvaluateConfig.model_validate(
        {"model": str(model), "benchmarks": "medmcqa", "data": "sample", "scoring": "letter"}
    )
    evaluate(config, tmp_path / "run", ConsoleWatcher(), "")
    ours = {record.id: record.prediction for record in load_run(tmp_path / "run").records}
    for one in found["samples"]["galenic_medmcqa_letter"]:
        values = [float(response[0]) for response in one["filtered_resps"]]
        assert "ABCD"[values.index(max(values))] == ours[one["doc"]["id"]]
