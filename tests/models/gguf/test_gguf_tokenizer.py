"""Tokenizers built from a GGUF against llama.cpp's own, on awkward and on real text."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import pytest

import tiny
from galenic.errors import UserError
from galenic.models.gguf.tokenizer import PRE_TOKENIZERS, gguf_tokenizer
from galenic.runtimes.libllama import LibLlama, load_library
from galenic.runtimes.llama_engine import LlamaEngine

pytest.importorskip("transformers")

PIECES = ["a", "B", "aB", "1", "2", "½", "²", "Ⅷ", "٣", " ", "  ", "\n", "\r\n", "\t", "\u00a0",
          "\u2003", "\u200b", "\u0085", "\x1c", "'s", "'S", "'ll", "'", "-", ".", "/", "µ", "é",
          "ß", "ſ", "中", "ع", "😀", "e\u0301", "<|im_start|>", "<|endoftext|>", "<|", "$", "+=",
          "°", "_", "\ufeff", "ﬁ", "ǅ", "abab", "bab"]  # fmt: skip
LETTERS = ["Ġ", "Ċ", "č", "1", "2", "a", "b", "A", "B", "s", "S", "'", ".", "/", "-", "_"]


def awkward(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(PIECES, k=rng.randint(0, 14))) for _ in range(count)]


@pytest.fixture(scope="module")
def library() -> LibLlama:
    return load_library()


@contextmanager
def llama_cpp(library: LibLlama, path: Path) -> Iterator[Callable[[str], list[int]]]:
    engine = LlamaEngine(library, path, threads=1)
    try:
        yield engine.encode
    finally:
        engine.close()


def differences(library: LibLlama, path: Path, texts: list[str]) -> list[str]:
    """Texts that llama.cpp encodes otherwise."""
    ours = gguf_tokenizer(path)(texts)["input_ids"]
    with llama_cpp(library, path) as encode:
        return [text for text, ids in zip(texts, ours, strict=True) if encode(text) != ids]


def write_with_rule(path: Path, rule: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model whose merges join nearly everything, so that each cut shows."""
    merges = [f"{left} {right}" for left in LETTERS for right in LETTERS]
    random.Random(1).shuffle(merges)
    named = gguf.GGUFWriter.add_tokenizer_pre
    vocabulary = tiny.tiny_vocabulary
    monkeypatch.setattr(tiny, "MERGES", tuple(merges))
    monkeypatch.setattr(tiny, "tiny_vocabulary", lambda: [*vocabulary(), "abab", "Ġabab"])
    monkeypatch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", lambda w, _: named(w, rule))
    return tiny.write_tiny_gguf(path)


def without_bos_flag(writer: Any, _: bool) -> None:
    """Leaves the choice to the rule."""


