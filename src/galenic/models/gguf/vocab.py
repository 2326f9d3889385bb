"""Convert the tokenizer of a Hugging Face folder to the metadata of a GGUF.

For byte-level BPE, a GGUF only names the pre-tokenizer rule, which llama.cpp has built in. So the
rule in ``tokenizer.json`` is looked up in `galenic.models.gguf.tokenizer`, and an unknown one is an
error. SentencePiece-style BPE has no such rule, and scores instead of merges
(`galenic.models.gguf.pieces`).

Formats: https://huggingface.co/docs/tokenizers/components and
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#ggml
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.configuration import refusals
from galenic.models.gguf.pieces import (
    BYTE_TOKENS,
    is_run,
    is_sentencepiece,
    piece_scores,
    read_spaces,
    strips_as_phi3,
)
from galenic.models.gguf.tokenizer import PRE_TOKENIZERS
from galenic.models.tokenizers.added import check_added_ids, check_spelling
from galenic.models.tokenizers.text_rules import KEY, TextRules

if TYPE_CHECKING:
    from gguf import GGUFWriter
from galenic.strict_json import read_object

__all__ = ["Vocabulary", "read_vocabulary"]

logger = logging.getLogger(__name__)

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
NAMES = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken", "gpt-4o", "default")
"""Pre-tokenizer names to choose from, one for each rule; `PRE_TOKENIZERS` also has synonyms."""

_GPT2 = PRE_TOKENIZERS["gpt-2"].patterns[0]
_SUFFIX = r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
_SPELLINGS = {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?": f"(?:{_SUFFIX})?",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)": _SUFFIX,
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]": r"(?:(?=\p{L})[^a-z])",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]": r"(?:(?=\p{L})[^A-Z])",
}
"""Regular expressions of tokenizer.json files and their equivalents in `PRE_TOKENIZERS`."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer metadata of a GGUF.

    Attributes:
        tokens: tokens by id, one for each row of the embedding.
        types: type of each token, as numbered in the GGUF format.
        pre: name of the pre-tokenizer rule (``default`` for SentencePiece, which has none).
        add_bos: whether a start token is added before every text.
        add_eos: whether an end token is added after every text.
        special: merges, special token ids and chat template: a ``gguf.SpecialVocab``.
        scores: SentencePiece scores, the highest is merged first; None for byte-level BPE.
        space_first: whether a space is added before the text.
        phi3_spaces: whether special tokens swallow the spaces after them, as llama.cpp does for
            models named Phi-3.
        rules: what is done to a text before, and llama.cpp does not do.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    pre: str
    add_bos: bool
    add_eos: bool
    special: Any
    scores: tuple[float, ...] | None = None
    space_first: bool = False
    phi3_spaces: bool = False
    rules: TextRules = field(default_factory=TextRules)

    def describe(self, writer: GGUFWriter) -> None:
        """Write the tokenizer's metadata."""
        writer.add_tokenizer_model("gpt2" if self.scores is None else "llama")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(list(self.tokens))
        writer.add_token_types(list(self.types))
        if self.scores is not None:
            writer.add_token_scores(list(self.scores))
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        writer.add_add_space_prefix(self.space_first)
        if self.rules:
            writer.add_string(KEY, self.rules.written())
        self.special.add_to_gguf(writer, quiet=True)


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Read the tokenizer of a folder.

    Args:
        folder: folder with ``tokenizer.json`` and optionally ``tokenizer_config.json``.
        size: rows of the embedding; ids without a token become unused tokens.

    Raises:
        UserError: tokenizer.json is missing or not BPE, llama.cpp does not know its rules, or it
            has more tokens than the embedding has rows.
    """

    def say(why: str) -> UserError:
        return UserError(f"the tokenizer of {folder} is damaged: {why}. Download it again.")

    from tokenizers import Tokenizer

    with refusals(say):
        found = _vocabulary(folder, size)
        # refuses what contradicts itself, such as merges that make no token
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        return found


def _vocabulary(folder: Path, size: int) -> Vocabulary:
    from gguf import SpecialVocab

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"{folder} has no tokenizer.json, which a GGUF is made from. transformers writes it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    facts = _read(path)
    model, added = facts.get("model") or {}, facts.get("added_tokens") or []
    pieces = is_sentencepiece(model)
    check_added_ids(path, facts)
    if _read(folder / "tokenizer_config.json").get("split_special_tokens"):
        raise UserError(
            f"{folder}: tokenizer_config.json says split_special_tokens, so that no special token "
            "is found in a text, and a GGUF cannot say so. Set it to false."
        )
    _check_model(path, model, None if pieces else facts.get("normalizer"))
    tokens, types = _tokens(path, model, added, size)
    left, right = _strips(path, added, tokens)
    special = SpecialVocab(folder, load_merges=not pieces, n_vocab=size)
    ends = _end_ids(folder, tokens, _ends(path, facts), special)
    special.add_special_token = {}
    add_bos, add_eos = (number is not None for number in ends)
    if pieces:
        check_spelling(path, added, facts.get("normalizer"))
        whole = {token["content"] for token in added}
        if model.get("unk_token") in tokens:
            special.special_token_ids["unk"] = tokens.index(model["unk_token"])
        scores = piece_scores(path, tokens, model, whole)
        spaces = read_spaces(path, facts)
        return Vocabulary(
            tokens, types, "default", add_bos, add_eos, special,
            scores=scores,
            space_first=spaces.first,
            phi3_spaces=strips_as_phi3(added, tokens),
            rules=TextRules(spaces.compose, spaces.scheme, lstrip=left, rstrip=right),
        )  # fmt: skip
    pre = _name_rule(path, facts.get("pre_tokenizer"), bool(model.get("ignore_merges")))
    rules = TextRules(facts.get("normalizer") is not None, lstrip=left, rstrip=right)
    return Vocabulary(tokens, types, pre, add_bos, add_eos, special, rules=rules)


def _end_ids(
    folder: Path, tokens: Sequence[str], ends: tuple[str | None, str | None], special: Any
) -> list[int | None]:
    """Ids of the tokens added before and after a text, or None; also sets them in ``special``."""
    numbers = [tokens.index(token) if token else None for token in ends]
    for name, number in zip(("bos", "eos"), numbers, strict=True):
        said = special.add_special_token.get(name)
        if number is not None:
            special.special_token_ids[name] = number
        elif said and _read(folder / "tokenizer_config.json").get(f"add_{name}_token"):
            raise UserError(
                f"{folder}: tokenizer_config.json says add_{name}_token, and tokenizer.json adds "
                "none. Correct one of the two."
            )
    return numbers


def _read(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _check_model(
    path: Path, model: Mapping[str, Any], normalizer: Mapping[str, Any] | None
) -> None:
    kind = model.get("type")
    if kind != "BPE":
        raise UserError(
            f"{path} is a tokenizer of kind {kind}; only BPE can be written into a GGUF here. "
            "Convert the model with llama.cpp's convert_hf_to_gguf.py instead."
        )
    odd = [
        name
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
        if model.get(name)
    ]
    # Qwen composes accents (NFC) first; llama.cpp never does, for any model, but our runtimes do
    if normalizer is not None and normalizer.get("type") != "NFC":
        odd.append(f"normalizer {normalizer.get('type')}")
    if odd:
        raise UserError(f"{path} has {', '.join(odd)}, which llama.cpp does not do.")


def _name_rule(path: Path, pre: Mapping[str, Any] | None, ignore_merges: bool) -> str:
    """Return llama.cpp's name of the pre-tokenizer."""
    found = tuple(_patterns(path, pre or {}))
    for name in NAMES:
        rule = PRE_TOKENIZERS[name]
        if rule.patterns == found and rule.ignore_merges == ignore_merges:
            return name
    raise UserError(
        f"{path} splits text into words by a rule that llama.cpp does not have: {found}, "
        f"ignore_merges {ignore_merges}. Known: {', '.join(NAMES)}."
    )


