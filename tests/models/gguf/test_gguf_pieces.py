"""SentencePiece-style tokenizers: tokenizer.json -> GGUF -> llama.cpp, and back to tokenizers."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import read_metadata
from galenic.models.gguf.vocab import read_vocabulary

pytest.importorskip("torch", reason="needs the train extra")

from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.gguf.tokenizer import gguf_tokenizer
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.token_check import compare_tokens
from tiny_hf import write_tiny_hf
from tiny_pieces import KINDS, write_tiny_pieces

SPECIAL = ("<s>", "</s>", "<bos>", "<unk>", "<td>", "<|end|>", "<|im_end|>", "<|endoftext|>",
           "[INST]", "<end_of_turn>", "<0x41>", "<unused0>")  # fmt: skip
PIECES = ("a", "B", "aB", "12", "½", " ", "  ", "   ", " " * 9, "\n", "\n\n", "\n" * 6, "\r\n",
          "\t", "\u00a0", "\u2003", "'s", "-", ".", "/", "é", "中", "😀", "e\u0301", " the",
          " patient", "abab", "bab", "ab ab", *SPECIAL)  # fmt: skip
FAMILY = {"llama2": "llama", "gemma3 tied": "gemma3"}


class Case(NamedTuple):
    """A folder, its GGUF in llama.cpp, and two tokenizers."""

    kind: str
    path: Path
    llama: LlamaRuntime
    theirs: Any
    back: Any


@pytest.fixture(scope="module", params=KINDS)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    from transformers import AutoTokenizer

    kind, home = request.param, tmp_path_factory.mktemp("pieces")
    folder = write_tiny_hf(home / "tiny", FAMILY.get(kind, kind), pieces=kind)
    folder_to_gguf(folder, home / "tiny.gguf", "F32")
    theirs, back = AutoTokenizer.from_pretrained(folder), gguf_tokenizer(home / "tiny.gguf")
    files = ModelFiles("tiny", "gguf", home / "tiny.gguf", "0" * 64)
    with LlamaRuntime(files, threads=1) as llama:
        yield Case(kind, home / "tiny.gguf", llama, theirs, back)


def comparable(text: str) -> bool:
    """Whether llama.cpp can do as transformers, which finds a token of Gemma in this text before
    it spells spaces."""
    return "▁▁" not in text


def awkward(count: int) -> list[str]:
    rng = random.Random(3)
    return ["".join(rng.choices(PIECES, k=rng.randint(0, 12))) for _ in range(count)]


def test_all_three_encode_alike(case: Case) -> None:
    texts = [text for text in awkward(800) if comparable(text)]
    assert len(texts) > 100
    expected = case.theirs(texts)["input_ids"]
    assert case.llama.encode_batch(texts) == expected
    assert case.back(texts)["input_ids"] == expected


def test_what_comes_back_is_what_llama_cpp_does(case: Case) -> None:
    texts = awkward(800)
    assert case.back(texts)["input_ids"] == case.llama.encode_batch(texts)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.one_of(st.sampled_from("▁ ab12thepion.\n\t"), st.characters(codec="utf-8"))))
def test_any_text(case: Case, text: str) -> None:
    if "\0" in text or not comparable(text):
        return
    expected = case.theirs(text)["input_ids"]
    assert case.llama.encode_batch([text]) == [expected]
    assert case.back(text)["input_ids"] == expected


def test_text_comes_back(case: Case) -> None:
    text = "the patient's 12 mg –  naïve 中 😀\n\tab ab"
    for tokenizer in (case.theirs, case.back):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    decoded = case.llama.decode(case.llama.encode_batch([text])[0])
    assert decoded == ("" if "gemma" in case.kind else " ") + text or decoded == text


def test_what_the_file_says(case: Case) -> None:
    keys = ("token_type", "scores", "tokens")
    found = read_metadata(case.path, arrays=[f"tokenizer.ggml.{key}" for key in keys])
    facts = {key.removeprefix("tokenizer.ggml."): value for key, value in found.items()}
    gemma = case.kind.startswith("gemma")
    assert (facts["model"], facts["add_space_prefix"]) == ("llama", not gemma)
    assert facts["add_bos_token"] == (case.kind != "phi3")
    assert "merges" not in facts
    kinds = dict(zip(facts["tokens"], facts["token_type"], strict=True))
    assert kinds["<unk>"] == 2
    assert kinds["<0x0A>"] == kinds["<0x09>"] == 6
    assert kinds["▁the"] == 1
    assert ("Phi-3" in found["general.name"]) == (case.kind == "phi3")
    if gemma:
        assert kinds["<end_of_turn>"] == 3
        assert (kinds["<td>"], kinds["▁▁▁"]) == (4, 1)
    elif case.kind == "phi3":
        assert (kinds["<|end|>"], kinds["</s>"]) == (3, 4)
    scores = dict(zip(facts["tokens"], facts["scores"], strict=True))
    assert scores["ab"] > scores["abab"] > scores["é"]


def edit(folder: Path, **changes: Any) -> Path:
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text())
    model = facts["model"] | changes.pop("model", {})
    path.write_text(json.dumps(facts | changes | {"model": model}))
    return folder


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "NFKC"}}, "normalizer {'type': 'NFKC'}"),
        ({"normalizer": None}, "does not spell spaces"),
        ({"normalizer": None, "pre_tokenizer": METASPACE | {"split": True}}, "'split': True"),
        ({"normalizer": None, "pre_tokenizer": METASPACE | {"replacement": "_"}}, "'_'"),
        ({"pre_tokenizer": {"type": "Digits"}}, "pre-tokenizer {'type': 'Digits'}"),
        ({"model": {"ignore_merges": True}}, "ignore_merges"),
        ({"model": {"dropout": 0.5}}, "dropout"),
    ],
)
def test_rules_that_llama_cpp_lacks(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_tiny_pieces(tmp_path, "llama2")
    with pytest.raises(UserError, match=message):
        read_vocabulary(edit(tmp_path, **changes), 600)


def test_merges_that_no_scores_give(tmp_path: Path) -> None:
    write_tiny_pieces(tmp_path, "llama2")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    merges, vocab = [tuple(merge) for merge in model["merges"]], model["vocab"]
    fewer = [merge for merge in merges if merge != ("▁th", "e")]
    with pytest.raises(UserError, match="'▁th', 'e' and '▁the', and no merge"):
        read_vocabulary(edit(tmp_path, model={"merges": fewer}), 600)
    with pytest.raises(UserError, match="merges '▁the' with different ranks"):
        read_vocabulary(edit(tmp_path, model={"merges": [("▁th", "e"), *fewer]}), 600)
    without = {token.replace("<0xFF>", "other"): number for token, number in vocab.items()}
    with pytest.raises(UserError, match="no token <0xFF>"):
        read_vocabulary(edit(tmp_path, model={"merges": merges, "vocab": without}), 600)
    old = [f"{left} {right}" for left, right in merges]
    edit(tmp_path, model={"merges": old, "vocab": vocab})
    assert read_vocabulary(tmp_path, 600).tokens[590:] == tuple(
        f"[PAD{n}]" for n in range(590, 600)
    )


def test_an_image_token_without_a_row_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(write_tiny_pieces(tmp_path, "gemma3"))
    added = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    image = added[0] | {"id": size, "content": "<image_soft_token>"}
    edit(tmp_path, added_tokens=[*added, image])
    with caplog.at_level(logging.WARNING):
        found = read_vocabulary(tmp_path, size)
    assert len(found.tokens) == size
    assert "no row for '<image_soft_token>'" in caplog.text
    assert read_vocabulary(tmp_path, size + 1).types[size] == 3


@pytest.mark.parametrize(
    ("scheme", "kept"), [("always", "always"), ("first", "first"), ("never", "")]
)
@pytest.mark.parametrize("split", [False, True])
def test_metaspace(scheme: str, kept: str, split: bool, tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", "llama", pieces="mistral")
    rule = METASPACE | {"prepend_scheme": scheme, "split": split}
    edit(folder, normalizer=None, pre_tokenizer=rule)
    if split:  # no token of two words, so that splitting before merging changes nothing
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        inner = [token for token in model["vocab"] if "▁" in token[1:]]
        for number, token in enumerate(inner):
            model["vocab"][chr(0xE000 + number)] = model["vocab"].pop(token)
        merges = [cut for cut in model["merges"] if "▁" not in "".join(cut)[1:]]
        edit(folder, model={**model, "merges": merges})
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    found = read_vocabulary(folder, size)
    assert (found.space_first, found.rules.spaces) == (bool(kept), kept)
    folder_to_gguf(folder, tmp_path / "tiny.gguf", "F32")
    assert not compare_tokens(folder, tmp_path / "tiny.gguf").own
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    back = gguf_tokenizer(tmp_path / "tiny.gguf")
    files = ModelFiles("tiny", "gguf", tmp_path / "tiny.gguf", "0" * 64)
    with LlamaRuntime(files, threads=1) as llama:
        texts = [text for text in awkward(400) if comparable(text)]
        expected = [found.ids for found in theirs.encode_batch(texts)]
        assert llama.encode_batch(texts) == expected
        assert back(texts)["input_ids"] == expected
