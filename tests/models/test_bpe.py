"""Closed vocabularies: what is cut from them, and that nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.errors import UserError
from galenic.models.tokenizers.bpe import Bpe, read_bpe, read_tokenizer_file

tokenizers = pytest.importorskip("tokenizers", reason="needs the train extra")

MERGES = ("a b", "b c", "ab c", "a bc", "c d", "abc d", "ab cd", "d e", "cd e")


def tables(*, whole_words: bool = False) -> Bpe:
    pairs = [tuple(merge.split()) for merge in MERGES]
    tokens = dict.fromkeys([*"abcde", *("".join(pair) for pair in pairs)])
    vocab = {token: number for number, token in enumerate(tokens)}
    ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
    return Bpe(vocab, ranks, frozenset("abcde"), whole_words)


def core_of(bpe: Bpe, kept: frozenset[str]) -> Any:
    """The tokenizers library's own BPE over the kept tokens."""
    merges = [p for p in bpe.ranks if {*p, "".join(p)} <= kept]
    model = tokenizers.models.BPE({token: bpe.vocab[token] for token in kept}, merges)
    return tokenizers.Tokenizer(model)


def test_a_token_has_the_history_that_merging_by_rank_gives_it() -> None:
    bpe = tables()
    assert bpe.parts_of("abc") == [("a", "b"), ("ab", "c")]  # never a + bc
    assert bpe.parts_of("abcd") == [("a", "b"), ("ab", "c"), ("abc", "d")]
    assert bpe.ancestors("abcd") == {"a", "b", "c", "d", "ab", "abc", "abcd"}
    assert bpe.parts_of("e") == []
    assert bpe.ancestors("e") == {"e"}


def test_of_equal_ranks_the_leftmost_is_merged_first() -> None:
    ranks = {("a", "a"): 0, ("aa", "a"): 1, ("a", "aa"): 2, ("aa", "aa"): 3}
    tokens = {"a": 0, "aa": 1, "aaa": 2, "aaaa": 3}
    bpe = Bpe(tokens, ranks, frozenset("a"), False)
    assert bpe.parts_of("aaa") == [("a", "a"), ("aa", "a")]  # the rightmost would end in a + aa
    assert bpe.parts_of("aaaa") == [("a", "a"), ("a", "a"), ("aa", "aa")]
    model = tokenizers.models.BPE(tokens, list(ranks))
    assert tokenizers.Tokenizer(model).encode("aaa").tokens == ["aaa"]


def test_what_merging_does_not_reach_stands_alone() -> None:
    bpe = Bpe({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, {("a", "b"): 0}, frozenset("abc"), False)
    assert bpe.parts_of("abc") == [("a", "b")]
    assert bpe.ancestors("abc") == {"abc"}
    assert bpe.parts_of("") == bpe.parts_of("ca") == []
    kept = Bpe(bpe.vocab, bpe.ranks, bpe.always | {"ab"}, False)
    assert kept.ancestors("ab") == {"ab"}  # found without merging


def test_products_stand_once_in_the_order_of_their_first_merge() -> None:
    ranks = {("ab", "c"): 2, ("a", "b"): 0, ("a", "bc"): 3, ("b", "c"): 1}
    bpe = Bpe({}, ranks, frozenset(), False)
    assert bpe.by_rank == ("ab", "bc", "abc")


def read(tmp_path: Path, facts: dict[str, Any]) -> Bpe:
    return read_bpe(tmp_path / "tokenizer.json", facts)


def test_what_a_file_says(tmp_path: Path) -> None:
    byte_level = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocab = {"a": 0, "b": 1, "ab": 2, "aab": 3, "<unk>": 4}
    facts: dict[str, Any] = {
        "model": {
            "type": "BPE", "vocab": vocab, "merges": ["a b", ["a", "ab"], "a b"],
            "unk_token": "<unk>", "ignore_merges": True,
        },
        "added_tokens": [{"content": "<s>", "id": 9}],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split"}, {"type": "ByteLevel"}]},
    }  # fmt: skip
    found = read(tmp_path, facts)
    assert found.vocab == {**vocab, "<s>": 9}
    # a pair that is there twice counts as its last: as the library reads it
    assert found.ranks[("a", "b")] > found.ranks[("a", "ab")]
    assert found.always == {"<s>", "<unk>", *(set(byte_level) & vocab.keys())}
    assert found.whole_words
    del facts["model"]["ignore_merges"], facts["model"]["unk_token"], facts["added_tokens"]
    plain = read(tmp_path, facts)
    assert not plain.whole_words and plain.always == {"a", "b"}
    fallback: dict[str, Any] = {
        "model": {"type": "BPE", "byte_fallback": True, "merges": [],
                  "vocab": {"a": 0, "<0x00>": 1, "<0xFF>": 2, "<0x100>": 3}},
    }  # fmt: skip
    assert read(tmp_path, fallback).always == {"<0x00>", "<0xFF>"}
    fallback["model"]["unk_token"] = "<gone>"  # not in the vocabulary
    assert read(tmp_path, fallback).always == {"<0x00>", "<0xFF>"}


def test_what_always_stays_needs_no_history() -> None:
    bpe = tables()
    assert bpe.close([]) == frozenset("abcde")
    assert bpe.close(["de"]) == frozenset([*"abcde", "de"])


@pytest.mark.slow
@given(st.text("abcde", max_size=12), st.sets(st.sampled_from(sorted(tables().vocab))))
@settings(max_examples=300, deadline=None)
def test_a_closed_cut_changes_no_text_whose_tokens_stay(text: str, wanted: set[str]) -> None:
    bpe = tables()
    kept = bpe.close(wanted)
    assert bpe.close(kept) == kept
    whole = core_of(bpe, frozenset(bpe.vocab)).encode(text).tokens
    cut = core_of(bpe, kept).encode(text).tokens
    assert "".join(cut) == text
    if set(whole) <= kept:
        assert cut == whole


def test_tables_that_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match="cannot be read"):
        read_tokenizer_file(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        read_tokenizer_file(path)
    path.write_text('{"model": []}')
    with pytest.raises(UserError, match="describes no tokenizer"):
        read_tokenizer_file(path)
    good: dict[str, Any] = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel"},
    }
    path.write_text(json.dumps(good))
    assert read_bpe(path, read_tokenizer_file(path)).ranks == {("a", "b"): 0}
    for change, message in (
        ({"type": "Unigram"}, "kind Unigram"),
        ({"continuing_subword_prefix": "##"}, "continuing_subword_prefix"),
        ({"merges": ["a c"]}, "which its vocabulary lacks"),
        ({"merges": ["abc"]}, "not a pair"),
        ({"merges": [5]}, "is damaged"),
        ({"merges": 5}, "is damaged"),
        ({"vocab": ["a"]}, "is damaged"),
        ({"vocab": {"a": None}}, "is damaged"),
        ({"vocab": {"a": 0, "b": 0, "ab": 2}}, "one id"),
    ):
        bad = json.loads(json.dumps(good))
        bad["model"] |= change
        with pytest.raises(UserError, match=message):
            read_bpe(path, bad)
    with pytest.raises(UserError, match="neither works on bytes"):
        read_bpe(path, good | {"pre_tokenizer": {"type": "Whitespace"}})
