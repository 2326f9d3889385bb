"""Build the tokenizer of a GGUF with the ``tokenizers`` library, splitting text as llama.cpp does.

A GGUF stores vocabulary and merges, but only the name of its pre-tokenizer, the rule that splits
text into words before merging (``tokenizer.ggml.pre``). transformers knows some of these names and
uses GPT-2's rule for all others, which for SmolLM joins digits that the model never saw joined. So
the rules are tabulated here, and an unknown name is an error.

The rules: https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.models.gguf.header import read_metadata
from galenic.models.gguf.pieces import KEPT_SPACES
from galenic.models.tokenizers.text_rules import KEY, TextRules

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["PRE_TOKENIZERS", "PreTokenizer", "gguf_tokenizer"]

logger = logging.getLogger(__name__)

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
ARRAYS = ("tokens", "token_type", "merges", "scores")
NAMES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}

_SUFFIX = r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"


def _words(digits: str) -> str:
    """Pattern of GPT-4 and its successors, with the given pattern for digits.

    A word may start with one other character; line breaks end a run of punctuation.
    """
    start = r"[^\r\n\p{L}\p{N}]?\p{L}+"
    return rf"{_SUFFIX}|{start}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased_words(digits: str, suffix: str) -> str:
    """Like `_words`, and also splits between lower and upper case (tekken, GPT-4o)."""
    start = r"[^\r\n\p{L}\p{N}]?"
    lower = rf"{start}{_UPPER}*{_LOWER}+{suffix}"
    upper = rf"{start}{_UPPER}+{_LOWER}*{suffix}"
    return rf"{lower}|{upper}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


@dataclass(frozen=True)
class PreTokenizer:
    """How text is split into words before merging.

    Attributes:
        patterns: regular expressions, applied in turn; each splits the pieces left by the previous
            ones into its matches and the text between them.
        ignore_merges: a word that is itself a token is not merged.
        add_bos: whether a start token is added if the file does not say.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False


_RULES = {
    "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat mellum a.x-4.0": (
        PreTokenizer((_GPT2,))
    ),
    "smollm starcoder refact command-r codeshell exaone minerva-7b": (
        PreTokenizer((r"\p{N}", _GPT2))
    ),
    "glm4": PreTokenizer((_words(r"\p{N}{1,3}"),), ignore_merges=True),
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2": (
        PreTokenizer((_words(r"\p{N}{1,3}"),), ignore_merges=True, add_bos=True)
    ),
    "dbrx smaug-bpe chatglm-bpe": PreTokenizer((_words(r"\p{N}{1,3}"),)),
    "qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan": PreTokenizer((_words(r"\p{N}"),)),
    "tekken": (PreTokenizer((_cased_words(r"\p{N}", ""),), ignore_merges=True, add_bos=True)),
    "gpt-4o llama4": PreTokenizer((_cased_words(r"\p{N}{1,3}", f"(?:{_SUFFIX})?"),)),
    "default": PreTokenizer((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}
PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    name: rule for names, rule in _RULES.items() for name in names.split()
}


