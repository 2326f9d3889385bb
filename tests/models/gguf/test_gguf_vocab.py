"""tokenizer.json to GGUF: llama.cpp must cut text as the tokenizers library does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.gguf.vocab import read_vocabulary

pytest.importorskip("torch", reason="needs the train extra")

from galenic.models.files import ModelFiles
from galenic.models.gguf.folder import folder_to_gguf
from galenic.runtimes.llama import LlamaRuntime
from tiny_hf import write_tiny_hf

# As the tokenizer.json of these models spells them.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}{REST}"
)
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
    rf"|\p{{N}}{{1,3}}{REST}"
)
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
    return {"type": "Sequence", "pretokenizers": [cut, BYTES]}


DIGITS = {"type": "Digits", "individual_digits": True}
RULES: dict[str, tuple[dict[str, Any], bool]] = {
    "gpt-2": (BYTES | {"use_regex": True}, False),
    "smollm": ({"type": "Sequence", "pretokenizers": [DIGITS, BYTES | {"use_regex": True}]}, False),
    "llama-bpe": (split(LLAMA3), True),
    "dbrx": (split(LLAMA3, "Removed", True), False),
    "qwen2": (split(LLAMA3.replace("{1,3}", "")), False),
    "tekken": (split(TEKKEN), True),
    "gpt-4o": (split(GPT4O), False),
}
MERGES = ["1 2", "12 3", "12 0", "3 4", "Ġ Ġ", "Ċ Ċ", "' s", "' L", "'L L", "X M",
"XM L", "L H", "Ġ 1", "Ġ 12", "Ġ /", "; Ġ", "o Ċ", "Ġ n", "n o"]  # fmt: skip
"""Pieces that some rules cut apart: digits, suffixes, changes of case, runs of spaces and lines."""
TEXTS = (
    "The patient's BP was 120/80 mmHg; it's 37.5°C, isn't it?  She'LL take 1234567 mg.\n\n Yes",
    "naïve café – XMLHttpRequest\tthe of and\r\n  maybe   no\n",
)


def edit(folder: Path, **changes: Any) -> Path:
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text())
    model = facts["model"] | changes.pop("model", {})
    path.write_text(json.dumps(facts | changes | {"model": model}))
    return folder


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_named_and_cuts_alike(name: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    rule, ignore_merges = RULES[name]
    folder = write_tiny_hf(tmp_path / "tiny", "qwen2")
    facts = json.loads((folder / "tokenizer.json").read_text())
    vocab = {token: at for token, at in facts["model"]["vocab"].items() if at < 256}
    vocab |= {merge.replace(" ", ""): 256 + at for at, merge in enumerate(MERGES)}
    model = {"ignore_merges": ignore_merges, "vocab": vocab, "merges": MERGES}
    added = [one | {"id": len(vocab) + at} for at, one in enumerate(facts["added_tokens"])]
    edit(folder, pre_tokenizer=rule, model=model, added_tokens=added)
    assert read_vocabulary(folder, 297).pre == name
    path = tmp_path / "tiny.gguf"
    folder_to_gguf(folder, path, "F32")
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with LlamaRuntime(ModelFiles("tiny", "gguf", path, "0" * 64), threads=1) as llama:
        assert llama.encode_batch(TEXTS) == [e.ids for e in theirs.encode_batch(TEXTS)]


def test_unused_rows_and_added_tokens(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    added.append(added[-1] | {"id": 297, "content": "<plain>", "special": False})
    edit(folder, added_tokens=added)
    found = read_vocabulary(folder, 300)
    assert found.tokens[293:] == (
        "<|endoftext|>", "<|begin|>", "<|im_start|>", "<|im_end|>", "<plain>",
        "[PAD298]", "[PAD299]",
    )  # fmt: skip
    assert found.types[292:] == (1, 3, 3, 3, 3, 4, 5, 5)
    assert (found.add_bos, found.add_eos) == (True, False)
    with pytest.raises(UserError, match="token ids up to 297, and the embedding has 297 rows"):
        read_vocabulary(folder, 297)


def test_a_tokenizer_that_lies_is_damaged(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", "llama")
    good = (folder / "tokenizer.json").read_text()
    changes: list[dict[str, Any]] = [{"added_tokens": one} for one in (5, [[]], [{}], "x")]
    changes += [{"pre_tokenizer": "x"}, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": 5}}]
    changes += [{"model": {"vocab": one}} for one in ([5], "x", {"a": "b"}, {"a": [1]})]
    for change in changes:
        (folder / "tokenizer.json").write_text(good)
        edit(folder, **change)
        with pytest.raises(UserError, match="tokenizer"):
            read_vocabulary(folder, 297)


def special(name: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_tokenizer": split(r"\w+")}, "llama.cpp does not have"),
        ({"model": {"ignore_merges": True}}, "ignore_merges True. Known: gpt-2, smollm"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "not byte-level: its pre-tokenizer is Meta"),
        ({"pre_tokenizer": None}, "not byte-level"),
        ({"model": {"byte_fallback": True}}, "has no token <0x00>"),
        ({"model": {"type": "Unigram"}}, "kind Unigram"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer Lowercase"),
        ({"post_processor": {"type": "BertProcessing"}}, "BertProcessing"),
        (
            {"post_processor": {"type": "TemplateProcessing", "single": [
                special("<|begin|>"), special("<|im_start|>"), {"Sequence": {"id": "A"}}]}},
            "one token on each side",
        ),
    ],
)  # fmt: skip
def test_what_llama_cpp_does_not_do(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = edit(write_tiny_hf(tmp_path / "tiny", "qwen2"), **changes)
    with pytest.raises(UserError, match=message):
        read_vocabulary(folder, 297)


def test_settings_that_contradict(tmp_path: Path) -> None:
    folder = write_tiny_hf(tmp_path / "tiny", "qwen2")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"add_bos_token": True}))
    with pytest.raises(UserError, match=r"says add_bos_token, and tokenizer\.json adds none"):
        read_vocabulary(folder, 297)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        read_vocabulary(folder, 297)
