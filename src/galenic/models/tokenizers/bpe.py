"""Which tokens a BPE tokenizer needs in order to reach a token, and what it must never lose.

BPE (Sennrich et al. 2015, https://arxiv.org/abs/1508.07909) joins, again and again, the
neighbouring pair whose merge has the lowest rank, the leftmost first. Two facts follow, on which
cutting a vocabulary rests:

1. *A token has one history.* When a token stands in the result, no merge crossed the borders of
   its span, and what happened elsewhere in the word did not touch it; so the merges within the
   span, in their order, are those that make the token out of its characters alone
   (`Bpe.parts_of`). The tokens on that way are its ancestors; no text needs others.
2. *A cut that is closed changes nothing where nothing is missing.* If every token of a result was
   kept, with ancestors, then every merge on the way to it was kept. At each step the merge with the
   lowest rank was one of them, and it is still the lowest of those that are left: the cut tokenizer
   takes the same steps to the same result.

Where a token of the result is gone, its parts stand in its place. They can be cut further, down to
bytes, which always stay; so every text that could be written still can, and reading it back gives
it again.

Format: https://huggingface.co/docs/tokenizers/api/models#tokenizers.models.BPE
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.strict_json import read_object

__all__ = ["Bpe", "read_bpe", "read_tokenizer_file"]

BYTE_TOKENS = tuple(f"<0x{number:02X}>" for number in range(256))
"""How SentencePiece writes single bytes."""


@dataclass(frozen=True)
class Bpe:
    """The tables of a BPE tokenizer.

    Attributes:
        vocab: token to id, added tokens included.
        ranks: pair of tokens to the rank of its merge; the lowest is joined first.
        always: tokens without which some text could not be written, or which are found in text
            before it is cut: bytes, the unknown token, special and other added tokens.
        whole_words: a word that is a token is taken as it is, without merging
            (``ignore_merges``).
    """

    vocab: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]
    always: frozenset[str]
    whole_words: bool

    def parts_of(self, token: str) -> list[tuple[str, str]]:
        """The merges that make a token of its characters, in their order.

        They end in the token itself, unless merging its characters ends elsewhere: then no text
        without ``whole_words`` ever gives this token.
        """
        symbols, merges = list(token), []
        while len(symbols) > 1:
            found = [
                (self.ranks[pair], place)
                for place, pair in enumerate(pairwise(symbols))
                if pair in self.ranks
            ]
            if not found:
                break
            _, place = min(found)
            merges.append((symbols[place], symbols[place + 1]))
            symbols[place : place + 2] = ["".join(merges[-1])]
        return merges

    def ancestors(self, token: str) -> frozenset[str]:
        """What must be there for a text to be cut into this token, itself included.

        None but the token where it is always kept (it is found without merging) or no merging
        gives it.
        """
        merges = [] if token in self.always else self.parts_of(token)
        if not merges or "".join(merges[-1]) != token:
            return frozenset([token])
        return frozenset([token, *(part for merge in merges for part in merge)])

    def close(self, tokens: Iterable[str]) -> frozenset[str]:
        """The smallest set of tokens that can be cut to: with ancestors and `always`."""
        return self.always.union(*(self.ancestors(token) for token in tokens))

    @cached_property
    def by_rank(self) -> tuple[str, ...]:
        """The products of the merges, each once, in the order of the first merge that gives it."""
        ordered = sorted(self.ranks.items(), key=lambda item: item[1])
        return tuple(dict.fromkeys(left + right for (left, right), _ in ordered))


def read_tokenizer_file(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json.

    Raises:
        UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(
            f"{path} cannot be read: there is none. transformers writes it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    facts = read_object(path)
    if not isinstance(facts.get("model"), dict):
        raise UserError(f"{path} describes no tokenizer.")
    return facts


def read_bpe(path: Path, facts: Mapping[str, Any]) -> Bpe:
    """Take the tables out of a tokenizer.json.

    Args:
        path: for messages.
        facts: its content.

    Raises:
        UserError: not BPE, with rules that are not known here, without a way down to bytes, or
            tables that contradict each other.
    """
    model = facts["model"]
    _check_kind(path, model)
    vocab = {str(token): int(number) for token, number in model["vocab"].items()}
    added = facts.get("added_tokens") or []
    names = frozenset(str(token["content"]) for token in added)
    vocab |= {str(token["content"]): int(token["id"]) for token in added}
    if len(set(vocab.values())) != len(vocab):
        raise UserError(f"{path} has two tokens with one id.")
    ranks: dict[tuple[str, str], int] = {}
    for pair in _pairs(path, model["merges"]):
        if any(token not in model["vocab"] for token in (*pair, "".join(pair))):
            raise UserError(f"{path} merges {pair}, which its vocabulary lacks.")
        ranks[pair] = len(ranks)  # a pair that is there twice counts as its last, as it is read
    unknown = {model["unk_token"]} if model.get("unk_token") in vocab else set()
    always = names | unknown | _bytes(path, facts, vocab)
    return Bpe(vocab, ranks, always, bool(model.get("ignore_merges")))


def _check_kind(path: Path, model: Mapping[str, Any]) -> None:
    odd = [
        name
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
        if model.get(name)
    ]
    if model.get("type") != "BPE" or odd:
        raise UserError(
            f"{path} has a tokenizer of kind {model.get('type')}"
            + (f" with {', '.join(odd)}" if odd else "")
            + "; only plain BPE can be cut (byte-level, or with byte_fallback)."
        )


def _pairs(path: Path, merges: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Merges as pairs; files have them as "a b" or, where tokens hold spaces, as ["a", "b"]."""
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            raise UserError(f"{path} has the merge {merge!r}, which is no pair.")
        yield str(pair[0]), str(pair[1])


def _bytes(path: Path, facts: Mapping[str, Any], vocab: Mapping[str, int]) -> frozenset[str]:
    """The tokens that stand for single bytes."""
    from tokenizers import pre_tokenizers

    if facts["model"].get("byte_fallback"):
        wanted: Iterable[str] = BYTE_TOKENS
    else:
        wanted = pre_tokenizers.ByteLevel.alphabet()
        steps = facts.get("pre_tokenizer") or {}
        steps = steps.get("pretokenizers", [steps])
        if not any(step.get("type") == "ByteLevel" for step in steps):
            raise UserError(
                f"{path} neither works on bytes nor falls back to them (byte_fallback): what is "
                "cut from it could not be written any more."
            )
    # SmolLM2 lacks 21 of them: what it could not write before, it cannot write after
    return frozenset(symbol for symbol in wanted if symbol in vocab)
