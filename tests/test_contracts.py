"""What every entry of a registry must do, run over all of them on tiny models and the sample."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import time
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.artifact.manifest import read_manifest
from galenic.compression.prune.config import PruneConfig
from galenic.compression.quantize.config import QuantizeConfig
from galenic.data.benchmarks.base import original_label, rotate
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.registry import (
    BENCHMARKS,
    DISTILLERS,
    ENGINES,
    EXPORTERS,
    FINETUNERS,
    PRUNERS,
    QUANTIZERS,
    RUNTIMES,
    SCORINGS,
    Registry,
)
from galenic.runtimes.base import Runtime, Writing
from galenic.runtimes.tree import build_pack
from galenic.study.graph import Node
from galenic.study.store import NodeFolder
from tiny import write_tiny_gguf
from tiny_encoder import write_tiny_encoder
from tiny_hf import write_tiny_experts, write_tiny_hf
from watching import Notes

SLOW_TO_MAKE = ("auto_round",)
ON_A_TINY_MODEL = {"vocab": {"keep_first": 0}}
"""Options without which a method finds nothing to do on so small a model."""
METHODS = [
    pytest.param(registry, name, id=f"{registry.kind}-{name}")
    for registry in (PRUNERS, QUANTIZERS, FINETUNERS, DISTILLERS, EXPORTERS)
    for name in registry
]


@pytest.mark.parametrize(("registry", "name"), METHODS)
def test_a_method_is_described(registry: Registry, name: str) -> None:
    method = registry.load(name)
    assert method.name == name
    assert method.title
    assert not method.title.endswith(".")
    assert getattr(method, "reference_url", "https://").startswith("https://")
    fields = getattr(method, "model_fields", {})
    assert all(field.description for field in fields.values())


@pytest.mark.parametrize("registry", [PRUNERS, QUANTIZERS, FINETUNERS], ids=lambda r: r.kind)
def test_a_methods_options_are_json_and_bring_it_back(registry: Registry) -> None:
    for name in registry:
        method = registry.load(name)()
        options = json.loads(json.dumps(method.options))
        assert registry.load(name)(**options).options == method.options
        with pytest.raises((UserError, ValueError)):
            registry.load(name)(no_such_option=1)
        assert type(method).model_config["frozen"]


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_benchmark_asks_its_sample_questions(name: str) -> None:
    data = open_source("sample").load(BENCHMARKS.load(name))
    benchmark = data.benchmark
    assert is_dataclass(benchmark)
    assert benchmark.fewshot_split != benchmark.default_split
    assert len({example.id for example in data.examples}) == len(data.examples) > 0
    for example in data.examples:
        assert example.answer in example.options
        prompt = benchmark.prompt(example)
        assert prompt.endswith(benchmark.answer_prefix)
        assert prompt.count(example.question) == 1
        assert "CONTEXT" not in benchmark.prompt(example, context="")
        assert f"{benchmark.context_name}: CONTEXT" in benchmark.prompt(example, context="CONTEXT")
        for r in range(benchmark.num_rotations(example)):
            turned = rotate(example, r)
            assert turned.options[turned.answer] == example.options[example.answer]
            assert original_label(list(example.options), turned.answer, r) == example.answer


@pytest.mark.parametrize("name", list(SCORINGS))
@pytest.mark.parametrize("benchmark", list(BENCHMARKS))
def test_a_scoring_weighs_every_option(name: str, benchmark: str) -> None:
    scoring = SCORINGS.load(name)()
    for example in open_source("sample").load(BENCHMARKS.load(benchmark)).examples:
        texts = {label: scoring.continuation(example, label) for label in example.options}
        assert len(set(texts.values())) == len(texts)
        assert scoring.paired or all(text.startswith(" ") for text in texts.values())
        even = scoring.weigh(example, dict.fromkeys(texts, -3.0))
        assert list(even) == list(example.options)
        for label in texts:  # what is likelier never weighs less
            raised = scoring.weigh(example, dict.fromkeys(texts, -3.0) | {label: -1.0})
            assert raised[label] > even[label]
            assert all(raised[other] == even[other] for other in texts if other != label)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("contracts")
    notes = folder / "notes.txt"
    lines = [f"The patient number {i} was seen on day {i * i} of the year." for i in range(60)]
    notes.write_text("\n\n".join(lines), encoding="utf-8")
    found = {"gguf": write_tiny_gguf(folder / "tiny.gguf"), "notes": notes}
    pytest.importorskip("torch", reason="needs the train extra")
    found["folder"] = write_tiny_hf(folder / "tiny", "llama", hidden_size=64)
    found["experts"] = write_tiny_experts(folder / "experts", "mixtral")
    found["encoder"] = write_tiny_encoder(folder / "encoder", "bert", head=True)
    return found


@pytest.fixture(params=list(RUNTIMES))
def runtime(request: pytest.FixtureRequest, models: dict[str, Path]) -> Iterator[Runtime]:
    kind = {"llama": "gguf", "encoder": "encoder"}.get(request.param, "folder")
    with RUNTIMES.load(request.param)(resolve_model(str(models[kind])), threads=1) as opened:
        yield opened


def test_a_runtime_says_what_it_is(runtime: Runtime) -> None:
    assert (runtime.info.runtime, runtime.info.num_threads) == (runtime.name, 1)
    assert runtime.name in RUNTIMES
    assert len(runtime.info.sha256) == 64
    assert runtime.info.num_parameters > 0
    assert runtime.scorings
    assert set(runtime.scorings) <= set(SCORINGS)
    assert ("dtype" in inspect.signature(type(runtime)).parameters) == bool(runtime.dtypes)
    runtime.close()
    runtime.close()


def test_a_runtime_converts_what_it_says_and_nothing_else(
    runtime: Runtime, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = resolve_model(str(models["gguf"]))
    asked: list[Any] = []
    monkeypatch.setattr("galenic.models.gguf.dequantize.dequantized_folder", asked.append)
    if files.kind in runtime.converts:
        runtime.convert(files)
        assert asked == [files]
    else:
        with pytest.raises(NotImplementedError):
            runtime.convert(files)


def test_a_runtime_scores_texts_alone_and_together_alike(runtime: Runtime) -> None:
    pairs = [("the patient", " yes"), ("the patient", " no"), ("pain of the", " question and")]
    requests = runtime.encode_pairs(pairs)
    together = runtime.score(build_pack(requests))
    alone = np.concatenate([runtime.score(build_pack([one])) for one in requests])
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=2e-3)
    assert 0 < runtime.num_computed(build_pack(requests)) <= sum(len(r.tokens) for r in requests)


def test_a_runtime_that_writes_writes_the_same_again(runtime: Runtime) -> None:
    if "generate" not in runtime.scorings:
        with pytest.raises(UserError):
            runtime.generate("the patient", Writing(max_tokens=4))
        return
    first = runtime.generate("the patient", Writing(max_tokens=6))
    assert runtime.generate("the patient", Writing(max_tokens=6)) == first
    assert 0 < first.num_tokens <= 6
    with pytest.raises(UserError):
        runtime.generate("the " * 3000, Writing(max_tokens=1))  # no room is left
    (tokens,) = runtime.encode_batch(["the patient of the question"])
    rows = runtime.log_probs(tokens)
    assert rows.shape == (len(tokens), len(runtime.vocabulary()))
    np.testing.assert_allclose(np.exp(rows.astype(float)).sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(list(runtime.follow(tokens, 2)), rows[2:], atol=2e-3)
    assert runtime.decode(tokens[2:])


def digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*"))
        if path.suffix in (".safetensors", ".gguf")
    }


@pytest.mark.parametrize("name", list(PRUNERS))
def test_a_pruner_removes_the_same_again_and_says_what_is_left(
    tmp_path: Path, models: dict[str, Path], name: str
) -> None:
    from galenic.compression.prune.run import prune
    from galenic.models.checkpoint import open_checkpoint

    method = PRUNERS.load(name)(**ON_A_TINY_MODEL.get(name, {}))
    text = str(models["notes"]) if method.calibrated or method.whole_texts else None
    model = models["experts" if name == "experts" else "folder"]
    config = PruneConfig(model=str(model), method=name, text=text, num_samples=4, seq_len=32)
    for output in ("one", "two"):
        manifest = prune(config, method, tmp_path / output, Notes())
    assert digest(tmp_path / "one") == digest(tmp_path / "two") != digest(model)
    stage = manifest.stages[-1]
    assert read_manifest(tmp_path / "one").stages[-1].options == stage.options
    assert stage.options.items() >= method.options.items()
    before = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    after = sum(path.stat().st_size for path in (tmp_path / "one").glob("*.safetensors"))
    assert (after < before) == method.shrinks
    assert open_checkpoint(resolve_model(str(tmp_path / "one")))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_MAKE else ())
        for name in QUANTIZERS
    ],
)
def test_a_quantizer_keeps_to_what_it_promised(
    tmp_path: Path, models: dict[str, Path], name: str
) -> None:
    from galenic.compression.quantize.run import quantize

    method = QUANTIZERS.load(name)()
    try:
        method.require()
    except UserError as error:
        pytest.skip(str(error))
    text = str(models["notes"]) if method.calibrated else None
    config = QuantizeConfig(model=str(models["folder"]), text=text, num_samples=4, seq_len=32)
    manifest = quantize(config, method, tmp_path / "out", Notes())
    stage = manifest.stages[-1]
    assert stage.checks["tensor_bytes"] <= stage.checks["promised_bytes"]
    assert stage.sizes["after"] < stage.sizes["before"]
    assert stage.options.items() >= method.options.items()
    runtime = "llama" if (tmp_path / "out" / "model.gguf").exists() else "torch"
    with RUNTIMES.load(runtime)(resolve_model(str(tmp_path / "out")), threads=1) as opened:
        assert all(math.isfinite(value) for value in opened.loglikelihood("the", [" patient"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "ray"])
def test_an_engine_does_a_node_and_tells_how_it_ended(tmp_path: Path, name: str) -> None:
    """Ray reads its key as it is imported: it is tested in processes of its own (tests/study)."""
    folder = NodeFolder(tmp_path / "answers-k")
    config = {"benchmarks": ["medmcqa"], "scoring": ["letter"]}
    spec = {"model": None, "base": "./missing", "data": "sample", "config": config}
    folder.begin(Node("answers", "k", "t", (), spec, 1))
    engine = ENGINES.load(name)(jobs=1)
    try:
        assert engine.where
        assert engine.fits(1)
        engine.start(folder.path, 1)
        ended: dict[Path, int] = {}
        begun = time.monotonic()
        while not ended and time.monotonic() - begun < 300:
            ended = engine.ended()
            time.sleep(0.05)
        assert ended == {folder.path: 1}  # there is no such model
        assert engine.ended() == {}
    finally:
        engine.stop()