def _patterns(path: Path, pre: Mapping[str, Any]) -> Iterator[str]:
    """Regular expressions of the pre-tokenizer, in order, written as in `PRE_TOKENIZERS`."""
    steps = pre.get("pretokenizers", ()) if pre.get("type") == "Sequence" else [pre]
    if not steps or steps[-1].get("type") != "ByteLevel":
        raise UserError(f"{path} is not byte-level: its pre-tokenizer is {pre.get('type')}.")
    for step in steps:
        kind = step.get("type")
        if kind == "ByteLevel" and not step.get("add_prefix_space"):
            if step.get("use_regex", True):
                yield _GPT2
        elif kind == "Digits":
            yield r"\p{N}" if step.get("individual_digits") else r"\p{N}+"
        elif kind == "Split" and _cuts_out(step):
            pattern = step["pattern"].get("Regex", "")
            for theirs, ours in _SPELLINGS.items():
                pattern = pattern.replace(theirs, ours)
            yield pattern
        else:
            raise UserError(f"{path} has the pre-tokenizer {step}, which llama.cpp does not do.")


def _cuts_out(step: Mapping[str, Any]) -> bool:
    """Whether a split step keeps every match as a word (two settings express this)."""
    way = (step.get("behavior"), bool(step.get("invert")))
    return way in (("Isolated", False), ("Removed", True)) and "Regex" in step.get("pattern", {})