@pytest.mark.parametrize("rule", sorted(PRE_TOKENIZERS))
def test_every_rule_cuts_as_llama_cpp(
    rule: str, library: LibLlama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_add_bos_token", without_bos_flag)
    path = write_with_rule(tmp_path / "tiny.gguf", rule, monkeypatch)
    assert differences(library, path, awkward(400)) == []


def test_these_texts_tell_the_rules_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = awkward(400)
    seen = {}
    for rule, content in PRE_TOKENIZERS.items():
        if content in seen:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(gguf.GGUFWriter, "add_add_bos_token", without_bos_flag)
            path = write_with_rule(tmp_path / "tiny.gguf", rule, patch)
            seen[content] = json.dumps(gguf_tokenizer(path)(texts)["input_ids"])
    assert len(set(seen.values())) == len(seen) == len(set(PRE_TOKENIZERS.values()))


@pytest.mark.parametrize("add_bos", [True, False])
def test_the_start_token_is_as_the_file_says(
    add_bos: bool, library: LibLlama, tmp_path: Path
) -> None:
    path = tiny.write_tiny_gguf(tmp_path / "tiny.gguf", add_bos=add_bos)
    assert gguf_tokenizer(path)("the")["input_ids"][:1] == ([0] if add_bos else [3 + ord("t")])
    assert differences(library, path, awkward(50)) == []


def test_names_template_and_round_trip(tmp_path: Path) -> None:
    tokenizer = gguf_tokenizer(tiny.write_tiny_gguf(tmp_path / "tiny.gguf"))
    assert tokenizer.chat_template == tiny.CHAT_TEMPLATE
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert len(tokenizer) == len(tiny.tiny_vocabulary())
    for text in ("  The 120/80 mm Hg é 中 .\n", "it 's n't"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = tokenizer("<|im_start|>a<|im_end|>")["input_ids"]
    assert tokenizer.decode(chat, skip_special_tokens=True) == "a"
    assert tokenizer("<|im_end|>")["input_ids"] == [2]


@pytest.mark.parametrize("prefix", [True, False, None])
def test_sentencepiece_is_encoded_as_by_llama_cpp(
    prefix: bool | None, library: LibLlama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [a.replace("Ġ", "▁") + b.replace("Ġ", "▁") for a in LETTERS for b in LETTERS]
    longer = ["▁ab", "abab", "▁abab", "▁a▁b", "12ab"]
    pieces = [*longer, *pairs, *"abABsS12'./-_▁é中"]
    random.Random(2).shuffle(pieces)
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *pieces, "<|u|>"]

    def add_tokenizer(writer: Any, *_: object) -> None:
        kinds = gguf.TokenType
        types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(vocabulary)
        writer.add_token_types([*types, *[kinds.NORMAL] * len(pieces), kinds.USER_DEFINED])
        writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(pieces))] + [-1000.0])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        if prefix is not None:
            writer.add_add_space_prefix(prefix)

    monkeypatch.setattr(tiny, "_add_tokenizer", add_tokenizer)
    monkeypatch.setattr(tiny, "tiny_vocabulary", lambda: vocabulary)
    path = tiny.write_tiny_gguf(tmp_path / "tiny.gguf")
    texts = [*awkward(300), "<s>a</s> b", "ab<|u|> ab<|u|>", " a", ""]
    assert differences(library, path, texts) == []
    tokenizer = gguf_tokenizer(path)
    ids = tokenizer("ab 12é 😀 b")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab 12é 😀 b"


def test_an_unknown_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_with_rule(tmp_path / "tiny.gguf", "new-rule", monkeypatch)
    with pytest.raises(UserError, match=r"'new-rule', which is not known.*llama runtime"):
        gguf_tokenizer(path)


def test_an_unknown_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = gguf.GGUFWriter.add_tokenizer_model
    monkeypatch.setattr(gguf.GGUFWriter, "add_tokenizer_model", lambda w, _: named(w, "t5"))
    path = tiny.write_tiny_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(UserError, match="kind 't5'"):
        gguf_tokenizer(path)


def test_a_file_without_rule_gets_the_default_and_a_warning(
    library: LibLlama,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_with_rule(tmp_path / "default.gguf", "default", monkeypatch)
    monkeypatch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", lambda w, _: None)
    nameless = tiny.write_tiny_gguf(tmp_path / "nameless.gguf")
    texts = awkward(100)
    assert gguf_tokenizer(nameless)(texts)["input_ids"] == gguf_tokenizer(path)(texts)["input_ids"]
    assert "does not name its pre-tokenizer" in caplog.text
    assert differences(library, nameless, texts) == []


@pytest.mark.slow
def test_real_text_with_the_real_vocabulary(
    library: LibLlama, smollm2: Path, data_dir: Path
) -> None:
    texts = awkward(200)
    for name in ("medqa/5options_test", "medmcqa/validation", "pubmedqa/test"):
        with gzip.open(data_dir / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line, _ in zip(lines, range(100), strict=False):
                row = json.loads(line)
                texts += [row["question"], row["context"] or "", *row["options"].values()]
    assert len(texts) > 1000
    assert differences(library, smollm2, texts) == []
