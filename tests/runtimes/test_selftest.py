import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.cache import cache_folder
from galenic.errors import UserError
from galenic.runtimes import selftest
from galenic.runtimes.libllama import LibLlama, load_library
from galenic.runtimes.llama_context import LlamaContext
from galenic.runtimes.selftest import (
    LlamaShape,
    SelfTest,
    reference_logits,
    run_self_test,
    verified_library,
)
from galenic.runtimes.tiles import Rows
from tiny import TinyShape, tiny_tensors, write_tiny_gguf

SHAPES = [TinyShape(), TinyShape(num_layers=3, num_heads=8, num_kv_heads=1, tied=False)]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[LibLlama]:
    """The process's library, as if nothing had been tested yet."""
    library = load_library()
    monkeypatch.setattr(library, "verified", False)
    yield library


def must_not_run(library: LibLlama) -> SelfTest:
    raise AssertionError("the self-test ran again")


def test_the_library_agrees_with_the_reference() -> None:
    result = run_self_test(load_library())
    assert result.passed
    assert 0 < result.max_difference < 0.05  # exactly 0 would mean that nothing was compared


@pytest.mark.parametrize(
    "wrong",
    [
        lambda shape: replace(shape, rope_base=2 * shape.rope_base),
        lambda shape: replace(shape, norm_epsilon=100 * shape.norm_epsilon),
        lambda shape: replace(shape, num_layers=shape.num_layers - 1),
    ],
)
def test_a_wrong_model_does_not_pass(
    wrong: Callable[[LlamaShape], LlamaShape], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        selftest,
        "reference_logits",
        lambda tensors, shape, tokens: reference_logits(tensors, wrong(shape), tokens),
    )
    assert not run_self_test(load_library()).passed


def test_a_library_that_cannot_compute_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = LlamaContext._decode

    def in_one_text(self: Any, rows: Rows) -> None:
        everyone = sorted({number for row in rows.sequences for number in row})
        keep(self, replace(rows, sequences=[everyone] * len(rows)))

    monkeypatch.setattr(LlamaContext, "_decode", in_one_text)
    with pytest.raises(UserError, match="fails the self-test: llama_decode failed"):
        run_self_test(load_library())


def test_a_pass_is_remembered_for_the_file(
    library: LibLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verified_library() is library
    table = cache_folder() / "selftest.json"
    assert json.loads(table.read_text()) == [f"{selftest.VERSION} {library.sha256}"]
    library.verified = False
    monkeypatch.setattr(selftest, "run_self_test", must_not_run)
    verified_library()


@pytest.mark.parametrize("content", ["{", "[]", '{"other": [1, 2, 3]}'])
def test_a_note_that_says_nothing_means_testing(
    content: str, library: LibLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache_folder() / "selftest.json").write_text(content)
    runs = []
    monkeypatch.setattr(
        selftest, "run_self_test", lambda lib: runs.append(lib) or SelfTest(0.001, True, 0.1)
    )
    verified_library()
    assert runs == [library]


def test_a_replaced_file_is_tested_anew(library: LibLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    verified_library()
    monkeypatch.setitem(library.__dict__, "sha256", "0" * 64)
    library.verified = False
    monkeypatch.setattr(selftest, "run_self_test", must_not_run)
    with pytest.raises(AssertionError, match="ran again"):
        verified_library()


@pytest.mark.parametrize("worst", [1.0, float("nan")])
def test_wrong_numbers_are_refused_and_not_remembered(
    worst: float, library: LibLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "_running_text", lambda engine, shape, tensors: [worst, 0.0])
    with pytest.raises(UserError, match=r"computes wrong numbers.*galenic doctor"):
        verified_library()
    assert not library.verified
    assert not (cache_folder() / "selftest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_agrees_with_transformers(shape: TinyShape, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path = write_tiny_gguf(tmp_path / "tiny.gguf", seed=3, shape=shape)
    peer = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32
    )
    tokens = np.random.default_rng(5).integers(3, 260, size=50).tolist()
    with torch.no_grad():
        expected = peer(torch.tensor([tokens])).logits[0].double().numpy()
    ours = LlamaShape(shape.num_layers, shape.num_heads, shape.num_kv_heads)
    given = reference_logits(tiny_tensors(3, shape), ours, tokens)
    np.testing.assert_allclose(given, expected, atol=2e-4)
