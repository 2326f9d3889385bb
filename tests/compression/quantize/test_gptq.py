"""GPTQ as a stage: the file holds exactly what was fitted, in every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

from test_columns import naive  # noqa: E402

from galenic.compression.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compression.quantize.gptq import GPTQ  # noqa: E402
from galenic.compression.quantize.run import quantize  # noqa: E402
from galenic.compression.quantize.types.lattice import LATTICES  # noqa: E402
from galenic.models.gguf.copy import gguf_source  # noqa: E402
from galenic.models.gguf.family import read_shape  # noqa: E402
from galenic.models.gguf.header import read_header  # noqa: E402
from galenic.models.gguf.names import gguf_name, row_order  # noqa: E402

WORDS = "the man of the ward and the patient said yes or no in the morning of the day"


class Quiet:
    def say(self, text: str) -> None:
        pass

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        pass


def config(folder: Path, model: Path) -> QuantizeConfig:
    text = folder / "text.txt"
    rng = np.random.default_rng(0)
    text.write_text("\n\n".join(" ".join(rng.permutation(WORDS.split())) for _ in range(60)))
    return QuantizeConfig(
        model=str(model), method="gptq", text=str(text), num_samples=8, seq_len=64
    )


def spied(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The weights that the walk leaves in the blocks, by transformers name, as they come."""
    fitted: dict[str, Any] = {}
    rewrite_ = GPTQ.quantize_block_

    def spy_(self: GPTQ, block: Any, inputs: Any, **others: Any) -> None:
        rewrite_(self, block, inputs, **others)
        for linear in block.linears.values():
            name = f"model.{linear.name}.weight"
            fitted[name] = linear.module.weight.detach().clone().numpy()

    monkeypatch.setattr(GPTQ, "quantize_block_", spy_)
    return fitted


