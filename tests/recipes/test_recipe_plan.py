"""Planning: what is predicted from shapes is what the chain then makes; the best that fits wins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galenic.data.calibration import CalibrationConfig
from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from galenic.recipes.recipe import parse_recipe, read_recipe, shipped_recipes
from tiny import TinyShape, write_tiny_gguf
from tiny_hf import FAMILIES, write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

from test_chain import Watcher

from galenic.compression.quantize.kquant import quantize_rows
from galenic.models.gguf.folder import folder_source
from galenic.recipes import plan as planning
from galenic.recipes.plan import (
    NOISE,
    Device,
    Made,
    PlanSettings,
    Prediction,
    RecipePlan,
    _noise,
    main_types,
    make_plan,
    outline_recipe,
    predict,
    rank,
)
from galenic.recipes.probe import Machine, probe_machine
from galenic.recipes.run import CompressJob, compress
from galenic.recipes.shapes import Outline, open_outline, prune_outline
from galenic.registry import PRUNERS

MACHINE = Machine(
    seconds={"Q4_0": 1e-9, "Q8_0": 2e-9}, resident={"Q4_0": 2.0}, base_bytes=1000, threads=1
)
ROW = Prediction("a", 100, 200, 10.0, 4.5, 1.0, 300, ())


def recipe(*stages: str) -> str:
    listed = "".join(f"  - {{{stage}}}\n" for stage in stages)
    return f"name: mine\ndescription: d\nstages:\n{listed}"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_outline_has_the_tensors_of_the_model(family: str, tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", family)
    outline = open_outline(resolve_model(str(folder)))
    expected = {tensor.name: tensor.shape for tensor in folder_source(folder).tensors}
    assert {tensor.name: tensor.shape for tensor in outline.source.tensors} == expected


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_gguf_is_read_from_its_header(architecture: str, tied: bool, tmp_path: Path) -> None:
    shape = TinyShape(num_layers=3, tied=tied)
    path = write_tiny_gguf(tmp_path / "m.gguf", architecture=architecture, shape=shape)
    outline = open_outline(resolve_model(str(path)))
    from galenic.models.gguf.header import check_gguf

    expected = {tensor.name: tuple(reversed(tensor.shape)) for tensor in check_gguf(path).tensors}
    assert {tensor.name: tensor.shape for tensor in outline.source.tensors} == expected
    # 3 layers x keys and values x 2 heads of 8 numbers x 2 bytes x 100 tokens
    assert outline.kv_bytes(100) == 3 * 2 * 2 * 8 * 2 * 100


@pytest.mark.parametrize(
    ("method", "share"), [("width", 0.2), ("depth", 0.3), ("wanda", 0.4), ("magnitude", 0.5)]
)
def test_what_is_asked_goes_from_the_blocks(method: str, share: float, tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256)
    outline = open_outline(resolve_model(str(folder)))
    pruned = prune_outline(outline, PRUNERS.load(method)(sparsity=share))
    assert pruned.blocks_kept <= 1 - share + 1e-9
    assert pruned.blocks_kept > 1 - share - 0.15
    smaller = sum(t.shape[0] for t in pruned.source.tensors) < sum(
        t.shape[0] for t in outline.source.tensors
    )
    assert smaller == (method in ("width", "depth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "stages",
    [
        ("stage: quantize, method: kquant, type: Q5_K",),
        ("stage: quantize, method: kquant, bits: 4",),
        ("stage: quantize, method: gptq, type: Q4_0, head_type: Q6_K",),
        ("stage: quantize, method: gptq, target_bpw: 5.0",),
        (
            "stage: prune, method: width, sparsity: 0.3, kv_groups: 0",
            "stage: prune, method: vocab, vocab_size: 300",
            "stage: quantize, method: kquant, type: Q4_0",
        ),
        (
            "stage: prune, method: depth, sparsity: 0.3",
            "stage: quantize, method: kquant, target_bpw: 5.5",
        ),
    ],
    ids=["fallback", "bits", "gptq", "gptq-mixed", "width-vocab", "depth-mixed"],
)
def test_the_file_is_as_large_as_predicted(stages: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256, pair_merges=500)
    text = tmp_path / "notes.txt"
    text.write_text("\n\n".join(f"the patient number {n} has a fever" for n in range(800)))
    less = CalibrationConfig(num_samples=4, seq_len=32)
    found = replace(parse_recipe(recipe(*stages)), calibration=less)
    made = outline_recipe(open_outline(resolve_model(str(folder))), found)
    compress(CompressJob(str(folder), found, None, str(text)), tmp_path / "d", Watcher())
    after = inspect_model(resolve_model(str(tmp_path / "d")))
    assert made.file_bytes == pytest.approx(after.file_bytes, rel=0.02)
    assert made.bits_per_weight == pytest.approx(after.bits_per_weight, rel=0.01)
    kept = made.outline
    assert sum(1 for t in kept.source.tensors if t.name.endswith("attn_q.weight")) == (
        after.num_layers
    )


@pytest.mark.slow  # ggml makes the tables of these types in seconds
def test_the_noise_of_types_is_that_of_ggml() -> None:
    import gguf

    numbers = np.random.default_rng(1).normal(size=(32, 2048)).astype(np.float32)
    for kind in (*NOISE, "IQ3_S", "Q4_K"):
        made = quantize_rows(numbers, kind)
        error = gguf.quants.dequantize(made, gguf.GGMLQuantizationType[kind]) - numbers
        assert _noise(kind) == pytest.approx(np.mean(np.square(error, dtype=float)), rel=0.02)


def made_of(**weights: int) -> Made:
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=64, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=3
    )
    outline = Outline("m", config, header_bytes=10)
    return Made("mine", outline, dict.fromkeys(weights, 100), dict(weights), sum(weights.values()))


def test_memory_and_speed_by_hand() -> None:
    found = predict(made_of(Q4_0=1000, Q8_0=500), Device(), 50, MACHINE)
    keys_and_values = 3 * 2 * 32 * 2 * 50
    scores = 4 * 256 * 32000
    assert found.peak_bytes == 1000 + 2 * 100 + 1 * 100 + 10 + keys_and_values + scores
    assert found.tokens_per_second == pytest.approx(1 / (1000 * 1e-9 + 500 * 2e-9))
    assert found.file_bytes == 210
    other = predict(made_of(Q4_1=1000), Device(), 50, MACHINE)  # not timed: as the nearest
    assert other.tokens_per_second == pytest.approx(1 / (1000 * 1e-9))


def test_what_does_not_fit_is_named() -> None:
    made = made_of(Q4_0=1000)
    limits = Device(ram=10**6, disk=100, min_speed=1e9)
    assert predict(made, limits, 50, MACHINE).misses == ("memory", "disk", "speed")
    assert predict(made, Device(ram=10**8, disk=110, min_speed=1), 50, MACHINE).misses == ()
    assert predict(made, Device(ram=109), 50, None).misses == ("memory",)


def test_the_best_that_fits_comes_first() -> None:
    rows = [
        replace(ROW, recipe="sparse", blocks_kept=0.5),
        replace(ROW, recipe="few", vocab_size=200),
        replace(ROW, recipe="best", bits_per_weight=8.5, misses=("disk",)),
        replace(ROW, recipe="narrow", blocks_kept=0.8, bits_per_weight=8.0),
        replace(ROW, recipe="bits", bits_per_weight=5.5),
        replace(ROW, recipe="plain"),
    ]
    order = [row.recipe for row in rank(rows)]
    assert order == ["bits", "plain", "few", "narrow", "sparse", "best"]
    assert RecipePlan("m", 1, 1, tuple(rank(rows)), {}).recommended == rows[4]
    none = tuple(rank([rows[2]]))
    assert RecipePlan("m", 1, 1, none, {}).recommended is None


def test_what_cannot_be_planned_is_said(tmp_path: Path) -> None:
    outline = open_outline(resolve_model(str(write_tiny_hf(tmp_path / "m", "llama"))))
    with pytest.raises(UserError, match="makes no GGUF"):
        outline_recipe(outline, parse_recipe(recipe("stage: prune, method: wanda")))
    with pytest.raises(UserError, match="none would be removed"):
        prune_outline(outline, PRUNERS.load("vocab")())
    low = recipe("stage: quantize, method: kquant, target_bpw: 1")
    with pytest.raises(UserError, match="Raise"):
        outline_recipe(outline, parse_recipe(low))


def test_a_plan_without_timing_times_nothing_and_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import initialization

    from galenic.compression.quantize.types import speeds

    def never(*_: object, **__: object) -> None:
        raise AssertionError("slow, and of no use here")

    files = resolve_model(str(write_tiny_hf(tmp_path / "m", "llama")))
    fast = parse_recipe(recipe("stage: quantize, method: kquant, bits: 4, prefer: speed"))
    monkeypatch.setattr(planning, "shipped_recipes", lambda: ["fast"])
    monkeypatch.setattr(planning, "read_recipe", lambda _: fast)
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(speeds, "_seconds", never)
    monkeypatch.setattr(initialization, "normal_", never)
    plan, _ = make_plan(files, Device(), PlanSettings(probe=False), Watcher())
    assert [row.recipe for row in plan.rows] == ["mine"]


@pytest.mark.slow
def test_a_plan_names_every_recipe(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256)
    files = resolve_model(str(folder))
    plan, short = make_plan(files, Device(), PlanSettings(probe=False), Watcher())
    assert {row.recipe for row in plan.rows} | set(plan.unsuited) == set(shipped_recipes())
    assert set(short) == {row.recipe for row in plan.rows}
    assert plan.context == 512  # the model's own, which is less than was asked for
    assert plan.recommended is not None
    assert plan.recommended.recipe == "quality"
    for name in plan.unsuited:  # too few tokens to cut, or no GGUF
        assert {step.method.name for step in read_recipe(name).steps} & {"vocab", "nf4"}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_a_machine_is_timed_on_made_up_weights(family: str, tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "m", family, hidden_size=256)
    outline = open_outline(resolve_model(str(folder)))
    machine = probe_machine(outline, ["Q4_K", "Q8_0"], Watcher(), threads=1)
    assert set(machine.seconds) == {"Q4_K", "Q8_0"}
    assert all(0 < seconds < 1e-5 for seconds in machine.seconds.values())
    assert machine.base_bytes > 10_000_000
    assert machine.threads == 1
    made = outline_recipe(outline, parse_recipe(recipe("stage: quantize, method: kquant, bits: 8")))
    assert main_types([made]) == ["Q8_0"]
