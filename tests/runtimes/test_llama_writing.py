"""Texts that the llama runtime writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import greedy, open_tiny, whole_characters

from galenic.errors import UserError
from galenic.runtimes.base import Generation, Writing
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.writing import choose


def ending_prompt() -> str:
    """Two letters after which the reference's likeliest token ends the text."""
    pairs = (a + b for a in "abcdefgh" for b in "mnopqrst")
    return next(pair for pair in pairs if not greedy([3 + byte for byte in pair.encode()], 1))


@pytest.mark.parametrize("prompt", ["The heart", "Question: A", "0"])
def test_greedy_text_is_the_reference_argmax(prompt: str, runtime: LlamaRuntime) -> None:
    expected = greedy(runtime.encode_batch([prompt])[0], 12)
    given = runtime.generate(prompt, Writing(max_tokens=12))
    assert given.num_tokens == len(expected)
    assert given.finished == (len(expected) < 12)
    assert given.text == whole_characters(expected)
    assert runtime.generate(prompt, Writing(max_tokens=12)) == given


def test_an_end_token_finishes_and_is_no_text(runtime: LlamaRuntime) -> None:
    given = runtime.generate(ending_prompt(), Writing(max_tokens=5))
    assert (given.text, given.num_tokens, given.finished) == ("", 0, True)


def test_stop_texts_cut_and_finish(runtime: LlamaRuntime) -> None:
    whole = runtime.generate("The heart", Writing(max_tokens=12))
    stop = whole.text[3:5]
    given = runtime.generate("The heart", Writing(max_tokens=12, stop=("not in it", stop)))
    assert given.finished
    assert given.text == whole.text[: whole.text.index(stop)]
    assert given.num_tokens < whole.num_tokens


def test_a_sampled_text_depends_on_the_seed_alone(runtime: LlamaRuntime) -> None:
    texts = [
        runtime.generate("Why", Writing(max_tokens=8, temperature=1.5, seed=seed)).text
        for seed in (1, 1, 2, 3)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_choices_follow_the_softmax() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], dtype=np.float32)) * 2
    rng = np.random.default_rng(0)
    counts = np.bincount([choose(logits, 2.0, rng) for _ in range(3000)], minlength=3)
    np.testing.assert_allclose(counts / 3000, [0.5, 0.3, 0.2], atol=0.03)
    assert choose(np.array([1, 7, 7, 2], dtype=np.float32), 0.0, rng) == 1  # lowest of equals


def test_a_full_context_cuts_the_text(tmp_path: Path) -> None:
    with open_tiny(tmp_path, context_length=12) as runtime:
        given = runtime.generate("The heart", Writing(max_tokens=50, temperature=1.0))
        length = len(runtime.encode_batch(["The heart"])[0])
        assert (given.num_tokens, given.finished) == (12 - length, False)
        with pytest.raises(UserError, match="leave room"):
            runtime.generate("The heart of the matter is that it beats")
        with pytest.raises(UserError, match="at least 1"):
            runtime.generate("")


BAD = [
    {"max_tokens": 0},
    {"temperature": -1},
    {"temperature": 1e-308},
    {"temperature": float("nan")},
    {"top_p": 0},
    {"top_p": 1.5},
    {"stop": ("",)},
]


@pytest.mark.parametrize("options", BAD)
def test_generate_checks_its_arguments(options: dict[str, object], runtime: LlamaRuntime) -> None:
    with pytest.raises(UserError, match="generate needs"):
        runtime.generate("a", Writing(**options))  # type: ignore[arg-type]


def streamed(
    runtime: LlamaRuntime,
    prompt: str,
    should_continue: Callable[[], bool] = lambda: True,
    **how: Any,
) -> tuple[list[str], Generation]:
    pieces: list[str] = []
    stream = runtime.stream(prompt, Writing(**how), should_continue)
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as done:
            return pieces, done.value


def test_pieces_together_are_the_text(runtime: LlamaRuntime) -> None:
    kinds: list[dict[str, Any]] = [{}, {"temperature": 1.2, "seed": 3}, {"stop": ("e", "zz")}]
    for options in kinds:
        pieces, made = streamed(runtime, "The heart", max_tokens=20, **options)
        assert "".join(pieces) == made.text
        assert made == runtime.generate("The heart", Writing(max_tokens=20, **options))
        assert all(pieces)


def test_a_shared_beginning_changes_nothing(runtime: LlamaRuntime) -> None:
    beginning = "The heart of the matter is that it beats, and then it beats again. " * 4
    prompts = [beginning + end for end in ("", "Why", "Why not", "And")] + ["Other", beginning]
    alone = []
    for prompt in prompts:
        runtime._engine.forget()
        alone.append(runtime.generate(prompt, Writing(max_tokens=10)))
    runtime._engine.forget()
    assert [runtime.generate(prompt, Writing(max_tokens=10)) for prompt in prompts] == alone
    tokens = [runtime._engine.encode(prompt) for prompt in prompts]
    for ids in tokens:
        kept = runtime._engine.start(ids, room=1).copy()
        runtime._engine.forget()
        assert (runtime._engine.start(ids, room=1) == kept).all()  # bit for bit
    scores = runtime.loglikelihood("The heart", [" beats", " stops"])
    runtime.generate(beginning, Writing(max_tokens=3))
    assert runtime.loglikelihood("The heart", [" beats", " stops"]) == scores


def test_nobody_waiting_ends_the_text(runtime: LlamaRuntime) -> None:
    asked = iter([True, True, True, True, False])
    pieces, made = streamed(
        runtime,
        "The heart",
        max_tokens=50,
        temperature=1.0,
        should_continue=lambda: next(asked, False),
    )
    assert not made.finished
    assert made.num_tokens < 5
    assert "".join(pieces) == made.text
    before = streamed(runtime, "The heart", should_continue=lambda: False)
    assert before == ([], Generation("", 0, finished=False))
    assert runtime.generate("The heart", Writing(max_tokens=5)).num_tokens == 5


def test_times_are_those_of_a_prompt_read_anew(runtime: LlamaRuntime) -> None:
    runtime.generate("The heart", Writing(max_tokens=2))
    runtime.time_tokens("The heart", 2)
    assert runtime._engine._context._begun == tuple(runtime._engine.encode("The heart"))


def test_top_p_draws_from_the_likeliest_alone() -> None:
    shares = np.array([0.05, 0.5, 0.15, 0.3])
    logits = np.log(shares).astype(np.float32)
    for top_p, allowed in (
        (0.4, {1}),
        (0.5, {1}),
        (0.7, {1, 3}),
        (0.9, {1, 2, 3}),
        (1.0, {0, 1, 2, 3}),
    ):
        chooser = np.random.default_rng(0)
        drawn = [choose(logits, 1.0, chooser, top_p) for _ in range(2000)]
        assert set(drawn) == allowed, top_p
        for token in allowed:  # in the proportion that they have among themselves
            wanted = shares[token] / shares[list(allowed)].sum()
            assert drawn.count(token) / 2000 == pytest.approx(wanted, abs=0.04)
