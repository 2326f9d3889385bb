"""Which tokens of a BPE tokenizer depend on which, for reducing its vocabulary.

BPE (Sennrich et al. 2015, https://arxiv.org/abs/1508.07909) repeatedly joins the adjacent pair
whose merge has the lowest rank, leftmost first. Reducing a vocabulary relies on two facts:

1. *A token is always formed by the same merges.* If a token is in the result, no merge crossed its
   borders and the rest of the word had no influence on it. So the merges inside it, in order, are
   those that form the token from its characters alone (`Bpe.parts_of`). The intermediate tokens
   are its ancestors; no text needs others to form it.
2. *A reduced vocabulary that keeps all ancestors does not change texts whose tokens were kept.* All
   merges on the way to such a token were kept too. At each step the merge of lowest rank was one of
   them, and it still has the lowest rank: the reduced tokenizer takes the same steps.

Where a token was removed, its parts take its place. They can be split further, down to bytes, which
are always kept; so every text that could be encoded before still can, and decodes to the same text.

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
from galenic.models.configuration import refusals
from galenic.strict_json import read_object

__all__ = ["Bpe", "read_bpe", "read_tokenizer_file"]

BYTE_TOKENS = tuple(f"<0x{number:02X}>" for number in range(256))
"""Spelling of single bytes in SentencePiece vocabularies."""


@dataclass(frozen=True)
class Bpe:
    """The tables of a BPE tokenizer.

    Attributes:
        vocab: ids by token, added tokens included.
        ranks: rank of each merge by its pair of tokens; the lowest is joined first.
        always: tokens that must be kept: bytes and the unknown token, without which some text could
            not be encoded, and all added tokens, which are matched before merging.
        whole_words: a word that is itself a token is not merged (``ignore_merges``).
    """

    vocab: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]
    always: frozenset[str]
    whole_words: bool

    def parts_of(self, token: str) -> list[tuple[str, str]]:
        """Merges that BPE applies to the characters of a token, in order.

        The last one forms the token itself, unless merging ends in other tokens: then the token
        only occurs with ``whole_words``.
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
        """Tokens that are needed to form this token by merging, including itself.

        Only the token itself if it is always kept, or if merging never forms it.
        """
        merges = [] if token in self.always else self.parts_of(token)
        if not merges or "".join(merges[-1]) != token:
            return frozenset([token])
        return frozenset([token, *(part for merge in merges for part in merge)])

    def close(self, tokens: Iterable[str]) -> frozenset[str]:
        """Smallest valid vocabulary that contains the tokens: adds their ancestors and `always`."""
        return self.always.union(*(self.ancestors(token) for token in tokens))

    @cached_property
    def by_rank(self) -> tuple[str, ...]:
        """Tokens formed by merges, ordered by the rank of the first merge that forms each."""
        ordered = sorted(self.ranks.items(), key=lambda item: item[1])
        return tuple(dict.fromkeys(left + right for (left, right), _ in ordered))


def read_tokenizer_file(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json.

    Raises:
        UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(
            f"{path} cannot be read: it does not exist. transformers writes it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    facts = read_object(path)
    if not isinstance(facts.get("model"), dict):
        raise UserError(f"{path} describes no tokenizer.")
    return facts


def read_bpe(path: Path, facts: Mapping[str, Any]) -> Bpe:
    """Read the BPE tables of a tokenizer.json.

    Args:
        path: path of the file, for error messages.
        facts: content of the file.

    Raises:
        UserError: the tokenizer is not plain BPE, cannot encode single bytes, or its tables
            contradict each other.
    """
    with refusals(lambda why: UserError(f"{path} is damaged: {why}. Download it again.")):
        return _tables(path, facts)


def _tables(path: Path, facts: Mapping[str, Any]) -> Bpe:
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
        ranks[pair] = len(ranks)  # of a duplicate pair the last counts, as in tokenizers
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
            + "; only plain BPE can be pruned (byte-level, or with byte_fallback)."
        )


def _pairs(path: Path, merges: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield merges as pairs; files store them as "a b", or as ["a", "b"] if tokens have spaces."""
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            raise UserError(f"{path} has the merge {merge!r}, which is not a pair.")
        yield str(pair[0]), str(pair[1])


def _bytes(path: Path, facts: Mapping[str, Any], vocab: Mapping[str, int]) -> frozenset[str]:
    """Tokens of the vocabulary that stand for single bytes."""
    from tokenizers import pre_tokenizers

    if facts["model"].get("byte_fallback"):
        wanted: Iterable[str] = BYTE_TOKENS
    else:
        wanted = pre_tokenizers.ByteLevel.alphabet()
        steps = facts.get("pre_tokenizer") or {}
        steps = steps.get("pretokenizers", [steps])
        if not any(step.get("type") == "ByteLevel" for step in steps):
            raise UserError(
                f"{path} neither works on bytes nor falls back to them (byte_fallback): text "
                "with removed tokens could not be encoded."
            )
    # some vocabularies lack a few (SmolLM2 lacks 21), before and after the reduction
    return frozenset(symbol for symbol in wanted if symbol in vocab)
