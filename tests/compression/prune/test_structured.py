"""Width and depth pruning of every family: smaller, loads anywhere, and is the masked model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.artifact.manifest import Manifest
from galenic.compression.prune.config import PruneConfig
from galenic.compression.prune.depth import Depth
from galenic.compression.prune.width import Width
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.registry import PRUNERS
from galenic.runtimes import llama_context
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from params import one_fast
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compression.prune.run import prune  # noqa: E402


class Silent:
    """Hears nothing."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def say(self, text: str) -> None: ...

    def keep(self, text: str) -> None: ...


def run(model: Path, output: Path, method: str = "width", **options: Any) -> Manifest:
    notes = model.parent / "notes.txt"
    lines = [f"The patient number {i} was seen on day {i * i} of the year." for i in range(60)]
    notes.write_text("\n\n".join(lines), encoding="utf-8")
    config = PruneConfig(
        model=str(model), method=method, text=str(notes), num_samples=4, seq_len=32
    )
    return prune(config, PRUNERS.load(method)(**options), output, Silent())


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model: Any) -> Any:
    tokens = torch.randint(5, 290, (2, 40), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return model(tokens, use_cache=False).logits


def find(haystack: Any, needles: Any) -> list[int]:
    """Where each row of the second stands in the first."""
    same = (haystack[:, None, :] == needles[None]).all(dim=-1)
    assert (same.sum(dim=0) == 1).all()
    return same.int().argmax(dim=0).tolist()


@pytest.mark.parametrize("family", one_fast(FAMILIES))
def test_width_is_the_model_with_channels_and_groups_set_to_zero(
    tmp_path: Path, family: str
) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    groups = 0 if family in ("phi3", "qwen2") else 1
    manifest = run(folder, tmp_path / "out", kv_groups=groups, sparsity=0.3, compensate=False)
    masked, small = load(folder), load(tmp_path / "out")
    size = small.config.intermediate_size
    assert size in (32, 64)
    assert small.config.num_key_value_heads == 2 - groups
    for wide, thin in zip(masked.model.layers, small.model.layers, strict=True):
        # what goes has its outgoing columns at zero; the others are found by their values
        down = wide.mlp.down_proj.weight.data
        kept = find(down.T, thin.mlp.down_proj.weight.data.T)
        assert kept == sorted(kept)
        down[:, [c for c in range(96) if c not in kept]] = 0
        out = wide.self_attn.o_proj.weight.data
        kept = find(out.T, thin.self_attn.o_proj.weight.data.T)
        out[:, [c for c in range(out.shape[1]) if c not in kept]] = 0
    torch.testing.assert_close(logits(small), logits(masked), rtol=1e-4, atol=2e-4)
    stage = manifest.stages[-1]
    assert stage.removed["blocks"] >= 0.3
    assert stage.parameters["after"]["total"] == sum(p.numel() for p in small.parameters())


def test_width_by_magnitude_asks_for_no_text(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    config = PruneConfig(model=str(folder), method="width")
    stage = prune(config, Width(score="magnitude"), tmp_path / "out", Silent()).stages[-1]
    assert stage.calibration is None
    assert not stage.options["compensate"]
    for options in ({"score": "magnitude", "compensate": True}, {"compensate": False}):
        assert Width(**options).calibrated
        with pytest.raises(UserError, match="--data"):
            prune(config, Width(**options), tmp_path / "other", Silent())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["width", "depth"])
@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_predicts_the_same(
    tmp_path: Path, family: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_llama_cpp(tmp_path, family, method, monkeypatch, sparsity=0.3)


def check_llama_cpp(
    tmp_path: Path, family: str, method: str, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> None:
    from galenic.runtimes.torch import TorchRuntime

    monkeypatch.setattr(llama_context, "_GGML_TYPE_F16", 0)
    monkeypatch.setattr(llama_context, "_FLASH_ATTENTION_ON", 0)
    folder = write_tiny_hf(tmp_path / "m", family, seed=3)
    run(folder, tmp_path / "out", method, **options)
    folder_to_gguf(tmp_path / "out", tmp_path / "out.gguf", "F32")
    rng = np.random.default_rng(0)
    asked = [Request(tuple(rng.integers(3, 290, 45).tolist()), 40) for _ in range(3)]
    pack = build_pack(asked)
    with (
        LlamaRuntime(ModelFiles("s", "gguf", tmp_path / "out.gguf", "0" * 64), threads=1) as llama,
        TorchRuntime(ModelFiles("s", "folder", tmp_path / "out", "0" * 64), threads=1) as plain,
    ):
        found = [sum_by_request(pack, runtime.score(pack)) for runtime in (llama, plain)]
    np.testing.assert_allclose(*found, rtol=0, atol=0.02 if family == "gemma3" else 2e-3)


@pytest.mark.slow
def test_channels_without_weights_go_first_and_change_nothing(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    model = load(folder)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data[:, 10:74:2] = 0
        layer.self_attn.o_proj.weight.data[:, :24] = 0
    model.save_pretrained(folder)
    before = logits(model)
    for score in ("taylor", "activation", "combined"):
        options = {"score": score, "kv_groups": 1, "sparsity": 0.35}
        run(folder, tmp_path / score, **options)
        small = load(tmp_path / score)
        assert small.config.intermediate_size == 64
        torch.testing.assert_close(logits(small), before, rtol=1e-4, atol=2e-4)


@pytest.mark.slow
def test_depth_keeps_the_blocks_as_they_are(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "qwen3")
    model = load(folder)
    model.model.layers[1].mlp.down_proj.weight.data.zero_()
    model.model.layers[1].self_attn.o_proj.weight.data.zero_()
    model.save_pretrained(folder)
    for metric in ("perplexity", "influence"):
        # one candidate: to a random model any loss may be a gain
        options = {"metric": metric, "candidates": 1, "protect_first": 0, "protect_last": 0}
        manifest = run(folder, tmp_path / metric, "depth", sparsity=0.3, **options)
        assert load(tmp_path / metric).config.num_hidden_layers == 2
        torch.testing.assert_close(logits(load(tmp_path / metric)), logits(model))
        assert manifest.stages[-1].removed["blocks"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_same_seed_same_bytes(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    for method in ("width", "depth"):
        files = [run(folder, tmp_path / f"{method}{n}", method).files for n in (1, 2)]
        assert files[0] == files[1]


@pytest.mark.slow
def test_gemma_windows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tiny_hf(tmp_path / "m", "gemma3")  # window, none, window
    run(folder, tmp_path / "even", "depth", sparsity=0.3)
    assert load(tmp_path / "even").config.layer_types == ["sliding_attention"] * 2
    with pytest.raises(UserError, match=r"equal distances.*--windows any"):
        run(folder, tmp_path / "no", "depth", sparsity=0.3, protect_first=0, protect_last=2)
    free = {"windows": "any", "protect_first": 0, "protect_last": 2}
    run(folder, tmp_path / "free", "depth", sparsity=0.3, **free)
    kinds = load(tmp_path / "free").config.layer_types
    assert kinds == ["full_attention", "sliding_attention"]
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("width", {"sparsity": 0.99}, "would leave nothing"),
        ("width", {"ffn_multiple": 128}, "--ffn-multiple 128: the model has 96"),
        ("width", {"kv_groups": 2}, "--kv-groups 2: the model has 2"),
        ("depth", {"sparsity": 0.7}, r"removes 3 of 3 blocks, and at most 1 may be removed"),
        ("depth", {"protect_first": 3}, "and at most 0 may be removed"),
    ],
)
def test_bad_wishes(tmp_path: Path, method: str, options: dict[str, Any], message: str) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    with pytest.raises(UserError, match=message):
        run(folder, tmp_path / "out", method, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["phi3", "qwen2"])
def test_heads_that_llama_cpp_needs(tmp_path: Path, family: str) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    with pytest.raises(UserError, match=r"--kv-groups 1: llama\.cpp cannot run"):
        run(folder, tmp_path / "out", kv_groups=1)


@pytest.mark.slow
def test_heads_that_transformers_needs(tmp_path: Path) -> None:
    """Of 4 heads without sharing, 3 would not divide a hidden size of 64: as in Llama 3.2."""
    folder = write_tiny_hf(tmp_path / "m", "llama", hidden_size=64)
    model = load(folder)
    model.config.num_key_value_heads = 4
    type(model)(model.config).save_pretrained(folder)
    with pytest.raises(UserError, match=r"--kv-groups 1: .*\(64\) is not a multiple of .*\(3\)"):
        run(folder, tmp_path / "out", kv_groups=1)
    run(folder, tmp_path / "out", sparsity=0.3)
    found = load(tmp_path / "out").config
    assert 64 % found.num_attention_heads == 0
    assert found.num_key_value_heads == found.num_attention_heads


def test_bad_options() -> None:
    for method in (Width, Depth):
        for sparsity in (-0.1, 1.0):
            with pytest.raises(ValueError, match="sparsity"):
                method(sparsity=sparsity)
    with pytest.raises(UserError, match="--ffn-multiple 40 is not a multiple of 32"):
        Width(ffn_multiple=40)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma3"])
def test_a_narrower_stream_is_the_model_with_dimensions_set_to_zero(
    tmp_path: Path, family: str
) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    run(folder, tmp_path / "out", hidden_size=32, sparsity=0.0, kv_groups=0, compensate=False)
    masked, small = load(folder), load(tmp_path / "out")
    assert small.config.hidden_size == 32
    scale = 48**0.5 / 32**0.5 if family == "gemma3" else 1.0
    rows = masked.model.embed_tokens.weight.data
    kept = find((rows * scale).T, small.model.embed_tokens.weight.data.T)
    assert kept == sorted(kept)
    gone = [n for n in range(48) if n not in kept]
    rows[:, gone] = 0  # a tied head reads zeros from the stream there
    for layer in masked.model.layers:
        layer.self_attn.o_proj.weight.data[gone] = 0
        layer.mlp.down_proj.weight.data[gone] = 0
    torch.testing.assert_close(logits(small), logits(masked), rtol=1e-3, atol=2e-3)


@pytest.mark.slow
def test_dimensions_that_carry_nothing_go_first_and_change_nothing(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    model = load(folder)
    gone = list(range(1, 33, 2))
    model.model.embed_tokens.weight.data[:, gone] = 0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data[gone] = 0
        layer.mlp.down_proj.weight.data[gone] = 0
    model.save_pretrained(folder)
    before = logits(model)
    for score in ("taylor", "activation", "combined"):
        options = {"score": score, "hidden_size": 32, "sparsity": 0.0, "kv_groups": 0}
        run(folder, tmp_path / score, **options)
        small = load(tmp_path / score)
        assert small.config.hidden_size == 32
        torch.testing.assert_close(logits(small), before, rtol=1e-3, atol=3e-3)


@pytest.mark.slow
def test_channels_make_up_in_a_narrower_stream_too(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama")
    model = load(folder)
    for layer in model.model.layers:  # channels that repeat others, more faintly
        layer.mlp.up_proj.weight.data[64:] = layer.mlp.up_proj.weight[:32] / 20
        layer.mlp.gate_proj.weight.data[64:] = layer.mlp.gate_proj.weight[:32]
    model.save_pretrained(folder)
    wide = run(folder, tmp_path / "wide", hidden_size=32, kv_groups=0, sparsity=0.0)
    assert wide.stages[-1].removed["blocks"] > 0.3
    expected, errors = logits(load(tmp_path / "wide")), []
    for made_up in (False, True):
        options = {"hidden_size": 32, "kv_groups": 0, "sparsity": 0.45}
        run(folder, tmp_path / str(made_up), compensate=made_up, damping=1e-4, **options)
        small = load(tmp_path / str(made_up))
        assert small.config.intermediate_size == 64
        errors.append(float((logits(small) - expected).square().mean()))
    assert errors[1] < 0.05 * errors[0], errors


@pytest.mark.slow
def test_llama_cpp_runs_a_narrower_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_llama_cpp(tmp_path, "gemma3", "width", monkeypatch, hidden_size=32, sparsity=0.4)


@pytest.mark.parametrize(
    ("family", "size", "message"),
    [
        ("llama", 40, "--hidden-size 40 is not a multiple of 32"),
        ("llama", 64, "--hidden-size 64: the model has 48"),
        ("qwen2", 32, "llama.cpp takes the head size of a qwen2 model"),
        ("phi3", 32, "llama.cpp takes the head size of a phi3 model"),
    ],
)
def test_streams_that_are_refused(tmp_path: Path, family: str, size: int, message: str) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    with pytest.raises(UserError, match=message):
        run(folder, tmp_path / "out", hidden_size=size)
    assert not (tmp_path / "out").exists()
