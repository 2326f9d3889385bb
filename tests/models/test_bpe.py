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


def test_what_always_stays_needs_no_history() -> None:
    bpe = tables()
    assert bpe.close([]) == frozenset("abcde")
    assert bpe.close(["de"]) == frozenset([*"abcde", "de"])


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
    good: dict[str, Any] = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel"},
    }
    assert read_bpe(path, good).ranks == {("a", "b"): 0}
    for change, message in (
        ({"type": "Unigram"}, "kind Unigram"),
        ({"continuing_subword_prefix": "##"}, "continuing_subword_prefix"),
        ({"merges": ["a c"]}, "which its vocabulary lacks"),
        ({"merges": ["abc"]}, "no pair"),
        ({"vocab": {"a": 0, "b": 0, "ab": 2}}, "one id"),
    ):
        bad = json.loads(json.dumps(good))
        bad["model"] |= change
        with pytest.raises(UserError, match=message):
            read_bpe(path, bad)
    with pytest.raises(UserError, match="neither works on bytes"):
        read_bpe(path, good | {"pre_tokenizer": {"type": "Whitespace"}})
