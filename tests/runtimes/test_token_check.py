"""Tokens of a GGUF against those of its folder: the same, or it is said which texts differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from tokenizers import Tokenizer

from galenic.errors import UserError
from galenic.exporters.run import export
from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.models.gguf.tokenizer import gguf_tokenizer
from galenic.models.gguf.vocab import read_vocabulary
from galenic.models.tokenizers.text_rules import WHITE, TextRules, token_pattern
from galenic.runtimes.literal import mark_literal
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.token_check import BESIDE, PLAIN, SPACED, TEXTS, TokenCheck, compare_tokens
from tiny_hf import write_tiny_hf

DECOMPOSED = "e\u0301tude nai\u0308ve"
NFC = {"type": "NFC"}


def folder_with(path: Path, strips: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A tiny byte-level model; ``strips`` are settings of its token ``<x>``, a plain one."""
    folder = write_tiny_hf(path / "tiny", "llama")
    file = folder / "tokenizer.json"
    facts = json.loads(file.read_text()) | changes
    flags = {"special": False, "normalized": False, **(strips or {})}
    for token in facts["added_tokens"]:
        if token["content"] == "<|im_start|>":
            token |= {"content": "<x>", **flags}
    facts["model"]["vocab"] = {
        token.replace("<|im_start|>", "<x>"): at for token, at in facts["model"]["vocab"].items()
    }
    file.write_text(json.dumps(facts))
    return folder


def all_texts(*tokens: str) -> list[str]:
    texts = [text for group in TEXTS.values() for text in group]
    beside = ["{}", "a{}b", "a {} b", " \u00a0{}\u2003\n", "{}{}", "a\n\n{}\t{} b"]
    return texts + [form.replace("{}", token) for token in tokens for form in beside]


@pytest.mark.parametrize(
    ("strips", "changes", "others"),
    [
        ({}, {}, set()),
        ({}, {"normalizer": NFC}, {"decomposed accents"}),
        ({"lstrip": True}, {}, {SPACED}),
        ({"rstrip": True}, {}, {SPACED}),
        ({"lstrip": True, "rstrip": True}, {"normalizer": NFC}, {"decomposed accents", SPACED}),
    ],
)
def test_what_llama_cpp_cannot_be_told_is_done_here(
    tmp_path: Path, strips: dict[str, Any], changes: dict[str, Any], others: set[str]
) -> None:
    folder = folder_with(tmp_path, strips, **changes)
    gguf = tmp_path / "tiny.gguf"
    folder_to_gguf(folder, gguf, "F32")
    found = compare_tokens(folder, gguf)
    assert (found.own, set(found.others), found.holds) == ((), others, True)
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = all_texts("<x>", "<|im_end|>")
    expected = [one.ids for one in theirs.encode_batch(texts)]
    assert gguf_tokenizer(gguf)(texts)["input_ids"] == expected
    with LlamaRuntime(ModelFiles("tiny", "gguf", gguf, "0" * 64), threads=1) as llama:
        assert llama.encode_batch(texts) == expected
        if "normalizer" in changes:
            assert llama.encode_batch([DECOMPOSED]) == llama.encode_batch(["étude naïve"])
            literal = mark_literal(f"{DECOMPOSED} <|im_end|> {DECOMPOSED}", ("<|im_end|>",))
            composed = mark_literal("étude naïve <|im_end|> étude naïve", ("<|im_end|>",))
            assert llama.encode_batch([literal]) == llama.encode_batch([composed])


def test_an_export_says_which_texts_others_read_otherwise(tmp_path: Path) -> None:
    export(str(folder_with(tmp_path, normalizer=NFC)), "llama.cpp", tmp_path / "out")
    said = (tmp_path / "out" / "USE.txt").read_text()
    assert "other programs built on llama.cpp: decomposed accents\n" in said
    export(str(tmp_path / "out" / "model.gguf"), "transformers", tmp_path / "back")
    core = Tokenizer.from_file(str(tmp_path / "back" / "tokenizer.json"))
    assert core.encode(DECOMPOSED).ids == core.encode("étude naïve").ids


def test_an_export_whose_plain_text_differs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galenic.models.gguf.vocab._check_model", lambda *_: None)
    folder = folder_with(tmp_path, normalizer={"type": "Lowercase"})
    with pytest.raises(UserError, match="split the same plain text into different tokens"):
        export(str(folder), "llama.cpp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_token_that_is_only_found_alone_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"single_word": True})
    with pytest.raises(UserError, match=r"'<x>' is only found where no letter is beside it"):
        read_vocabulary(folder, 297)


def test_what_is_told() -> None:
    assert TokenCheck((), ()).told() == ()
    found = TokenCheck((BESIDE,), (BESIDE, "tabs", "emoji", "a", "b", "c"))
    own, others = found.told()
    assert own.endswith("than by the folder: special tokens in a text")
    assert others.endswith("llama.cpp: tabs, emoji, a, b and 1 more")
    assert found.holds
    assert not TokenCheck((), (PLAIN,)).holds
    assert not TokenCheck((PLAIN,), ()).holds


def test_readings_come_back_and_unknown_ones_are_refused() -> None:
    full = TextRules(compose=True, spaces="first", lstrip=("é",), rstrip=("<a>", "<b>"))
    assert TextRules.read(full.written()) == full
    assert TextRules.read(None) == TextRules()
    assert not TextRules()
    for wrong in ("x", "[]", '{"spaces": "last"}', '{"lstrip": "ab"}', '{"lstrip": [1]}',
                  '{"more": 1}', '{"compose": "yes"}', "5"):  # fmt: skip
        with pytest.raises(UserError, match="which is not known here"):
            TextRules.read(wrong)


def test_white_space_is_unicodes() -> None:
    import re

    assert set(WHITE) == {
        chr(n) for n in range(0x3100) if re.match(r"\s", chr(n)) and not 0x1C <= n <= 0x1F
    }
    assert token_pattern([]).split("abc") == ["abc"]
    assert token_pattern(["<a", "<a>"]).split("1<a>2") == ["1", "<a>", "2"]
