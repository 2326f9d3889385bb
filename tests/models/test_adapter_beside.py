"""An adapter beside a GGUF gives what the merged weights give, and the base stays as it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from galenic.assistant.model import load_runtime
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.evaluation.run import evaluate
from galenic.exporters.run import export
from galenic.models.adapter import ADAPTER_CONFIG, adapted_source, read_adapter, with_adapter
from galenic.models.files import ModelFiles
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.gguf.header import read_header
from galenic.models.gguf.write import dense_types, write_gguf
from galenic.runtimes.base import encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.torch import TorchRuntime
from galenic.runtimes.tree import build_pack, sum_by_request
from training import Quiet, write_adapter


def files(path: Path) -> ModelFiles:
    return ModelFiles(path.name, "gguf", path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_adapter(tmp_path)
    folder_to_gguf(tmp_path / "model", tmp_path / "base.gguf", "F32")
    return tmp_path / "base.gguf"


def scores(model: ModelFiles) -> Any:
    pairs = [("Question: the man in the ward\nAnswer:", f" {word}") for word in ("yes", "no", "AB")]
    with LlamaRuntime(model, threads=1) as runtime:
        pack = build_pack(encode_requests(runtime, pairs))
        assert ("+ adapter" in runtime.info.weights) is (model.adapter is not None)
        return sum_by_request(pack, runtime.score(pack))


def merged(base: Path) -> Path:
    source = adapted_source(
        gguf_source(base), read_header(base), read_adapter(base.parent / "adapter")
    )
    write_gguf(source, base.parent / "merged.gguf", dense_types(source, "F32"))
    return base.parent / "merged.gguf"


@pytest.mark.slow
@pytest.mark.parametrize("rslora", [False, True])
def test_the_same_answers_as_merged_weights(base: Path, rslora: bool) -> None:
    config = base.parent / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_rslora": rslora}))
    plain, wanted = scores(files(base)), scores(files(merged(base)))
    both = with_adapter(files(base), base.parent / "adapter")
    found = scores(both)
    np.testing.assert_allclose(found, wanted, atol=0.02)
    assert np.abs(found - plain).max() > 0.2
    np.testing.assert_allclose(scores(files(base)), plain)
    assert both.sha256 != files(base).sha256
    assert both.name == "base.gguf + adapter"


def test_an_alpha_of_zero_adds_nothing(base: Path) -> None:
    """llama.cpp itself takes it for a scale of 1."""
    config = base.parent / "adapter" / ADAPTER_CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 0}))
    found = scores(with_adapter(files(base), base.parent / "adapter"))
    np.testing.assert_allclose(found, scores(files(base)), rtol=0, atol=1e-6)


def test_exported_beside_the_base(base: Path, tmp_path: Path) -> None:
    use = export(str(base), "llama.cpp", tmp_path / "out", adapter=str(tmp_path / "adapter"))
    assert "--lora" in use
    assert (tmp_path / "out" / "model.gguf").read_bytes() == base.read_bytes()
    again = with_adapter(files(base), tmp_path / "out" / "adapter.gguf")
    expected = scores(with_adapter(files(base), tmp_path / "adapter"))
    np.testing.assert_array_equal(scores(again), expected)
    with pytest.raises(UserError, match=r"works only with --to llama.cpp, not transformers"):
        export(str(base), "transformers", tmp_path / "no", adapter=str(tmp_path / "adapter"))


def test_evaluated_and_loaded_to_serve_with_it(base: Path, tmp_path: Path) -> None:
    records = []
    for adapter in (None, str(tmp_path / "adapter")):
        config = EvaluateConfig(
            model=str(base), adapter=adapter, data="sample", benchmarks=("medmcqa",), limit=2,
            scoring=("letter",), threads=1, runtime="auto" if adapter else "llama",
        )  # fmt: skip
        folder = tmp_path / f"run {adapter is None}"
        evaluate(config, folder, Quiet(), "galenic evaluate")
        manifest = json.loads((folder / "run.json").read_text())
        assert ("adapter" in manifest["config"]) is (adapter is not None)
        assert manifest["model"]["runtime"] == "llama"
        records.append((manifest["model"]["sha256"], (folder / "records.jsonl").read_text()))
    assert records[0][0] != records[1][0]
    assert records[0][1] != records[1][1]
    with load_runtime(str(base), threads=1, adapter=str(tmp_path / "adapter")) as runtime:
        assert runtime.info.sha256 == records[1][0]


def test_what_does_not_fit(base: Path, tmp_path: Path) -> None:
    folder = ModelFiles("model", "folder", tmp_path / "model", "0" * 64)
    with pytest.raises(UserError, match="galenic merge"):
        with_adapter(folder, tmp_path / "adapter")
    with pytest.raises(UserError, match="there is no file or folder"):
        with_adapter(files(base), tmp_path / "nothing")
    with pytest.raises(UserError, match="is not a LoRA adapter"):
        with_adapter(files(base), base)
    with pytest.raises(UserError, match="llama runtime"):
        TorchRuntime(with_adapter(files(base), tmp_path / "adapter"))


def test_numbers_that_cannot_be(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter" / ADAPTER_CONFIG
    good = json.loads(path.read_text())
    odd: list[dict[str, Any]] = [{"r": 10**400}, {"r": 0}, {"r": {"a" * 9999: 1}}]
    odd += [{"lora_alpha": 1e308}, {"lora_alpha": -1e308}, {"lora_alpha": "nan"}]
    for changes in odd:
        path.write_text(json.dumps(good | changes))
        with pytest.raises(UserError, match=r"is damaged|a rank is larger") as raised:
            with_adapter(files(base), tmp_path / "adapter")
        assert len(str(raised.value)) < 700


def test_runs_without_an_adapter_are_described_as_ever() -> None:
    assert "adapter" not in EvaluateConfig(model="m").model_dump(mode="json")
    assert EvaluateConfig(model="m", adapter="a").model_dump()["adapter"] == "a"