def gguf_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Build the transformers tokenizer of a GGUF, with its chat template.

    It never adds an end token, even if the file asks for one, because texts are to be continued.

    Raises:
        UserError: the file has no usable vocabulary, or an unknown kind of tokenizer or rule.
    """
    from transformers import PreTrainedTokenizerFast

    metadata = read_metadata(path, arrays=[f"tokenizer.ggml.{name}" for name in ARRAYS])
    facts = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    tokens = facts.get("tokens")
    if not tokens or len(set(tokens)) != len(tokens):
        raise UserError(f"{path} has no vocabulary, or one with repeated tokens.")
    types = facts.get("token_type") or [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise UserError(f"{path} has {len(tokens)} tokens and {len(types)} token types.")
    core, add_bos = _core(path, facts)
    rules = TextRules.read(metadata.get(KEY))
    _follow(core, rules)
    name = str(metadata.get("general.name")).lower()
    _add_special(core, tokens, types, rules, phi3="phi3" in name or "phi-3" in name)
    named = {
        name: tokens[facts[key]]
        for name, key in NAMES.items()
        if key in facts and 0 <= facts[key] < len(tokens)
    }
    if facts.get("add_bos_token", add_bos):
        _put_first(path, core, named.get("bos_token"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, clean_up_tokenization_spaces=False, **named
    )
    template = metadata.get("tokenizer.chat_template")
    if template:
        tokenizer.chat_template = template
    return tokenizer


def _core(path: Path, facts: Mapping[str, Any]) -> tuple[Tokenizer, bool]:
    """Build model, pre-tokenizer and decoder; also whether a start token is added by default."""
    kind = facts.get("model")
    if kind == "gpt2":
        name = facts.get("pre", "default")
        if name not in PRE_TOKENIZERS:
            raise UserError(
                f"{path} splits text by the rule {name!r}, which is not known here, so it would be "
                "encoded wrongly. Known: " + ", ".join(PRE_TOKENIZERS) + ". " + _INSTEAD
            )
        if "pre" not in facts:
            logger.warning("%s does not name its pre-tokenizer; taking the default", path)
        return _byte_level(path, facts, PRE_TOKENIZERS[name]), PRE_TOKENIZERS[name].add_bos
    if kind == "llama":
        return _sentencepiece(path, facts), True
    raise UserError(f"{path} has a tokenizer of kind {kind!r}. " + _INSTEAD)


_INSTEAD = "Use the llama runtime, or the model's Hugging Face folder."


def _byte_level(path: Path, facts: Mapping[str, Any], rule: PreTokenizer) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(facts["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in facts.get("merges", ())]
    if not merges or any(len(merge) != 2 or "".join(merge) not in vocabulary for merge in merges):
        raise UserError(f"{path} has no merges, or merges whose result is not in its vocabulary.")
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=rule.ignore_merges))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    core.decoder = decoders.ByteLevel()
    return core


def _sentencepiece(path: Path, facts: Mapping[str, Any]) -> Tokenizer:
    """SentencePiece BPE: tokens with higher scores are merged first."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens, scores = facts["tokens"], facts.get("scores") or []
    if len(scores) != len(tokens) or "unknown_token_id" not in facts:
        raise UserError(f"{path} has no scores of its tokens, or no unknown token.")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for token, score in zip(tokens, scores, strict=True):
        for cut in range(1, len(token)):
            if token[:cut] in vocabulary and token[cut:] in vocabulary:
                merges.append((-score, token[:cut], token[cut:]))
    # among equal scores (runs of spaces) llama.cpp joins the leftmost first, so runs grow
    merges.sort(key=lambda merge: (merge[0], -len(merge[1]), -len(merge[2])))
    core = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(left, right) for _, left, right in merges],
            unk_token=tokens[facts["unknown_token_id"]],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = facts.get("add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), spaces] if prefix else [spaces]
    )
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return core


def _follow(core: Tokenizer, rules: TextRules) -> None:
    """Let the tokenizer compose accents and put spaces as the file's rules say."""
    from tokenizers import normalizers, pre_tokenizers

    if rules.spaces:  # in place of a space before every text
        core.normalizer = None
        core.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=rules.spaces, split=False)
    if rules.compose:
        rest = [] if core.normalizer is None else [core.normalizer]
        core.normalizer = normalizers.Sequence([normalizers.NFC(), *rest])


def _add_special(
    core: Tokenizer, tokens: list[str], types: list[int], rules: TextRules, *, phi3: bool
) -> None:
    """Add special tokens, which are matched in the text before it is split.

    With ``phi3``, most of them swallow the spaces after them; llama.cpp decides this by the name of
    the model.
    """
    from tokenizers import AddedToken

    left, right = set(rules.lstrip), set(rules.rstrip)

    def found(*kinds: int) -> list[AddedToken]:
        return [
            AddedToken(
                token,
                normalized=False,
                lstrip=token in left,
                rstrip=token in right or (phi3 and token not in KEPT_SPACES),
            )
            for token, kind in zip(tokens, types, strict=True)
            if kind in kinds
        ]

    core.add_special_tokens(found(CONTROL, UNKNOWN))
    core.add_tokens(found(USER_DEFINED))


def _put_first(path: Path, core: Tokenizer, bos: str | None) -> None:
    from tokenizers import processors

    if bos is None:
        raise UserError(f"{path} wants a start token and names none.")
    core.post_processor = processors.TemplateProcessing(
        single=[bos, "$A"],
        pair=[bos, "$A", "$B"],
        special_tokens=[(bos, core.token_to_id(bos))],
    )
