"""Check that a GGUF is consistent before llama.cpp reads it.

llama.cpp trusts much of a file and aborts the whole process on some errors (a duplicate token, too
many layers). So sizes, types and vocabulary are compared with the tensors here. Errors that this
check does not know are caught by a first load in a child process (`galenic.runtimes.llama_trial`).

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.gguf.header import GgufHeader, check_gguf, read_header

__all__ = ["check_model"]

TOKENS, TOKEN_TYPES, SCORES, MERGES = (
    f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores", "merges")
)
ARRAYS = {TOKENS: "s", TOKEN_TYPES: "iI", SCORES: "f", MERGES: "s"}
"""Arrays whose item type llama.cpp does not check, and the item types allowed here."""
HEADS, KEY_HEADS = "attention.head_count", "attention.head_count_kv"
MOST = {
    "block_count": 512,
    "context_length": 1 << 28,
    "embedding_length": 1 << 20,
    "expert_count": 512,
    "expert_used_count": 512,
    "feed_forward_length": 1 << 24,
    "attention.key_length": 1 << 16,
    "attention.value_length": 1 << 16,
    "rope.dimension_count": 1 << 16,
    HEADS: 1 << 16,
    KEY_HEADS: 1 << 16,
}
"""Largest allowed value of each metadata key (without the architecture prefix)."""
NEEDED = ("block_count", "context_length", "embedding_length")
POSITIVE = (
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "rope.freq_base",
)
EMBEDDING = "token_embd.weight"
BLOCK = re.compile(r"blk\.([0-9]{1,6})\.")


def check_model(path: Path) -> GgufHeader:
    """Check that metadata, vocabulary and tensors of a language model are consistent.

    Raises:
        UserError: as `check_gguf`, or the metadata is impossible or contradicts the tensors.
    """
    whole = check_gguf(path)
    header = replace(read_header(path, arrays=ARRAYS), tensors=whole.tensors)
    told = _Told(path, header)
    told.check_numbers()
    told.check_blocks()
    told.check_heads()
    told.check_vocabulary()
    return header


class _Told:
    """The checks of one header."""

    def __init__(self, path: Path, header: GgufHeader) -> None:
        self.path = path
        self.header = header
        self.architecture = header.metadata["general.architecture"]
        self.shapes = {tensor.name: tensor.shape for tensor in header.tensors}

    def wrong(self, why: str) -> UserError:
        return UserError(
            f"{self.path} is a damaged GGUF: {one_line(why)}. Download or convert it again."
        )

    def value(self, key: str, default: Any = None) -> Any:
        return self.header.metadata.get(f"{self.architecture}.{key}", default)

    def check_numbers(self) -> None:
        for key in NEEDED:
            if not self.value(key):
                raise self.wrong(f"{self.architecture}.{key} is missing or nothing")
        for key, value in self.header.metadata.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise self.wrong(f"{one_line(key, 80)} is {value}")
        for key, most in MOST.items():
            found = self.value(key)
            if found is not None and not (type(found) is int and 0 <= found <= most):
                raise self.wrong(f"{key} is {_short(found)}; it may be 0 to {most:,}")
        for key in POSITIVE:
            found = self.value(key)
            if found is not None and not (type(found) is float and 0 < found < math.inf):
                raise self.wrong(f"{key} is {_short(found)}, not a positive number")

    def check_blocks(self) -> None:
        count = self.value("block_count")
        found = {int(match[1]) for name in self.shapes if (match := BLOCK.match(name))}
        if found != set(range(count)):
            last = max(found, default=-1)
            raise self.wrong(
                f"block_count is {count}, and its tensors are of {len(found)} blocks up to {last}"
            )

    def check_heads(self) -> None:
        width = self.value("embedding_length")
        heads = self.value(HEADS)
        size = self.value("attention.key_length")
        if heads is not None:  # None if missing, or an array with one number for each block
            keys = self.value(KEY_HEADS, heads)
            if not heads or not keys or heads % keys:
                raise self.wrong(f"it has {heads} heads and {keys} key heads")
            if size is None and width % heads:
                raise self.wrong(f"its width {width} is not a multiple of its {heads} heads")
            size = size or width // heads
        turned = self.value("rope.dimension_count", 0)
        if turned % 2 or (size is not None and turned > size):
            raise self.wrong(f"rope.dimension_count is {turned}, for heads of {size}")
        if self.value("expert_used_count", 0) > self.value("expert_count", 0):
            raise self.wrong("it uses more experts than it has")

    def check_vocabulary(self) -> None:
        metadata, types = self.header.metadata, self.header.types
        for key, allowed in ARRAYS.items():
            is_array = key in self.header.array_lengths
            if key in types and (not is_array or types[key] not in allowed):
                raise self.wrong(f"{key} is not a list, or a list of another type")
        kind = metadata.get("tokenizer.ggml.model")
        tokens = metadata.get(TOKENS)
        if not isinstance(kind, str) or kind in ("none", "no_vocab") or not tokens:
            raise self.wrong(f"it has no tokenizer (tokenizer.ggml.model is {_short(kind)})")
        for key in (TOKEN_TYPES, SCORES):
            if key in metadata and len(metadata[key]) != len(tokens):
                raise self.wrong(f"it has {len(tokens)} tokens and {len(metadata[key])} of {key}")
        if not all(math.isfinite(score) for score in metadata.get(SCORES, ())):
            raise self.wrong("its tokens have scores that are no finite numbers")
        known = set()
        for token in tokens:
            if token in known and "\ufffd" not in token:  # U+FFFD replaces invalid UTF-8
                raise self.wrong(f"the token {_short(token)} appears twice in its vocabulary")
            known.add(token)
        shape = (self.value("embedding_length"), len(tokens))
        if self.shapes.get(EMBEDDING, shape) != shape:
            raise self.wrong(
                f"it has {shape[1]} tokens of {shape[0]} numbers, and {EMBEDDING} is of shape "
                f"{self.shapes[EMBEDDING]}"
            )


def _short(value: Any) -> str:
    return one_line(repr(value), 80)
