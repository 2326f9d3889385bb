"""The torch runtime against transformers' own attention, one text at a time, for every family."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.runtimes.base import Writing, encode_requests
from galenic.runtimes.tree import Request, build_pack, sum_by_request
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hf")
    return {family: write_tiny_hf(root / family, family, seed=3) for family in FAMILIES}


def load(folder: Path, **options: object) -> object:
    from galenic.runtimes.torch import TorchRuntime

    return TorchRuntime(ModelFiles(folder.name, "folder", folder, "0" * 64), threads=1, **options)


def forest(size: int, seed: int, prefix: tuple[int, ...] = ()) -> list[Request]:
    """Stems with branching continuations: chains, small bushes and large ones, past the window."""
    rng = random.Random(seed)

    def words(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1, size) for _ in range(n))

    asked = []
    for stem_length, branches in ((20, 5), (3, 30), (60, 1), (35, 4)):
        stem = (*prefix, *words(stem_length))
        for _ in range(branches):
            branch = stem + words(rng.choice([1, 4, 40]))
            for _ in range(rng.choice([1, 3])):
                tokens = branch + words(rng.randrange(2, 6))
                asked.append(Request(tokens, len(branch)))
    return asked


def naive(folder: Path, asked: list[Request]) -> list[float]:
    """Each request alone through an untouched model with eager attention, float64 softmax."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    values = []
    for request in asked:
        with torch.no_grad():
            logits = model(torch.tensor([request.tokens]), use_cache=False).logits[0].double()
        logprobs = logits.log_softmax(-1)
        values.append(
            sum(
                float(logprobs[at - 1, request.tokens[at]])
                for at in range(request.start, len(request.tokens))
            )
        )
    return values


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", [(), tuple(range(5, 25))], ids=["plain", "prefix"])
def test_packed_scores_equal_separate_ones(
    folders: dict[str, Path], family: str, prefix: tuple[int, ...]
) -> None:
    with load(folders[family]) as runtime:
        assert runtime.packs, "this family is meant to run packed"
        asked = forest(200, 1, prefix)
        pack = build_pack(asked, prefix)
        found = sum_by_request(pack, runtime.score(pack))
        again = sum_by_request(pack, runtime.score(pack))
        np.testing.assert_allclose(found, naive(folders[family], asked), rtol=0, atol=2e-3)
        np.testing.assert_array_equal(found, again)


def test_prefix_state_does_not_leak_into_other_packs(folders: dict[str, Path]) -> None:
    with load(folders["llama"]) as runtime:
        plain, first, second = forest(200, 1), forest(200, 2, (7,) * 18), forest(200, 3, (8,) * 18)
        before = runtime.score(build_pack(plain))
        for asked, prefix in ((first, (7,) * 18), (second, (8,) * 18), (first, (7,) * 18)):
            pack = build_pack(asked, prefix)
            found = sum_by_request(pack, runtime.score(pack))
            np.testing.assert_allclose(found, naive(folders["llama"], asked), rtol=0, atol=2e-3)
        np.testing.assert_array_equal(runtime.score(build_pack(plain)), before)


def test_unknown_attention_is_computed_path_by_path(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from galenic.runtimes import tree_attention

    monkeypatch.setattr(tree_attention.TreePlan, "mask", lambda *_: None)  # a wrong attention
    with load(folders["llama"]) as runtime:
        assert not runtime.packs
        assert "packing is off" in caplog.text
        asked = forest(200, 1, (4, 5))
        pack = build_pack(asked, (4, 5))
        found = sum_by_request(pack, runtime.score(pack))
        np.testing.assert_allclose(found, naive(folders["llama"], asked), rtol=0, atol=2e-3)


def test_a_tree_cut_into_blocks_covers_every_row_once() -> None:
    from galenic.runtimes.tree_attention import plan_blocks

    pack = build_pack(forest(200, 5))
    rows = sorted(row for block in plan_blocks(pack) for row in range(block.start, block.end))
    assert rows == list(range(len(pack.tokens)))


def test_greedy_generation_is_the_argmax_chain(folders: dict[str, Path]) -> None:
    prompt = "Question: the patient"
    with load(folders["qwen2"]) as runtime:
        model = transformers.AutoModelForCausalLM.from_pretrained(folders["qwen2"])
        tokens = runtime.encode_batch([prompt])[0]
        for _ in range(12):
            with torch.no_grad():
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        made = runtime.generate(prompt, Writing(max_tokens=12))
        assert made.text == runtime.decode(tokens[-12:])
        assert made.num_tokens == 12
        assert runtime.packs  # scoring still works after generating
        sampled = [
            runtime.generate(prompt, Writing(max_tokens=12, temperature=1.0, seed=s)).text
            for s in (1, 1, 2)
        ]
        assert sampled[0] == sampled[1] != sampled[2]


def test_stop_text_ends_the_answer(folders: dict[str, Path]) -> None:
    with load(folders["qwen2"]) as runtime:
        whole = runtime.generate("Question:", Writing(max_tokens=16)).text
        stop = whole[3:5]
        made = runtime.generate("Question:", Writing(max_tokens=16, stop=(stop,)))
        assert made.text == whole[: whole.find(stop)]
        assert made.finished


def test_loglikelihood_of_texts(folders: dict[str, Path]) -> None:
    with load(folders["llama"]) as runtime:
        pairs = [
            ("Question: the patient\nAnswer:", text) for text in (" yes", " no", " A long one")
        ]
        asked = encode_requests(runtime, pairs)
        assert [runtime.decode(r.tokens[r.start :]) for r in asked] == [t for _, t in pairs]
        found = runtime.loglikelihood(pairs[0][0], [text for _, text in pairs])
        assert found == pytest.approx(naive(folders["llama"], asked), abs=2e-3)


def test_start_token_once_and_no_end_token(folders: dict[str, Path]) -> None:
    with load(folders["llama"]) as runtime:
        tokens = runtime.encode_batch(["abc", ""])
        start = runtime.encode_batch([""])[0]
        assert len(start) == 1
        assert tokens[0][:1] == start
        assert tokens[0].count(start[0]) == 1
        assert runtime.special_tokens["bos_token"] == "<|begin|>"


def test_prompt_longer_than_the_context(folders: dict[str, Path]) -> None:
    with (
        load(folders["llama"], context_length=32) as runtime,
        pytest.raises(UserError, match="takes 32"),
    ):
        runtime.generate("word " * 40, Writing(max_tokens=8))


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed"])
def test_products_in_bfloat16_are_close(folders: dict[str, Path], dtype: str) -> None:
    asked = forest(200, 1)
    pack = build_pack(asked)
    with load(folders["llama"], dtype=dtype) as runtime:
        assert runtime.packs
        found = sum_by_request(pack, runtime.score(pack)) / [len(r.tokens) - r.start for r in asked]
    expected = np.array(naive(folders["llama"], asked)) / [len(r.tokens) - r.start for r in asked]
    assert 1e-5 < np.abs(found - expected).mean() < 0.1


def test_close_twice(folders: dict[str, Path]) -> None:
    runtime = load(folders["llama"])
    runtime.close()
    runtime.close()
    assert dataclasses.asdict(runtime.info)["runtime"] == "torch"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("unknown architecture", "cannot read the configuration of model"),
        ("weights of another shape", "another shape than its configuration"),
    ],
)
def test_a_folder_that_transformers_cannot_load(tmp_path: Path, damage: str, said: str) -> None:
    folder = write_tiny_hf(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if damage == "unknown architecture":
        config["model_type"] = "nonesuch"
    else:
        config["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load(folder)
