"""Tuning inside the format: the same bytes' worth, what is measured is what is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from params import block_types
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.quantize.block_types import KQuant  # noqa: E402
from galenic.compression.quantize.config import QuantizeConfig  # noqa: E402
from galenic.compression.quantize.job import QuantizeJob  # noqa: E402
from galenic.compression.quantize.kquant import (  # noqa: E402
    decode_rows,
    quantize_rows,
)
from galenic.compression.quantize.nf4 import NF4  # noqa: E402
from galenic.compression.quantize.run import quantize  # noqa: E402
from galenic.compression.quantize.tuning import folder  # noqa: E402
from galenic.compression.quantize.tuning.matrix import TunedMatrix  # noqa: E402
from galenic.compression.quantize.types.lattice import LATTICES  # noqa: E402
from galenic.data.calibration import read_split_text  # noqa: E402
from galenic.models.gguf.copy import gguf_source  # noqa: E402
from galenic.models.gguf.header import read_header  # noqa: E402
from galenic.models.load import resolve_model  # noqa: E402
from galenic.models.paged import PagedModel  # noqa: E402

WORDS = "the man of the ward and the patient said yes or no in the morning of the day"


class Quiet:
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...
    def advance(self, done: int, note: str = "") -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)


def rows(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(12, 512)).astype(np.float32)


def matrix(kind: str, order: Any = None) -> TunedMatrix:
    return TunedMatrix(kind, quantize_rows(rows(), kind), order)


@pytest.mark.parametrize("kind", block_types())
def test_a_matrix_is_what_gguf_reads_before_and_after(kind: str) -> None:
    order = np.random.default_rng(1).permutation(12)
    found = matrix(kind, order)
    expected = decode_rows(found.blocks, kind)
    torch.testing.assert_close(
        found.weight()[order], torch.from_numpy(expected), rtol=1e-3, atol=1e-6
    )
    with torch.no_grad():
        found.factor += 0.1 * torch.randn(found.factor.shape)
        if found.min_factor is not None:
            found.min_factor -= 0.05
    trained = found.weight().detach()[order]
    found.store_()
    after = torch.from_numpy(decode_rows(found.blocks, kind))
    torch.testing.assert_close(after, trained, rtol=1e-3, atol=1e-6)
    assert float((after - torch.from_numpy(expected)).abs().max()) > 0.01


@pytest.mark.parametrize("kind", LATTICES)
def test_codes_follow_their_places(kind: str) -> None:
    order = np.random.default_rng(1).permutation(12)
    found = matrix(kind, order)
    dense = torch.empty(12, 512)
    dense[order] = torch.from_numpy(rows())
    before = found.weight().detach()
    assert found.open_codes_(dense)
    torch.testing.assert_close(found.weight().detach(), before, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        found.places += found.spacing * torch.randn(found.places.shape)
    trained = found.weight().detach()
    found.close_codes_(keep=True)
    after = torch.from_numpy(decode_rows(found.blocks, kind))
    torch.testing.assert_close(after, trained[order], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.weight().detach(), trained, rtol=1e-3, atol=1e-6)
    assert float((trained - before).abs().max()) > 0.01


def test_the_gradient_of_a_place_is_that_of_its_weight_times_the_step() -> None:
    found = matrix("Q3_K")
    dense = torch.from_numpy(rows())
    assert found.open_codes_(dense)
    towards = torch.randn(12, 512)
    (found.weight() * towards).sum().backward()
    steps = torch.from_numpy(found._opened().steps()).repeat_interleave(16, 1)
    inside = (found.places >= -4) & (found.places <= 3)
    torch.testing.assert_close(found.places.grad, towards * steps * inside)


def run(model: Path, output: Path, tune: bool, method: Any, **others: Any) -> Any:
    text = output.parent / "text.txt"
    if not text.exists():
        rng = np.random.default_rng(0)
        text.write_text("\n\n".join(" ".join(rng.permutation(WORDS.split())) for _ in range(90)))
    config = QuantizeConfig(
        model=str(model), text=str(text), num_samples=16, seq_len=48, tune=tune, **others
    )
    watcher = Quiet()
    return quantize(config, method, output, watcher), watcher.said


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_tuning_lowers_the_kl_at_no_byte(family: str, tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", family, hidden_size=64)
    # with --tune other documents calibrate, and importance would make another file of them
    method = KQuant(type="Q4_0", importance=False)
    plain, _ = run(model, tmp_path / "plain", False, method)
    tuned, said = run(model, tmp_path / "tuned", True, method, tune_steps=30, tune_passes=3)
    checks = tuned.stages[-1].checks
    assert checks["tuning_kl_after"] < 0.9 * checks["tuning_kl_before"]
    assert tuned.stages[-1].sizes == plain.stages[-1].sizes
    assert tuned.stages[-1].options["tune"] is True
    assert checks["tuning_kl_ratio_low"] < checks["tuning_kl_ratio_high"] < 1
    assert any("192 tokens of other documents, with 95 % intervals" in text for text in said)
    assert not list(tmp_path.glob(".*.run"))
    headers = [read_header(tmp_path / name / "model.gguf") for name in ("plain", "tuned")]
    assert headers[0].tensors == headers[1].tensors
    dense, job = job_of(model, tmp_path / "text.txt")
    for name, wanted in (("plain", "tuning_kl_before"), ("tuned", "tuning_kl_after")):
        paged = PagedModel(job.checkpoint, gguf_source(tmp_path / name / "model.gguf"))
        judged = job.heldout_tokens
        target, mine = (torch.log_softmax(m.logits(judged), -1) for m in (dense, paged))
        kl = float((target.exp() * (target - mine)).sum(-1).mean())
        assert kl == pytest.approx(checks[wanted], rel=0.02)


def job_of(model: Path, text: Path) -> Any:
    """The dense model, and the job that has its calibration text."""
    config = QuantizeConfig(model=str(model), text=str(text), num_samples=16, seq_len=48)
    texts, heldout = read_split_text(config)
    assert not {*texts[0].documents} & {*heldout[0].documents}
    job = QuantizeJob(config, resolve_model(str(model)), tuple(texts), Quiet(), tuple(heldout))
    return PagedModel(job.checkpoint, job.source), job


class StoppedError(Exception):
    """As if the process had ended."""


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    imatrix = tmp_path / "imatrix.gguf"  # written once, and no reason to refuse going on
    method = KQuant(type="Q4_1", save_imatrix=str(imatrix))
    settings = {"tune_steps": 2, "tune_passes": 1}
    monkeypatch.setattr(folder, "SAVED_EVERY", 0.0)
    run(model, tmp_path / "out", True, method, **settings)
    whole = (tmp_path / "out" / "model.gguf").read_bytes()
    shutil.rmtree(tmp_path / "out")
    imatrix.unlink()
    save, count = folder.TuningFolder.save, 0

    def stop(self: Any, name: str, state: Any) -> None:
        nonlocal count
        save(self, name, state)
        count += 1
        if count in (4, 10):  # behind the first block, and behind a step of the scales
            raise StoppedError

    monkeypatch.setattr(folder.TuningFolder, "save", stop)
    with pytest.raises(StoppedError):
        run(model, tmp_path / "out", True, method, **settings)
    with pytest.raises(UserError, match=r"other settings \(tune_steps\)"):
        run(model, tmp_path / "out", True, method, **settings | {"tune_steps": 7})
    monkeypatch.setattr(KQuant, "apply", None)  # what was made before is not made again
    with pytest.raises(StoppedError):
        run(model, tmp_path / "out", True, method, **settings)
    assert not (tmp_path / "out").exists()
    _, said = run(model, tmp_path / "out", True, method, **settings)
    assert (tmp_path / "out" / "model.gguf").read_bytes() == whole
    assert any("resuming after block 3 of 3" in text for text in said)


def test_memory_holds_the_bytes_and_a_few_numbers_for_each_block() -> None:
    found = matrix("Q4_K")
    held = [x for x in vars(found).values() if isinstance(x, torch.Tensor)]
    assert sum(x.numel() * x.element_size() for x in held) < 12 * 512
    assert found.blocks.nbytes == 12 * 512 * 4.5 / 8


@pytest.mark.parametrize("kind", block_types(["Q4_K", "Q6_K", "IQ3_S", "Q4_1"]))
def test_a_gradient_taken_in_parts_is_that_of_the_whole(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(1).permutation(12)
    whole, parts = matrix(kind, order), matrix(kind, order)
    gradient = torch.randn(12, 512)
    whole.weight().backward(gradient)
    monkeypatch.setattr("galenic.compression.quantize.tuning.matrix.GRADIENT_VALUES", 5 * 512)
    parts.take_gradient_(gradient)
    torch.testing.assert_close(parts.factor.grad, whole.factor.grad)
    if whole.min_factor is not None:
        torch.testing.assert_close(parts.min_factor.grad, whole.min_factor.grad)


def test_what_cannot_be_tuned_is_said_before_any_work(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama")
    with pytest.raises(UserError, match="--tune changes GGUFs, and --method nf4 makes none"):
        run(model, tmp_path / "out", True, NF4())


@pytest.mark.slow
def test_nothing_is_kept_that_does_not_help(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "model", "llama", hidden_size=64)
    method = KQuant(type="Q8_0")
    run(model, tmp_path / "plain", False, method)
    _, said = run(model, tmp_path / "tuned", True, method, tune_steps=0, tune_passes=0)
    assert any("the file stays as it was" in text for text in said)
    files = [(tmp_path / name / "model.gguf").read_bytes() for name in ("plain", "tuned")]
    assert files[0] == files[1]
