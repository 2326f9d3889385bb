"""Perplexity and divergence against naive loops, hand computations and transformers' own loss."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from galenic.artifact.manifest import Manifest, Parent, Stage
from galenic.bootstrap import ratio_estimate
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.evaluation.alignment import (
    align,
    first_scored,
    match_vocabularies,
    piece_lengths,
    token_ends,
)
from galenic.evaluation.config import DivergenceConfig
from galenic.evaluation.divergence import compare_rows, measure_divergence
from galenic.evaluation.parent import find_reference
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from tiny import write_tiny_gguf

TEXT = "The patient of the clinic: answer yes or no.\n\nÄ fever of 38 °C, then a rash.\n\n" * 12


class Quiet:
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        pass


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def config(text: Path, **changes: Any) -> DivergenceConfig:
    options = {"model": "m", "text": str(text), "num_samples": 4, "seq_len": 40, "threads": 1}
    return DivergenceConfig(**(options | changes))


def random_rows(seed: int, rows: int, size: int) -> Any:
    logits = np.random.default_rng(seed).normal(size=(rows, size)) * 3
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def naive_kl(p: list[float], q: list[float]) -> float:
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))


def test_rows_against_a_naive_loop() -> None:
    p, q = random_rows(0, 7, 50), random_rows(1, 7, 50)
    kl, same, dropped = compare_rows(p, q, np.arange(50))
    expected = [naive_kl(a.tolist(), b.tolist()) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(kl, expected, rtol=1e-5)
    assert same.tolist() == [bool(a.argmax() == b.argmax()) for a, b in zip(p, q, strict=True)]
    assert not dropped.any()
    assert compare_rows(p, p, np.arange(50))[0].tolist() == [0.0] * 7


def test_a_pruned_vocabulary_by_hand() -> None:
    """Kept: pieces 0 and 2 of three, in the other order; 0.5 and 0.2 become 5/7 and 2/7."""
    p = np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float32))
    q = np.log(np.array([[0.4, 0.6]], dtype=np.float32))
    kl, same, dropped = compare_rows(p, q, np.array([2, 0]))
    by_hand = 5 / 7 * math.log(5 / 7 / 0.6) + 2 / 7 * math.log(2 / 7 / 0.4)
    assert kl[0] == pytest.approx(by_hand, rel=1e-5)
    assert dropped[0] == pytest.approx(0.3, rel=1e-5)
    assert same[0]


def test_two_cuts_of_one_text() -> None:
    """`<s>|ab|c|def|g` and `<s>|ab|c|d|ef|g`: alike before ab, c and g."""
    pieces = ["<s>", "ab", "c", "def", "g", "d", "ef", "Ġ", "Ċ"]
    lengths = piece_lengths(pieces)
    a = token_ends([0, 1, 2, 3, 4], lengths, 1)
    b = token_ends([0, 1, 2, 5, 6, 4], lengths, 1)
    assert a.tolist() == [0, 2, 3, 6, 7]
    assert b.tolist() == [0, 2, 3, 4, 6, 7]
    assert align(a, b).tolist() == [[0, 0], [1, 1], [3, 4]]
    assert first_scored(a, b) == (1, 1)
    assert first_scored(a[1:], b) == (1, 2)


def test_lengths_in_a_vocabulary_of_text() -> None:
    assert piece_lengths(["▁the", "é", "<0xC3>", None]).tolist() == [4, 2, 1, 0]


def test_vocabularies_match_by_spelling() -> None:
    parent = ["a", "b", "c", None]
    assert match_vocabularies(parent, ["c", "a"]).tolist() == [2, 0]  # type: ignore[union-attr]
    assert match_vocabularies(parent, parent).tolist() == [0, 1, 2, -1]  # type: ignore[union-attr]
    assert match_vocabularies(parent, ["c", "x"]) is None


def test_the_interval_of_equal_and_of_unequal_sequences() -> None:
    found = ratio_estimate([2.0] * 5, [4] * 5, 0, np.exp)
    assert (found.value, found.low, found.high) == pytest.approx((math.exp(0.5),) * 3)
    rng = np.random.default_rng(0)
    values = rng.normal(3, 1, size=200)
    found = ratio_estimate(values.tolist(), [1] * 200, 1)
    half = 1.96 * values.std() / 200**0.5
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    with pytest.raises(ValueError, match="no counts"):
        ratio_estimate([1.0], [0], 0)


def test_intervals_are_those_of_scipy() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    counts = rng.integers(50, 500, 64).astype(float)
    sums = counts * rng.normal(2.6, 0.3, 64)
    found = ratio_estimate(sums.tolist(), counts.tolist(), 7)
    expected = bootstrap(
        (sums, counts),
        lambda above, below, axis=-1: above.sum(axis) / below.sum(axis),
        paired=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.slow
def test_perplexity_is_exp_of_the_loss_of_transformers(tmp_path: Path, text: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    import transformers

    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    found = measure_divergence(
        resolve_model(str(folder)), None, config(text, num_samples=1), Quiet()
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    from galenic.data.calibration import read_heldout_text
    from galenic.evaluation.divergence import _cut
    from galenic.runtimes.torch import TorchRuntime

    with TorchRuntime(resolve_model(str(folder)), threads=1) as runtime:
        (sample,) = _cut(runtime, read_heldout_text(config(text)), config(text, num_samples=1))
    ids = tokenizer(sample, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        loss = float(model(ids, labels=ids).loss)
    assert found.model.perplexity.value == pytest.approx(math.exp(loss), rel=1e-4)
    assert found.model.num_tokens == ids.shape[1] - 1
    assert found.num_bytes == len(sample.encode())  # a start token stands before the first
    bits = loss * found.model.num_tokens / math.log(2) / found.num_bytes
    assert found.model.bits_per_byte.value == pytest.approx(bits, rel=1e-4)
    assert found.kl is found.reference is None


def gguf(path: Path, seed: int = 0) -> ModelFiles:
    return ModelFiles(path.stem, "gguf", write_tiny_gguf(path, seed=seed), "0" * 64)


def test_against_itself_and_against_another(tmp_path: Path, text: Path) -> None:
    one, other = gguf(tmp_path / "a.gguf"), gguf(tmp_path / "b.gguf", seed=1)
    same = measure_divergence(one, one, config(text), Quiet())
    assert same.kl is not None
    assert (same.kl.mean.value, same.kl.percentile_99, same.kl.same_top.value) == (0, 0, 1)
    assert (same.kl.compared, same.kl.dropped_mass) == (1, 0)
    assert same.perplexity_ratio is not None
    assert (same.perplexity_ratio.low, same.perplexity_ratio.high) == (1, 1)
    apart = measure_divergence(other, one, config(text), Quiet())
    assert apart.kl is not None
    assert apart.reference is not None
    assert apart.kl.mean.low > 0.1
    assert apart.kl.num_tokens == apart.model.num_tokens == apart.reference.num_tokens
    assert apart.perplexity_ratio is not None
    assert apart.perplexity_ratio.value == pytest.approx(
        apart.model.perplexity.value / apart.reference.perplexity.value
    )
    assert apart.reference.perplexity == same.reference.perplexity  # type: ignore[union-attr]


def test_the_parent_that_the_manifest_names(tmp_path: Path) -> None:
    parent = write_tiny_gguf(tmp_path / "parent.gguf")
    folder = tmp_path / "made"
    folder.mkdir()
    child = gguf(folder / "model.gguf")
    assert find_reference(child, None) is None
    assert find_reference(child, "none") is None
    named = find_reference(child, str(parent))
    assert named is not None
    write_stage(folder, str(parent), named.sha256)
    assert find_reference(child, None) == named
    assert find_reference(child, "none") is None
    write_stage(folder, str(parent), "1" * 64)
    with pytest.raises(UserError, match=r"other weights.*--against none for none"):
        find_reference(child, None)
    write_stage(folder, str(tmp_path / "gone.gguf"), "1" * 64)
    with pytest.raises(UserError, match=r"which is not found.*--against"):
        find_reference(child, None)


def write_stage(folder: Path, name: str, sha256: str) -> None:
    from galenic.artifact.manifest import MANIFEST

    known = {"stage": "prune", "method": "m", "reference_url": "u", "options": {}, "removed": {}}
    known |= {"calibration": None, "parameters": {}, "checks": {}, "versions": {}}
    stage = Stage(parent=Parent(name=name, sha256=sha256), **known)
    manifest = Manifest(stages=(stage,), files={})
    (folder / MANIFEST).write_text(manifest.model_dump_json())


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["perplexity", *arguments], catch_exceptions=False)


def test_the_command(tmp_path: Path, text: Path) -> None:
    model = gguf(tmp_path / "a.gguf").path
    usual = ["--text", str(text), "--num-samples", "3", "--seq-len", "32", "--threads", "1"]
    out = tmp_path / "out.json"
    done = run(str(model), *usual, "--against", str(model), "--json", "-o", str(out))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert json.loads(done.stdout)["kl"]["mean"]["value"] == 0
    shown = run(str(model), *usual)
    assert "perplexity" in shown.stdout
    assert "KL" not in shown.stdout
    with pytest.raises(UserError, match="needs text"):
        run(str(model))
    with pytest.raises(UserError, match="there is no folder"):
        run(str(model), *usual, "-o", str(tmp_path / "no" / "x.json"))
    with pytest.raises(UserError, match="Lower --num-samples"):
        run(str(model), *usual[:2], "--num-samples", "4000")


def test_a_pruned_vocabulary_reads_the_same_text(tmp_path: Path, text: Path) -> None:
    """A model without merges against its parent: bytes compare, KL runs where both cut alike."""
    torch = pytest.importorskip("torch", reason="needs the train extra")
    import transformers

    from tiny_hf import write_tiny_hf

    parent = write_tiny_hf(tmp_path / "parent", "qwen2")
    child = tmp_path / "child"
    model = transformers.AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    tokenizer = json.loads((parent / "tokenizer.json").read_text())
    kept = drop_merges(tokenizer)
    embedding = model.get_input_embeddings().weight.detach().clone()
    head = model.lm_head.weight.detach().clone()
    model.resize_token_embeddings(len(kept))
    model.get_input_embeddings().weight.data = embedding[kept]
    model.lm_head.weight.data = head[kept]
    for name, back in (("pad", 4), ("bos", 3), ("eos", 1)):  # special tokens stand last
        for holder in (model.config, model.generation_config):
            setattr(holder, f"{name}_token_id", len(kept) - back)
    model.save_pretrained(child)
    for name in ("tokenizer_config.json",):
        (child / name).write_text((parent / name).read_text())
    (child / "tokenizer.json").write_text(json.dumps(tokenizer))
    files = resolve_model(str(child)), resolve_model(str(parent))
    found = measure_divergence(*files, config(text), Quiet())
    rounded = measure_divergence(
        *files, config(text).model_copy(update={"dtype": "mixed"}), Quiet()
    )
    nats = [one.model.bits_per_byte.value for one in (found, rounded)]
    assert 0 < abs(nats[1] - nats[0]) < 0.05 * nats[0]
    assert found.kl is not None
    assert found.reference is not None
    assert found.model.num_tokens > found.reference.num_tokens
    assert 0 < found.kl.compared < 1
    assert 0 < found.kl.dropped_mass < 1
    nats = found.model.bits_per_byte.value * math.log(2) * found.num_bytes
    assert found.perplexity_per_reference_token is not None
    assert found.perplexity_per_reference_token.value == pytest.approx(
        math.exp(nats / found.reference.num_tokens)
    )


def drop_merges(tokenizer: dict[str, Any]) -> list[int]:
    """Leave bytes and special tokens; returns the ids kept."""
    old = tokenizer["model"]["vocab"]
    special = [token["id"] for token in tokenizer["added_tokens"]]
    kept = [number for piece, number in old.items() if len(piece) == 1] + special
    place = {number: new for new, number in enumerate(kept)}
    tokenizer["model"]["vocab"] = {
        piece: place[number] for piece, number in old.items() if number in place
    }
    tokenizer["model"]["merges"] = []
    for token in tokenizer["added_tokens"]:
        token["id"] = place[token["id"]]
    return kept
