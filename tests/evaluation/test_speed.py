"""A GGUF stays with llama.cpp unless PyTorch is clearly faster and fits; said, and timed once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tiny
from galenic.cache import cache_folder
from galenic.errors import UserError
from galenic.evaluation import speed
from galenic.evaluation.config import EvaluateConfig
from galenic.evaluation.run import evaluate
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.watcher import SilentWatcher
from tiny import TinyShape, write_tiny_gguf

for package in ("torch", "transformers", "accelerate"):
    pytest.importorskip(package, reason="needs the train extra")


def files(path: Path, name: str = "tiny") -> ModelFiles:
    return ModelFiles(name, "gguf", path, f"{hash(str(path)) & 0xFFFFFFFF:064x}")


def chosen(model: ModelFiles) -> tuple[speed.EngineChoice, list[str]]:
    said: list[str] = []
    return speed.choose_runtime(model, EvaluateConfig(model=model.name), said.append), said


def test_one_timing_serves_models_of_one_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []

    def measure(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
        timed.append(model.name)
        return {"llama": 200.0, "torch": 100.0}

    monkeypatch.setattr(speed, "_measure", measure)
    shapes = {"a": TinyShape(), "b": TinyShape(), "c": TinyShape(ffn_size=96)}
    for seed, (name, shape) in enumerate(shapes.items()):
        path = write_tiny_gguf(tmp_path / f"{name}.gguf", seed=seed, shape=shape)
        choice, said = chosen(files(path, name))
        assert choice.runtime == "llama"
        assert choice.reason in said[-1]
    assert timed == ["a", "c"]


@pytest.mark.parametrize(
    ("torch", "wanted"), [(100.0, "llama"), (129.0, "llama"), (130.0, "torch")]
)
def test_the_faster_one_only_where_it_is_clearly_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: float, wanted: str
) -> None:
    monkeypatch.setattr(speed, "_measure", lambda *_: {"llama": 100.0, "torch": torch})
    choice, _ = chosen(files(write_tiny_gguf(tmp_path / "tiny.gguf")))
    assert choice.runtime == wanted
    assert f"torch about {torch:.0f}" in choice.reason
    written = list(cache_folder("dequantized").glob("tiny-*"))
    assert bool(written) == (wanted == "torch")


def test_a_measurement_writes_no_weights(tmp_path: Path) -> None:
    choice, _ = chosen(files(write_tiny_gguf(tmp_path / "tiny.gguf")))
    table = json.loads((cache_folder() / speed.TABLE).read_text())
    [speeds] = table.values()
    assert min(speeds.values()) > 0
    faster = speeds["torch"] >= speed.CLEARLY_FASTER * speeds["llama"]
    assert choice.runtime == ("torch" if faster else "llama")
    assert bool(list(cache_folder("dequantized").glob("tiny-*"))) == faster


def test_special_tokens_and_a_short_context_can_be_timed(tmp_path: Path) -> None:
    """Their ids are beyond the small vocabulary of the blocks that are timed in PyTorch."""
    from galenic.models.gguf.folder import folder_to_gguf
    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / "hf", "llama")
    config = json.loads((folder / "config.json").read_text())
    assert config["pad_token_id"] > 256
    config["max_position_embeddings"] = 40
    (folder / "config.json").write_text(json.dumps(config))
    folder_to_gguf(folder, tmp_path / "m.gguf", "F16")
    choice, _ = chosen(files(tmp_path / "m.gguf"))
    assert choice.reason.startswith("tokens/s read here: llama ")


def test_what_llama_cpp_cannot_load_is_its_own_error(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    content = path.read_bytes()
    at = content.index(b"tokenizer.ggml.pre")
    number = content.index(b"gpt-2", at)
    path.write_bytes(content[:number] + b"xyz-9" + content[number + 5 :])
    with pytest.raises(UserError, match=r"^llama.cpp cannot load .*xyz-9"):
        chosen(files(path))


def test_what_does_not_fit_in_float32_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galenic.models.gguf import dequantize

    monkeypatch.setattr(dequantize, "_free_memory", lambda: 1000)
    monkeypatch.setattr(speed, "_measure", lambda *_: pytest.fail("timed in vain"))
    choice, _ = chosen(files(write_tiny_gguf(tmp_path / "tiny.gguf")))
    assert choice.runtime == "llama"
    assert "memory" in choice.reason


def test_what_pytorch_refuses_is_evaluated_by_llama(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has a bias that no Llama of transformers has a place for without its config."""
    tensors = tiny.tiny_tensors
    extra = {"blk.0.attn_q.bias": np.ones(32, np.float32)}
    monkeypatch.setattr(tiny, "tiny_tensors", lambda *args: tensors(*args) | extra)
    path = write_tiny_gguf(tmp_path / "bias.gguf", chat_template=None)
    monkeypatch.setattr(speed, "_measure", lambda *_: {"llama": 1.0, "torch": 9.0})
    config = EvaluateConfig.model_validate(
        {"model": str(path), "benchmarks": "pubmedqa", "data": "sample", "limit": 1}
        | {"scoring": "letter"}
    )
    evaluate(config, tmp_path / "run", SilentWatcher(), "")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["model"]["runtime"] == "llama"
    assert run["runtime_reason"].startswith("PyTorch cannot take this file")


def test_one_file_has_one_name_and_label(tmp_path: Path) -> None:
    from galenic.registry import RUNTIMES

    model = resolve_model(str(write_tiny_gguf(tmp_path / "tiny.gguf")))
    infos = []
    for name in ("llama", "torch"):
        with RUNTIMES.load(name)(model, threads=1) as runtime:
            infos.append(runtime.info)
    same = ("model", "sha256", "architecture", "weights", "num_parameters")
    assert [getattr(infos[0], key) for key in same] == [getattr(infos[1], key) for key in same]
    assert infos[0].weights == "F32"
    assert infos[1].engine.endswith("float32")
