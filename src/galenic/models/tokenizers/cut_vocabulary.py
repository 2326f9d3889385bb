"""Write a tokenizer with fewer tokens; ids are renumbered in their old order in all files.

Formats: https://huggingface.co/docs/tokenizers/components and
https://huggingface.co/docs/transformers/main_classes/tokenizer
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.tokenizers.bpe import Bpe
from galenic.strict_json import read_object

__all__ = ["COPIED_FILES", "named_ids", "renumber_config", "write_cut_tokenizer"]

COPIED_FILES = ("chat_template*", "special_tokens_map.json")
"""Tokenizer files that can be copied, because they name tokens by text only. All others hold ids or
whole vocabularies (``vocab.json``, ``merges.txt``, ``tokenizer.model``) and would be wrong."""


_SUPPRESSED = ("suppress_tokens", "begin_suppress_tokens")
_FORCED = ("force_words_ids",)
_WORDS = ("bad_words_ids", *_FORCED)


def named_ids(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Token ids by configuration key: special tokens (``bos_token_id``, ``eos_token_id``, ...) and
    tokens that generation is forced to produce."""
    found = {key: _flat(config[key]) for key in _FORCED if config.get(key)}
    if rows := config.get("forced_decoder_ids"):
        found["forced_decoder_ids"] = [number for _, number in rows]
    for key, value in config.items():
        if not key.endswith("_token_id") or value is None:
            continue
        ids = value if isinstance(value, list) else [value]
        if all(isinstance(number, int) and not isinstance(number, bool) for number in ids):
            found[key] = ids
    return found


def renumber_config(config: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    """Renumber the token ids of a configuration in place; ids of removed tokens become None.

    Removed tokens, and words with a removed token, are dropped from lists of suppressed tokens and
    words, because the model can no longer produce them.
    """
    for key, ids in named_ids(config).items():
        if not key.endswith("_token_id"):
            continue
        kept = [new_ids[number] for number in ids if number in new_ids]
        config[key] = kept if isinstance(config[key], list) else next(iter(kept), None)
    for key in _SUPPRESSED:
        if config.get(key):
            config[key] = [new_ids[one] for one in config[key] if one in new_ids] or None
    for key in _WORDS:
        if config.get(key):
            config[key] = _renumbered(config[key], new_ids) or None
    if rows := config.get("forced_decoder_ids"):
        config["forced_decoder_ids"] = [[place, new_ids[number]] for place, number in rows]
    if biases := config.get("sequence_bias"):
        kept_words = ((_renumbered(word, new_ids), bias) for word, bias in biases)
        config["sequence_bias"] = [[word, bias] for word, bias in kept_words if word] or None


def _flat(value: Any) -> list[int]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]


def _renumbered(words: list[Any], new_ids: Mapping[int, int]) -> list[Any]:
    """Renumber a word (empty if a token was removed), or a list of words (without removed ones)."""
    if all(isinstance(one, int) for one in words):
        known = all(one in new_ids for one in words)
        return [new_ids[one] for one in words] if known else []
    return [word for one in words if (word := _renumbered(one, new_ids))]


def write_cut_tokenizer(
    source: Path, target: Path, facts: Mapping[str, Any], bpe: Bpe, kept: Collection[str]
) -> dict[int, int]:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and ``generation_config.json``.

    Args:
        source: folder of the parent model.
        target: folder to write to.
        facts: content of the parent's ``tokenizer.json``.
        bpe: BPE tables of the parent.
        kept: tokens to keep, with their ancestors (`galenic.models.tokenizers.bpe.Bpe.close`).

    Returns:
        New id of every kept token by old id, in ascending order.

    Raises:
        UserError: the post-processor is of an unknown kind.
    """
    ids = sorted(bpe.vocab[token] for token in kept)
    new_ids = {old: new for new, old in enumerate(ids)}
    by_token = {token: new_ids[bpe.vocab[token]] for token in kept}
    model = dict(facts["model"])
    model["vocab"] = {
        token: by_token[token] for token in model["vocab"] if token in by_token
    }  # in the old order
    model["merges"] = [merge for merge in model["merges"] if _stays(merge, by_token)]
    cut = dict(facts) | {"model": model}
    cut["added_tokens"] = [
        token | {"id": by_token[token["content"]]} for token in facts.get("added_tokens") or []
    ]
    cut["post_processor"] = _post_processor(source, facts.get("post_processor"), by_token)
    if padding := facts.get("padding"):
        number = by_token.get(padding["pad_token"])
        cut["padding"] = None if number is None else padding | {"pad_id": number}
    _write(target / "tokenizer.json", cut)
    _copy_changed(source, target, "tokenizer_config.json", _renumber_decoder, new_ids)
    _copy_changed(source, target, "generation_config.json", renumber_config, new_ids)
    return new_ids


def _stays(merge: Any, kept: Collection[str]) -> bool:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in kept and right in kept and left + right in kept


def _post_processor(source: Path, step: Any, by_token: Mapping[str, int]) -> Any:
    if step is None or step["type"] == "ByteLevel":
        return step
    if step["type"] == "Sequence":
        parts = [_post_processor(source, part, by_token) for part in step["processors"]]
        return step | {"processors": parts}
    if step["type"] == "TemplateProcessing":
        special = {
            name: entry | {"ids": [by_token[token] for token in entry["tokens"]]}
            for name, entry in step["special_tokens"].items()
        }
        return step | {"special_tokens": special}
    raise UserError(
        f"{source / 'tokenizer.json'} has a post-processor of kind {step['type']}, whose token ids "
        "cannot be changed here."
    )


def _renumber_decoder(config: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    if rows := config.get("added_tokens_decoder"):
        config["added_tokens_decoder"] = {
            str(new_ids[int(number)]): row for number, row in rows.items() if int(number) in new_ids
        }


def _copy_changed(
    source: Path, target: Path, name: str, change: Any, new_ids: Mapping[int, int]
) -> None:
    if (source / name).is_file():
        facts = read_object(source / name)
        change(facts, new_ids)
        _write(target / name, facts)


def _write(path: Path, facts: Any) -> None:
    text = json.dumps(facts, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
