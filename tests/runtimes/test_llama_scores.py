"""Scores of the llama runtime: right, and the same bits whatever is beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_llama import PER_TOKEN, VOCAB, model_files, open_tiny, random_requests, reference_scores

from galenic.compression.quantize.kquant import quantize_gguf, uniform_types
from galenic.errors import UserError
from galenic.models.gguf.copy import gguf_source
from galenic.runtimes.base import Writing, encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from tiny import TinyShape, write_tiny_gguf


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("prefix_length", [0, 3, 5])
def test_scores_equal_the_float64_reference(
    seed: int, prefix_length: int, runtime: LlamaRuntime
) -> None:
    requests = random_requests(seed)
    pack = build_pack(requests, requests[0].tokens[:prefix_length])
    assert pack.num_leaves > 3
    given = sum_by_request(pack, runtime.score(pack))
    lengths = np.array([len(r.tokens) - r.start for r in requests])
    assert np.all(np.abs(given - reference_scores(requests)) < PER_TOKEN * lengths)


@pytest.mark.parametrize("seed", range(3))
def test_sharing_changes_no_bit(seed: int, runtime: LlamaRuntime) -> None:
    requests = random_requests(seed)
    alone = np.concatenate([runtime.score(build_pack([request])) for request in requests])
    for prefix_length in range(6):  # some packs then have a prefix or a tree of one row
        prefix = requests[0].tokens[:prefix_length]
        np.testing.assert_array_equal(runtime.score(build_pack(requests, prefix)), alone)
    request = Request(requests[0].tokens, len(requests[0].tokens) - 1)
    one_row = build_pack([request], request.tokens[:-2])
    assert len(one_row.tokens) == 1
    np.testing.assert_array_equal(runtime.score(one_row), runtime.score(build_pack([request])))


@pytest.mark.slow
def test_sharing_changes_no_bit_with_quantized_weights(small_model: LlamaRuntime) -> None:
    """Nor do packs scored before or other uses in between."""
    questions = ["Is scurvy a lack of iron?", "Is gout due to urate? " * 10, "Why so?"]
    groups = [
        encode_requests(
            small_model,
            [(f"Question: {text}\nAnswer:", f" {o}") for o in ("yes", "no", "it may well be")],
        )
        for text in questions
    ]
    requests = [request for group in groups for request in group]
    alone = np.concatenate([small_model.score(build_pack([request])) for request in requests])
    pack = build_pack(requests, requests[0].tokens[:2])
    assert len(pack.tokens) > 64 > len(pack.prefix) > 0
    np.testing.assert_array_equal(small_model.score(pack), alone)
    small_model.generate("Something else entirely", Writing(max_tokens=3))
    few = [small_model.score(build_pack(group, group[0].tokens[:5])) for group in groups]
    np.testing.assert_array_equal(np.concatenate(few), alone)


@pytest.mark.slow
@pytest.mark.parametrize("type_name", ["Q4_0", "Q8_0", "IQ4_NL", "Q4_K", "Q6_K"])
@pytest.mark.parametrize("threads", [1, 2])
def test_sharing_changes_no_bit_with_types_that_are_interleaved(
    type_name: str, threads: int, tmp_path: Path
) -> None:
    """Kernels for many rows and for what is left over sum in different orders."""
    shape = TinyShape(hidden_size=256, ffn_size=512, num_heads=4, num_kv_heads=2)
    source = gguf_source(write_tiny_gguf(tmp_path / "tiny.gguf", shape=shape))
    quantize_gguf(source, tmp_path / "q.gguf", uniform_types(source, type_name))
    tokens = np.random.default_rng(5).integers(3, VOCAB, size=140).tolist()
    with LlamaRuntime(model_files(tmp_path / "q.gguf"), threads=threads) as runtime:
        whole = runtime.log_probs(tokens)
        for size in (1, 2, 3, 5, 37, 62, 79, 121):
            np.testing.assert_array_equal(runtime.log_probs(tokens[:size]), whole[:size])
        requests = [Request(tuple(tokens[:size]), size - 3) for size in (17, 62, 63, 120)]
        alone = np.concatenate([runtime.score(build_pack([request])) for request in requests])
        for prefix in (0, 1, 6, 13):
            pack = build_pack(requests, tuple(tokens[:prefix]))
            np.testing.assert_array_equal(runtime.score(pack), alone)
        engine = runtime._engine
        for size in (30, 61, 140):
            engine.forget()
            expected = engine.start(tokens[:size], room=1).copy()
            for kept in (1, 5, 22, 29):
                engine.start([*tokens[:kept], 7, 8, 9], room=1)
                np.testing.assert_array_equal(engine.start(tokens[:size], room=1), expected)


@pytest.mark.slow
def test_long_texts_take_several_batches_and_a_larger_context(runtime: LlamaRuntime) -> None:
    short = random_requests(1)
    before = runtime.score(build_pack(short))
    rng = np.random.default_rng(0)
    stem = rng.integers(3, VOCAB, size=700).tolist()
    long = [
        Request((*stem, *rng.integers(3, VOCAB, size=600).tolist(), 65 + i), 1300 - 4 * i)
        for i in range(2)
    ]
    pack = build_pack(long, tuple(stem[:300]))
    assert len(pack.tokens) + 300 > 1024
    given = sum_by_request(pack, runtime.score(pack))
    np.testing.assert_allclose(given, reference_scores(long), atol=PER_TOKEN * 5)
    np.testing.assert_array_equal(runtime.score(build_pack(short)), before)


def test_a_pack_may_read_a_row_twice_and_hold_nothing_to_read(runtime: LlamaRuntime) -> None:
    requests = [Request((10, 20, 30, token), 3) for token in (40, 41, 40)]
    given = runtime.score(build_pack(requests))
    assert given[0] == given[2] != given[1]
    np.testing.assert_allclose(given, reference_scores(requests), atol=PER_TOKEN)


def test_too_long_and_too_wide_packs_are_errors(tmp_path: Path) -> None:
    with open_tiny(tmp_path, context_length=16) as runtime:
        assert runtime.info.context_length == 16
        runtime.score(build_pack([Request(tuple(range(3, 20)), 1)]))  # its last token is not run
        with pytest.raises(ValueError, match="17 tokens; the model takes at most 16"):
            runtime.score(build_pack([Request(tuple(range(3, 21)), 1)]))
        wide = [Request((5, 6 + i % 200, 7 + i // 200, 8), 2) for i in range(300)]
        with pytest.raises(ValueError, match="300 paths in a tree; at most 254"):
            runtime.score(build_pack(wide))
        widest = wide[: runtime.max_leaves]
        given = runtime.score(build_pack(widest))
        np.testing.assert_allclose(given.sum(), reference_scores(widest).sum(), rtol=1e-3)


def test_a_context_that_memory_cannot_hold_is_refused(
    runtime: LlamaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(UserError, match="Close other programs"):
        runtime.loglikelihood("a", [" b"])
