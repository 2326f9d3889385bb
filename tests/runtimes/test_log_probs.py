"""Whole next-token distributions: against `score`, against transformers, engine against engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.runtimes.base import Runtime, Writing
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.selftest import LlamaShape, reference_logits
from galenic.runtimes.tree import Request, build_pack
from tiny import tiny_tensors, tiny_vocabulary, write_tiny_gguf

VOCAB = len(tiny_vocabulary())
TOKENS = tuple(np.random.default_rng(3).integers(3, VOCAB, size=150).tolist())


def open_tiny(folder: Path) -> LlamaRuntime:
    path = write_tiny_gguf(folder / "tiny.gguf")
    return LlamaRuntime(ModelFiles("tiny", "gguf", path, "0" * 64), threads=1)


def scores(runtime: Runtime, tokens: tuple[int, ...]) -> Any:
    return runtime.score(build_pack([Request(tokens, 1)]))


def read(log_probs: Any, tokens: tuple[int, ...]) -> Any:
    return log_probs[np.arange(len(tokens) - 1), tokens[1:]]


def test_llama_equals_its_scores_bit_for_bit_and_the_reference(tmp_path: Path) -> None:
    with open_tiny(tmp_path) as runtime:
        expected = scores(runtime, TOKENS)
        found = runtime.log_probs(TOKENS[:-1])
        assert found.shape == (149, VOCAB)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(read(found, TOKENS), expected.astype(np.float32))
        np.testing.assert_array_equal(runtime.log_probs(TOKENS[:-1]), found)
        np.testing.assert_array_equal(scores(runtime, TOKENS), expected)  # nothing was left over
    logits = reference_logits(tiny_tensors(), LlamaShape(), TOKENS[:-1])
    logits -= logits.max(axis=-1, keepdims=True)
    naive = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(found, naive, rtol=0, atol=0.05)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=-1), 1, atol=1e-5)


def test_llama_refuses_no_text_and_too_much(tmp_path: Path) -> None:
    with open_tiny(tmp_path) as runtime:
        with pytest.raises(ValueError, match="at least one"):
            runtime.log_probs([])
        with pytest.raises(ValueError, match="at most 2048"):
            runtime.log_probs([5] * 2049)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_torch_equals_transformers_and_its_scores(tmp_path: Path, family: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    import transformers

    from galenic.runtimes.torch import TorchRuntime
    from tiny_hf import write_tiny_hf

    folder = write_tiny_hf(tmp_path / family, family)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([TOKENS])).logits[0].double()
    with TorchRuntime(resolve_model(str(folder)), threads=1) as runtime:
        found = runtime.log_probs(TOKENS)
        np.testing.assert_allclose(found, torch.log_softmax(logits, -1).numpy(), atol=1e-4, rtol=0)
        np.testing.assert_allclose(read(found, TOKENS), scores(runtime, TOKENS), atol=1e-3, rtol=0)
        pieces = runtime.vocabulary()
        assert len(pieces) == found.shape[1]
        assert (pieces[-1], pieces.index("Ġpatient") > 255) == ("<|im_end|>", True)
        with pytest.raises(ValueError, match="it takes 1 to 512"):
            runtime.log_probs([])


def test_both_engines_agree_and_spell_alike(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    pytest.importorskip("accelerate", reason="needs the train extra")
    from galenic.runtimes.torch import TorchRuntime

    with open_tiny(tmp_path) as llama:
        files = ModelFiles("tiny", "gguf", tmp_path / "tiny.gguf", "0" * 64)
        with TorchRuntime(files, threads=1) as torch:
            assert llama.vocabulary() == torch.vocabulary() == tiny_vocabulary()
            # llama.cpp keeps keys and values in float16
            np.testing.assert_allclose(
                llama.log_probs(TOKENS), torch.log_probs(TOKENS), rtol=0, atol=0.05
            )
            for runtime in (llama, torch):
                times = runtime.time_tokens("Question: what", 12)
                assert len(times) == 12
                assert 0 < times[0] < times[-1] == max(times)
                with pytest.raises(UserError, match="takes 2048 in all"):
                    runtime.time_tokens("a", 2048)


def test_what_follows_is_the_same_whatever_was_there_before(tmp_path: Path) -> None:
    with open_tiny(tmp_path) as runtime:
        expected = scores(runtime, TOKENS)
        other = TOKENS[:90] + TOKENS[:40]
        for text, first in (
            (TOKENS, 0),
            (TOKENS, 100),
            (other, 50),
            (TOKENS, 89),
            (TOKENS[:95], 94),
        ):
            rows = np.array(list(runtime.follow(text, first)))
            assert rows.shape == (len(text) - first, VOCAB)
            alone = open_tiny(tmp_path).follow(text, 0)
            np.testing.assert_array_equal(rows, np.array(list(alone))[first:])
            runtime.generate("The heart", Writing(max_tokens=3))
            next(runtime.follow(text, 3))  # begun and left
        np.testing.assert_array_equal(scores(runtime, TOKENS), expected)
        np.testing.assert_array_equal(
            np.array(list(Runtime.follow(runtime, TOKENS, 149))), runtime.log_probs(TOKENS)[149:]
        )
        for wrong in (-1, len(TOKENS)):
            with pytest.raises(ValueError, match="place"):
                next(runtime.follow(TOKENS, wrong))


def test_ends_of_a_text_are_computed_together_with_the_same_bits(tmp_path: Path) -> None:
    ends = [5, 9, 5, 200]
    with open_tiny(tmp_path) as runtime:
        for text in (TOKENS[:1], TOKENS[:80], TOKENS[:60], TOKENS):
            expected = [list(open_tiny(tmp_path).follow((*text, end), 0))[-1] for end in ends]
            np.testing.assert_array_equal(list(runtime.after(text, ends)), expected)
            np.testing.assert_array_equal(list(Runtime.after(runtime, text, ends)), expected)
            next(runtime.after(text, ends))  # begun and left
            np.testing.assert_array_equal(scores(runtime, TOKENS), scores(runtime, TOKENS))
        many = list(range(3, 130))
        found = list(runtime.after(TOKENS, many))
        np.testing.assert_array_equal(found[-1], next(runtime.after(TOKENS, many[-1:])))
        assert len(found) == len(many)
        for wrong in ((), (5,) * 2048):
            with pytest.raises(ValueError, match=r"at least one token|at most 2048"):
                next(runtime.after(wrong, ends))
