"""Convert the SentencePiece-style BPE of a ``tokenizer.json`` to the pieces and scores of a GGUF.

Llama 2, Mistral 7B, Phi-3 and Gemma write a space as ``▁``, merge characters over the whole text,
and encode characters without a token as bytes. llama.cpp stores a score for each token and no
merges: it joins any two adjacent pieces that form a token, highest score first. This equals merging
by rank if every split of a token in two is a merge, and all merges of a token have consecutive
ranks. Files converted from SentencePiece meet this; others are refused. One difference remains:
where a token overlaps itself in a text and can be formed in two ways, llama.cpp joins the leftmost
first, and the tokenizers library the one of lower rank.

Formats: https://huggingface.co/docs/tokenizers/components and
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.errors import UserError

__all__ = [
    "BYTE_TOKENS",
    "KEPT_SPACES",
    "SPACE",
    "Spaces",
    "is_run",
    "is_sentencepiece",
    "piece_scores",
    "read_spaces",
    "strips_as_phi3",
]

SPACE = "▁"
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
KEPT_SPACES = ("<unk>", "<s>", "<|endoftext|>")
"""Special tokens of Phi-3 that keep the spaces after them, in llama.cpp."""


def is_sentencepiece(model: Mapping[str, Any]) -> bool:
    """Whether the ``model`` of a tokenizer.json is BPE with byte fallback."""
    return model.get("type") == "BPE" and bool(model.get("byte_fallback"))


def is_run(token: str) -> bool:
    """Whether the token consists of two or more spaces."""
    return token.count(SPACE) == len(token) > 1


@dataclass(frozen=True)
class Spaces:
    """How spaces are treated.

    Attributes:
        first: whether a space is put before the text.
        scheme: where, if only where none is (`TextRules.spaces`).
        compose: whether accents are composed before.
    """

    first: bool = False
    scheme: str = ""
    compose: bool = False


def read_spaces(path: Path, facts: Mapping[str, Any]) -> Spaces:
    """Read what the normalizer and the pre-tokenizer do with a text.

    Raises:
        UserError: the normalizer or pre-tokenizer does anything that llama.cpp does not, or does
            not write spaces as ``▁``.
    """
    prefix = spelled = compose = False
    scheme = ""
    for step in _steps(facts.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend" and step.get("prepend") == SPACE:
            prefix = True
        elif step.get("type") == "Replace" and _replaces_spaces(step):
            spelled = True
        elif step.get("type") == "NFC":
            compose = True
        else:
            raise _unknown(path, "normalizer", step)
    for step in _steps(facts.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace" and not prefix and _whole(step, facts):
            spelled = True
            old = "always" if step.get("add_prefix_space", True) else "never"
            scheme = step.get("prepend_scheme", old).replace("never", "")
        elif not (spelled and _cuts_at_spaces(step)):  # no spaces are left to split at
            raise _unknown(path, "pre-tokenizer", step)
    if not spelled:
        raise UserError(f"{path} does not spell spaces as {SPACE}, which llama.cpp does.")
    return Spaces(prefix or bool(scheme), scheme, compose)


def _steps(part: Mapping[str, Any] | None, key: str) -> Sequence[Mapping[str, Any]]:
    if part is None:
        return ()
    return part.get(key, ()) if part.get("type") == "Sequence" else (part,)


def _replaces_spaces(step: Mapping[str, Any]) -> bool:
    return step.get("pattern") == {"String": " "} and step.get("content") == SPACE


def _whole(step: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether merging goes over the whole text: it is not split, or no token has an inner space."""
    if step.get("replacement") != SPACE:
        return False
    return step.get("split", True) is False or not any(
        SPACE in token[1:] for token in facts["model"]["vocab"]
    )


def _cuts_at_spaces(step: Mapping[str, Any]) -> bool:
    return step.get("type") == "Split" and step.get("pattern") == {"String": " "}


def _unknown(path: Path, part: str, step: Mapping[str, Any]) -> UserError:
    return UserError(
        f"{path} has the {part} {dict(step)}, which llama.cpp does not do for a SentencePiece "
        "tokenizer."
    )