def check_stored(output: Path, model: Path, fitted: dict[str, Any]) -> dict[str, str]:
    """Hold the file against the fitted weights; returns the type of each tensor."""
    path = output / "model.gguf"
    stored = {t.name: t for t in gguf_source(path).tensors}
    shape = read_shape(json.loads((model / "config.json").read_bytes()), "model")
    for name, values in fitted.items():
        tensor, order = stored[gguf_name(shape, name)], row_order(shape, name)
        expected = values if order is None else values[order]
        np.testing.assert_array_equal(tensor.read(0, tensor.shape[0]), expected)
    return {tensor.name: tensor.type for tensor in read_header(path).tensors}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_stored_as_fitted(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`quantize` compares the two runtimes; here the file is held against the fitted weights."""
    model = write_tiny_hf(tmp_path / "model", family, hidden_size=64)
    fitted = spied(monkeypatch)
    manifest = quantize(config(tmp_path, model), GPTQ(target_bpw=5.5), tmp_path / "out", Quiet())
    assert manifest.stages[-1].options["act_order"] is True
    assert sorted(p.name for p in (tmp_path / "out").glob("*.gguf")) == ["model.gguf"]
    types = check_stored(tmp_path / "out", model, fitted)
    assert len(fitted) == (12 if family == "phi3" else 21)
    assert len({types[name] for name in types if "_norm" not in name}) > 1
    checks = manifest.stages[-1].checks
    weights = manifest.stages[-1].parameters["after"]["total"]
    assert checks["tensor_bytes"] <= checks["promised_bytes"] <= 5.5 / 8 * weights


@pytest.mark.slow
def test_tensors_with_a_rule_are_fitted_in_their_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    fitted = spied(monkeypatch)
    method = GPTQ(bits=4, tensor_type=r"blk\.1=Q8_0,token_embd=Q5_0", head_type="Q8_0")
    quantize(config(tmp_path, model), method, tmp_path / "out", Quiet())
    types = check_stored(tmp_path / "out", model, fitted)
    wanted = {"blk.1": {"Q8_0"}, "token": {"Q5_0"}, "blk.0": {"IQ4_NL", "Q4_0"}}
    for name in (name for name in types if "norm" not in name):
        if name[:5] in wanted:
            assert types[name] in wanted[name[:5]]


@pytest.mark.slow
def test_a_mix_may_take_k_quants_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=256)
    fitted = spied(monkeypatch)
    method = GPTQ(target_bpw=4, exclude="Q4_1,Q5_0,Q5_1,Q8_0,Q4_K,Q5_K,Q6_K")
    manifest = quantize(config(tmp_path, model), method, tmp_path / "out", Quiet())
    types = check_stored(tmp_path / "out", model, fitted)
    assert {"Q2_K", "Q3_K"} & set(types.values())
    assert any("IQ3 types are rounded with" in note for note in manifest.stages[-1].notes)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_hf(tmp_path_factory.mktemp("llama") / "model", "llama", hidden_size=64)


def read_by(model: Path, tokens: Any, name: str) -> Any:
    """What a module of plain transformers reads, float64, shape (tokens, inputs)."""
    import transformers

    loaded = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    seen = []
    loaded.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        loaded(tokens)
    return seen[0].flatten(0, 1).double()


def job_of(folder: Path, model: Path) -> Any:
    from galenic.compression.quantize.job import QuantizeJob
    from galenic.data.calibration import read_calibration_text
    from galenic.models.load import resolve_model

    settings = config(folder, model)
    texts = tuple(read_calibration_text(settings))
    return QuantizeJob(settings, resolve_model(str(model)), texts, Quiet())


@pytest.mark.slow
def test_the_head_is_fitted_to_what_it_reads(llama: Path, tmp_path: Path) -> None:
    """Against elimination by hand on the activations of plain transformers; rows do not mix."""
    job = job_of(tmp_path, llama)
    quantize(job.config, GPTQ(type="Q4_1"), tmp_path / "out", Quiet())
    stored = {t.name: t for t in gguf_source(tmp_path / "out" / "model.gguf").tensors}
    name = "output.weight" if "output.weight" in stored else "token_embd.weight"
    inputs = read_by(llama, job.tokens, "lm_head")
    dense = next(t for t in job.source.tensors if t.name == name).read(0, 24)
    weight = torch.from_numpy(dense.astype(np.float64))
    expected = naive(weight, (inputs.T @ inputs).numpy(), "Q4_1", 32, 0.1, True)
    found = stored[name].read(0, 24)
    assert (np.abs(found - expected) < 1e-6).mean() > 0.98  # sums in float32 turn a few codes
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_costs_are_what_elimination_leaves(llama: Path, tmp_path: Path) -> None:
    from galenic.compression.quantize.costs import Costs
    from galenic.compression.quantize.importance import measure_sensitivity
    from galenic.models.paged import PagedModel

    job = job_of(tmp_path, llama)
    model = PagedModel(job.checkpoint, job.source)
    costs = Costs(model, 0.01, act_order=True, blocks=True)
    measure_sensitivity(
        model, job.tokens, tmp_path, lambda _: None, gradients=False, onlooker=costs
    )
    assert len(costs.columns) == 21
    inputs = read_by(llama, job.tokens, "model.layers.1.mlp.down_proj")
    hessian = (inputs.T @ inputs).numpy()
    left = hessian + 0.01 * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    inverse, cost = np.linalg.inv(left), np.zeros(len(left))
    for j in sorted(range(len(left)), key=lambda j: -hessian[j, j]):
        cost[j] = 1 / inverse[j, j] / len(inputs)
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    np.testing.assert_allclose(costs.columns["blk.1.ffn_down.weight"], cost, rtol=0.02)


@pytest.mark.slow
def test_less_is_lost_than_by_rounding_alone(llama: Path, tmp_path: Path) -> None:
    """Divergence from the dense model on the text itself, at the same bytes."""
    from galenic.compression.quantize.block_types import KQuant
    from galenic.models.paged import PagedModel

    job = job_of(tmp_path, llama)
    dense = torch.log_softmax(PagedModel(job.checkpoint, job.source).logits(job.tokens), -1)
    found = {}
    for method in (GPTQ(type="Q4_0"), KQuant(type="Q4_0")):
        output = tmp_path / method.name
        quantize(job.config, method, output, Quiet())
        source = gguf_source(output / "model.gguf")
        other = torch.log_softmax(PagedModel(job.checkpoint, source).logits(job.tokens), -1)
        found[method.name] = float((dense.exp() * (dense - other)).sum(-1).mean())
    assert found["gptq"] < 0.8 * found["kquant"]


def test_wrong_options() -> None:
    with pytest.raises(UserError, match="group-size 48 is not a multiple of 32"):
        GPTQ(group_size=48)
    with pytest.raises(UserError, match="block-size 128 is not a multiple of --group-size 96"):
        GPTQ(group_size=96)
    with pytest.raises(UserError, match=r"type IQ3_S: gptq has levels for Q2_K.*method kquant"):
        GPTQ(type="iq3_s")
    kinds = ",".join(LATTICES)
    with pytest.raises(UserError, match="exclude leaves: gptq has levels"):
        GPTQ(target_bpw=5, exclude=kinds)
    with pytest.raises(UserError, match="unknown tensor type 'Q9'"):
        GPTQ(head_type="Q9")


def test_a_group_that_does_not_divide_ends_before_the_walk(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    with pytest.raises(UserError, match=r"64 inputs, which groups of 128 do not divide"):
        quantize(config(tmp_path, model), GPTQ(group_size=128), tmp_path / "out", Quiet())
    assert not (tmp_path / "out").exists()