def _tokens(
    path: Path, model: Mapping[str, Any], added: Sequence[Mapping[str, Any]], size: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    vocab, pieces = model.get("vocab") or {}, is_sentencepiece(model)
    by_id = {number: (token, NORMAL) for token, number in vocab.items()}
    for token in added:
        kind = CONTROL if token.get("special") else USER_DEFINED
        if pieces and is_run(token["content"]):  # so that llama.cpp writes it as spaces
            kind = NORMAL
        if kind == CONTROL and token["id"] >= size:  # e.g. the image token of text-only Gemma 3
            logger.warning("%s: the model has no row for %r; left out", path, token["content"])
        else:
            by_id[token["id"]] = token["content"], kind
    if pieces:
        # Gemma has the tab character beside or instead of its byte token; llama.cpp needs the byte
        for byte, name in enumerate(BYTE_TOKENS):
            number = vocab.get(name, vocab.get(chr(byte)) if byte < 128 else None)
            if number is not None:
                by_id[number] = name, BYTE
        if model.get("unk_token") in vocab:
            by_id[vocab[model["unk_token"]]] = model["unk_token"], UNKNOWN
    if len(by_id) != len({token for token, _ in by_id.values()}):
        raise UserError(f"{path} has two ids for one token.")
    if max(by_id, default=0) >= size:
        raise UserError(
            f"{path} has token ids up to {max(by_id)}, and the embedding has {size} rows."
        )
    rows = [by_id.get(number, (f"[PAD{number}]", UNUSED)) for number in range(size)]
    return tuple(token for token, _ in rows), tuple(kind for _, kind in rows)


def _strips(
    path: Path, added: Sequence[Mapping[str, Any]], tokens: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Added tokens that swallow the white space before them, and those that do so after them.

    Raises:
        UserError: a token is only found where it is a word of its own, which nothing can say.
    """
    known = set(tokens)
    for token in added:
        if token.get("single_word") and token["content"] in known:
            raise UserError(
                f"{path}: the added token {one_line(repr(token['content']))} is only found where "
                'no letter is beside it ("single_word"), which llama.cpp cannot do. Set it to '
                "false if it is meant to be found everywhere."
            )
    left, right = (
        tuple(t["content"] for t in added if t.get(side) and t["content"] in known)
        for side in ("lstrip", "rstrip")
    )
    return left, right


def _ends(path: Path, facts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Special tokens that the post-processor adds before and after every text, or None."""
    post = facts.get("post_processor") or {}
    steps = post.get("processors", ()) if post.get("type") == "Sequence" else [post]
    templates = [step for step in steps if step.get("type") == "TemplateProcessing"]
    if any(step.get("type") not in (None, "ByteLevel", "TemplateProcessing") for step in steps):
        raise UserError(f"{path} has the post-processor {post.get('type')}, not known here.")
    if not templates:
        return None, None
    row = [
        "" if "Sequence" in item else item["SpecialToken"]["id"] for item in templates[0]["single"]
    ]
    if len(templates) > 1 or row.count("") != 1 or len(row) - 1 > (row[0] != "") + (row[-1] != ""):
        raise UserError(f"{path} puts {row} around a text; a GGUF has one token on each side.")
    return row[0] or None, row[-1] or None