def piece_scores(
    path: Path, tokens: Sequence[str], model: Mapping[str, Any], added: Collection[str]
) -> tuple[float, ...]:
    """Score of each token; tokens that are merged earlier have higher scores.

    Args:
        path: path of the tokenizer.json, for error messages.
        tokens: tokens by id.
        model: ``model`` of the tokenizer.json.
        added: added tokens, which are matched in the text before merging.

    Raises:
        UserError: a byte has no token, or no scores reproduce the merges.
    """
    known = set(tokens)
    missing = [token for token in BYTE_TOKENS if token not in known]
    if missing:
        raise UserError(f"{path} falls back on bytes and has no token {missing[0]}.")
    if model.get("ignore_merges"):
        raise UserError(f"{path} sets ignore_merges, which llama.cpp does not do with scores.")
    merges = [cut for cut in _merges(path, model) if not _settled("".join(cut), added, known)]
    runs = [cut for cut in merges if is_run("".join(cut))]
    order, odd = _order(merges, tied=runs == sorted(runs, key=_longest, reverse=True))
    if odd is not None:
        raise UserError(
            f"{path} merges {odd!r} with different ranks; llama.cpp has one score a token."
        )
    _check_cuts(path, tokens, set(merges), added)
    return tuple(-float(order.get(token, len(order))) for token in tokens)


def _settled(token: str, added: Collection[str], known: Collection[str]) -> bool:
    """Whether merging never forms the token: it is unknown, or was matched before as a whole."""
    return token not in known or (token in added and SPACE not in token)


def _longest(cut: tuple[str, str]) -> tuple[int, int]:
    return len(cut[0]), len(cut[1])


def _order(merges: Sequence[tuple[str, str]], *, tied: bool) -> tuple[dict[str, int], str | None]:
    """Rank of each merged token, and a token whose merges are not consecutive, or None.

    SentencePiece gives all runs of spaces one score (Llama 2, Mistral, Gemma). With ``tied``, their
    merges are ranked by length, so a run grows from the left to its full length; llama.cpp does
    the same, because it joins the leftmost pair first among equal scores.
    """
    order: dict[str, int] = {}
    ranks: dict[str, int] = {}
    last = None
    for cut in merges:
        token = "".join(cut)
        group = SPACE * 2 if tied and is_run(token) else token
        if group != last and group in ranks:
            return order, token
        order[token] = ranks.setdefault(group, len(ranks))
        last = group
    return order, None


def _merges(path: Path, model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Read merges in either format: ``["a", "b"]`` or the older ``"a b"``."""
    merges = [
        tuple(merge.split(" ") if isinstance(merge, str) else merge)
        for merge in model.get("merges") or ()
    ]
    if any(len(merge) != 2 for merge in merges):
        raise UserError(f"{path} is damaged: a merge does not have two parts.")
    return [(left, right) for left, right in merges]


def _check_cuts(
    path: Path, tokens: Sequence[str], merges: set[tuple[str, str]], added: Collection[str]
) -> None:
    """Raise UserError if llama.cpp would join two pieces that the tokenizer keeps separate."""
    known = set(tokens)
    for token in tokens:
        if _settled(token, added, known):
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if (left, right) in merges or not all(
                len(part) == 1 or part in known for part in (left, right)
            ):
                continue
            raise UserError(
                f"{path} has the tokens {left!r}, {right!r} and {token!r}, and no merge that joins "
                "the first two, which llama.cpp would do."
            )


def strips_as_phi3(added: Sequence[Mapping[str, Any]], tokens: Collection[str]) -> bool:
    """Whether special tokens swallow the spaces after them, as llama.cpp does for Phi-3."""
    strip = {token["content"] for token in added if token.get("rstrip")}
    whole = {token["content"] for token in added}
    known = {"</s>", *KEPT_SPACES} <= set(tokens)
    return known and strip == (whole | {"</s>"}) - set(KEPT_SPACES)
