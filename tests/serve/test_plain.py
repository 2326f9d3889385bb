"""Texts continued and scored: the numbers are those of the runtime, whatever form asks for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside import Inside

from galenic.models.load import resolve_model
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from tiny import write_tiny_gguf

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PATH = "/v1/completions"
SCORE = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, "seed": 1234}
STEM = "Question: Which one?\nAnswer:"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "start"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "tiny.gguf"
    return write_tiny_gguf(path, add_bos=request.param)


@pytest.fixture(scope="module")
def alone(model: Path) -> Iterator[LlamaRuntime]:
    with LlamaRuntime(resolve_model(str(model)), threads=1) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Inside]:
    found = Inside(LlamaRuntime(resolve_model(str(model)), threads=1), max_tokens=32)
    yield found
    found.close()


def made(server: Inside, prompt: Any, **more: Any) -> list[dict[str, Any]]:
    status, found = server.send(PATH, {"prompt": prompt, **more})
    assert status == 200, found
    assert found["object"] == "text_completion"
    choices: list[dict[str, Any]] = found["choices"]
    assert [one["index"] for one in choices] == list(range(len(choices)))
    return choices


def own(runtime: LlamaRuntime, text: str) -> list[int]:
    """Tokens without the start token."""
    return runtime.encode_batch([text])[0][len(runtime.encode_batch([""])[0]) :]


def rows_of(runtime: LlamaRuntime, text: str) -> list[float | None]:
    """Log-probability of each token of a text, and of the likeliest next one, by another way."""
    start = runtime.encode_batch([""])[0]
    tokens = runtime.encode_batch([text])[0]
    rows = runtime.log_probs(tokens).astype(np.float64)
    found: list[float | None] = [None] if not start else []
    found += [float(rows[i, token]) for i, token in enumerate(tokens[1:])]
    return [*found, float(rows[-1].max())]


TEXTS = [f"{STEM} A", f"{STEM} B", "Ça fait mal 😀?", f"{STEM} Aspirin", f"{STEM} A"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("as_tokens", [True, False])
def test_scores_are_those_of_the_runtime(
    server: Inside, alone: LlamaRuntime, together: bool, as_tokens: bool
) -> None:
    prompts = [own(alone, text) if as_tokens else text for text in TEXTS]
    if together:
        choices = made(server, prompts, **SCORE)
    else:
        choices = [made(server, prompt, **SCORE)[0] for prompt in prompts]
    for text, choice in zip(TEXTS, choices, strict=True):
        found = choice["logprobs"]
        expected = rows_of(alone, text)
        assert len(found["tokens"]) == len(expected) == len(found["top_logprobs"])
        assert [one is None for one in found["token_logprobs"]] == [one is None for one in expected]
        np.testing.assert_allclose(
            [one or 0.0 for one in found["token_logprobs"]],
            [one or 0.0 for one in expected],
            atol=2e-6,  # `log_probs` gives float32
        )
        for value, top in zip(found["token_logprobs"], found["top_logprobs"], strict=True):
            assert top is None or value in top.values()
            assert top is None or value <= max(top.values())
        assert choice["text"].startswith(text)
        assert choice["finish_reason"] in ("stop", "length")


def test_scores_are_the_same_bits_in_any_company(server: Inside) -> None:
    alone = [made(server, text, **SCORE)[0]["logprobs"] for text in TEXTS]
    together = [one["logprobs"] for one in made(server, TEXTS[::-1], **SCORE)][::-1]
    assert alone == together


def test_a_continuation_is_scored_as_evaluate_does(server: Inside, alone: LlamaRuntime) -> None:
    """As lm-evaluation-harness reads it: all behind the context but the last."""
    ends = [" A", " B", " Aspirin", " none of these"]
    expected = alone.loglikelihood(STEM, ends)
    behind = len(own(alone, STEM))
    choices = made(server, [own(alone, STEM + end) for end in ends], **SCORE)
    found = [sum(one["logprobs"]["token_logprobs"][behind:-1]) for one in choices]
    assert found == pytest.approx(expected, abs=1e-12)


def test_nothing_is_written_where_nothing_is_asked_for(server: Inside, alone: LlamaRuntime) -> None:
    [found] = made(server, STEM, echo=True, logprobs=0, max_tokens=0)
    assert found["text"] == STEM
    assert len(found["logprobs"]["tokens"]) == len(own(alone, STEM))
    assert "".join(found["logprobs"]["tokens"]) == STEM
    offsets = found["logprobs"]["text_offset"]
    assert offsets[0] == 0
    for at, piece in zip(offsets, found["logprobs"]["tokens"], strict=True):
        assert STEM[at : at + len(piece)] == piece
    [nothing] = made(server, STEM, max_tokens=0)
    assert (nothing["text"], nothing["logprobs"]) == ("", None)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.5, "seed": 7}, {"stop": ["e"]}])
def test_a_text_is_continued_as_the_runtime_does(
    server: Inside, alone: LlamaRuntime, how: dict[str, Any]
) -> None:
    settings = {**how, "stop": tuple(how.get("stop", ()))}
    expected = alone.generate("The heart", Writing(max_tokens=12, **settings))
    for prompt in ("The heart", own(alone, "The heart")):
        for more in ({}, {"logprobs": 2}, {"logprobs": 2, "echo": True}):
            [found] = made(server, prompt, max_tokens=12, **how, **more)
            assert found["text"] == ("The heart" if "echo" in more else "") + expected.text
            assert found["finish_reason"] == ("stop" if expected.finished else "length")
            if not more:
                continue
            rest = found["logprobs"]
            lengths = {len(rest[name]) for name in rest}
            assert len(lengths) == 1
            assert lengths.pop() >= expected.num_tokens


def test_one_token_is_the_same_by_both_ways(server: Inside) -> None:
    for how in ({}, {"temperature": 2.0, "seed": 3}, {"temperature": 2.0, "seed": 4}):
        [long] = made(server, STEM, max_tokens=2, logprobs=3, **how)
        [short] = made(server, STEM, max_tokens=1, logprobs=3, echo=True, **how)
        assert short["logprobs"]["tokens"][-1] == long["logprobs"]["tokens"][0]
        assert short["logprobs"]["token_logprobs"][-1] == pytest.approx(
            long["logprobs"]["token_logprobs"][0], abs=1e-5
        )


def test_many_answers_have_seeds_of_their_own(server: Inside) -> None:
    how = {"max_tokens": 8, "temperature": 2.0}
    four = [one["text"] for one in made(server, [STEM, "The"], n=2, seed=5, **how)]
    singly = [
        made(server, prompt, seed=seed, **how)[0]["text"]
        for prompt in (STEM, "The")
        for seed in (5, 6)
    ]
    assert four == singly
    assert len(set(four)) == 4


def test_a_stream_is_the_text_in_pieces(server: Inside) -> None:
    [whole] = made(server, STEM, max_tokens=12)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    _, text = server.send(PATH, {"prompt": STEM, "max_tokens": 12, **more})
    lines = [line.removeprefix("data: ") for line in text.strip().split("\n\n")]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert "".join(one["choices"][0]["text"] for one in events) == whole["text"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert events[-1]["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "a list of tokens"),
        ({"prompt": [[]]}, "a list of tokens"),
        ({"prompt": [1, "a"]}, "a list of tokens"),
        ({"prompt": [True]}, "a list of tokens"),
        ({"prompt": {"a": 1}}, "a list of tokens"),
        ({"prompt": [10**6]}, "not a token id of this model"),
        ({"prompt": [-1]}, "not a token id of this model"),
        ({"prompt": "x" * 3000}, "tokens"),
        ({"prompt": "x" * 3000, **SCORE}, "1 to 2048"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": ["a"] * 200, "n": 8}, "at most 1024"),
        ({"prompt": "a", "logprobs": 50}, "logprobs"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a", "best_of": 3}, "not supported"),
        ({"prompt": "a", "suffix": "b"}, "not supported"),
        ({"prompt": "a", "messages": []}, "not known"),
        ({"prompt": "a", "stream": True, "logprobs": 1}, "stream"),
    ],
)
def test_what_cannot_be_continued_is_said(server: Inside, body: dict[str, Any], words: str) -> None:
    status, told = server.send(PATH, body)
    assert status == 400
    assert words in told["error"]["message"]


def test_an_empty_text_needs_a_start_token(server: Inside, alone: LlamaRuntime) -> None:
    status, _ = server.send(PATH, {"prompt": "", "max_tokens": 2})
    assert status == (200 if alone.encode_batch([""])[0] else 400)


def test_tokens_come_and_go(server: Inside, alone: LlamaRuntime) -> None:
    text = "Ça fait mal 😀 <|im_end|>?"
    start = alone.encode_batch([""])[0]
    for body, before in (
        ({"prompt": text}, start),
        ({"prompt": text, "add_special_tokens": False}, []),
        ({"content": text}, []),
        ({"content": text, "add_special": True}, start),
    ):
        status, found = server.send("/tokenize", body)
        assert status == 200
        assert found["tokens"] == [*before, *own(alone, text)]
        assert found["count"] == len(found["tokens"])
    status, back = server.send("/detokenize", {"tokens": own(alone, text)})
    assert (status, back["prompt"]) == (200, text)
    status, info = server.send("/tokenizer_info")
    assert info["eos_token"] == alone.special_tokens["eos_token"]
    assert server.send("/tokenize", {"prompt": info["eos_token"], "add_special_tokens": False})[1][
        "count"
    ] == 1  # fmt: skip
    assert server.send("/tokenize", {})[0] == 400
    assert server.send("/detokenize", {"tokens": [10**6]})[0] == 400


def test_a_cry_for_help_has_a_field_of_its_own(server: Inside) -> None:
    plain = {"prompt": ["The heart", "I want to kill myself"], **SCORE}
    status, found = server.send(PATH, plain)
    assert status == 200
    assert found["galenic"]["crisis"]["lines"]
    assert found["choices"][1]["text"].startswith("I want to kill myself")
    alone = made(server, "I want to kill myself", **SCORE)[0]
    assert alone["logprobs"] == found["choices"][1]["logprobs"]
    assert "galenic" not in server.send(PATH, {"prompt": "The heart", "max_tokens": 1})[1]


@pytest.mark.slow
def test_the_openai_client_reads_it(server: Inside, model: Path) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")
    [choice] = client.completions.create(model=str(model), prompt=STEM, **SCORE).choices
    assert choice.logprobs.token_logprobs == made(server, STEM, **SCORE)[0]["logprobs"][
        "token_logprobs"
    ]  # fmt: skip


def test_options_of_one_token_share_their_batches(
    alone: LlamaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four letters behind one question: its rows, and one tile for the letters."""
    from galenic.runtimes.llama_context import LlamaContext
    from galenic.serve.scores import Scorer

    rows: list[int] = []
    run = LlamaContext.run

    def counted(self: LlamaContext, batch: Any) -> None:
        rows.append(len(batch))
        run(self, batch)

    stem = own(alone, STEM)
    prompts = [(*stem, end) for end in (10, 20, 30, 40)]
    expected = {one: list(alone.follow(one, 0)) for one in prompts}
    monkeypatch.setattr(LlamaContext, "run", counted)
    alone._engine.forget()
    found = Scorer(alone).score(prompts, 1, lambda: True)
    assert sum(rows) == len(stem) + 4
    for prompt in prompts:
        for place, token, row in zip(
            found[prompt].places[1:], prompt[1:], expected[prompt], strict=False
        ):
            assert place is not None
            assert place.log_prob == row[token]
            assert place.top == ((int(row.argmax()), row.max()),)
        assert (found[prompt].after == expected[prompt][-1]).all()
        assert len(found[prompt].places) == len(prompt)
