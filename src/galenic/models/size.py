"""Describe a model on disk: parameters, bytes by type, sparsity, tokenizer, manifest."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.models.configuration import refusals
from galenic.models.files import ModelFiles
from galenic.models.folder import MANIFEST, check_folder
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.header import GgufHeader, check_gguf
from galenic.models.gguf.split import parts_of
from galenic.models.gguf.write import CHUNK_VALUES, SourceTensor
from galenic.models.packing.bitsandbytes import packed_sizes
from galenic.models.tensors import StoredTensor, list_tensors
from galenic.strict_json import read_object

__all__ = ["ModelSize", "inspect_model"]

_EMBEDDINGS = re.compile(
    r"^(token_embd|output)\.weight$|(^|\.)(embed_tokens|lm_head|wte|embed_in|embed_out)\.weight$"
    r"|(^|\.)((word|position|token_type)_embeddings|tok_embeddings)\.weight$"
)
_BLOCKS = re.compile(r"^blk\.\d+\.|(^|\.)(layers?|h)\.\d+\.")
_NO_WEIGHTS = re.compile(r"^rope_f|inv_freq$")


@dataclass(frozen=True)
class ModelSize:
    """Facts about a model, as shown by `galenic inspect`.

    Attributes:
        parameters: number of weights: ``total``, ``embeddings`` (with an untied head), ``blocks``
            and ``other``.
        bytes_by_type: stored bytes of each tensor type.
        file_bytes: size of all weight files, headers included.
        bits_per_weight: stored bits per parameter; None if weights are packed in a format that
            cannot be counted.
        context_length: in tokens; None if the model does not state it.
        tokenizer: its kind and number of tokens.
        zeros: share of weights that are exactly zero, ``total`` and ``blocks``; None if not
            requested.
        manifest: content of ``manifest.json`` beside the weights, or None.
    """

    name: str
    kind: str
    path: str
    sha256: str
    architecture: str
    num_layers: int | None
    context_length: int | None
    parameters: dict[str, int]
    bytes_by_type: dict[str, int]
    file_bytes: int
    bits_per_weight: float | None
    tokenizer: str
    chat_template: bool
    zeros: dict[str, float] | None
    manifest: dict[str, Any] | None


@dataclass(frozen=True)
class _Row:
    """A tensor of any file format; ``chunks`` iterates over its values as float32."""

    name: str
    size: int
    type: str
    num_bytes: int
    counted: bool
    chunks: Callable[[], Iterator[NDArray[np.float32]]]

    @property
    def part(self) -> str:
        if _EMBEDDINGS.search(self.name):
            return "embeddings"
        return "blocks" if _BLOCKS.search(self.name) else "other"


def inspect_model(files: ModelFiles, *, zeros: bool = False) -> ModelSize:
    """Describe a model without loading it.

    Args:
        files: from `galenic.models.load.resolve_model`.
        zeros: also count weights that are zero, which reads all weights.

    Raises:
        UserError: the model or its manifest is damaged, or weights to be counted as zeros cannot be
            decoded.
    """
    facts, rows, weights = _gguf(files.path) if files.kind == "gguf" else _folder(files.path)
    rows = [row for row in rows if not _NO_WEIGHTS.search(row.name)]
    parameters: Counter[str] = Counter(total=0, embeddings=0, blocks=0, other=0)
    stored: Counter[str] = Counter()
    for row in rows:
        stored[row.type] += row.num_bytes
        if row.counted:
            parameters.update({row.part: row.size, "total": row.size})
    known = all(row.counted for row in rows) and parameters["total"] > 0
    return ModelSize(
        name=files.name,
        kind=files.kind,
        path=str(files.path),
        sha256=files.sha256,
        **facts,
        parameters=dict(parameters),
        bytes_by_type=dict(stored.most_common()),
        file_bytes=sum(file.stat().st_size for file in weights),
        bits_per_weight=8 * stored.total() / parameters["total"] if known else None,
        zeros=_zeros(rows) if zeros else None,
        manifest=_manifest(files.path),
    )


def _zeros(rows: list[_Row]) -> dict[str, float]:
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for row in rows:
        found = sum(int((chunk == 0).sum()) for chunk in row.chunks())
        for part in ("total", row.part):
            count[part] += found
            size[part] += row.size
    return {part: count[part] / size[part] if size[part] else 0.0 for part in ("total", "blocks")}


def _manifest(path: Path) -> dict[str, Any] | None:
    file = (path if path.is_dir() else path.parent) / MANIFEST
    if not file.is_file():
        return None
    return _json(file)


def _json(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _gguf(path: Path) -> tuple[dict[str, Any], list[_Row], list[Path]]:
    header = check_gguf(path)
    architecture = header.metadata["general.architecture"]
    facts = {
        "architecture": architecture,
        "num_layers": header.metadata.get(f"{architecture}.block_count"),
        "context_length": header.metadata.get(f"{architecture}.context_length"),
        "tokenizer": _gguf_tokenizer(header),
        "chat_template": bool(header.metadata.get("tokenizer.chat_template")),
    }
    # built only when values are needed: sizes are also known for types that cannot be decoded
    source = cache(lambda: {tensor.name: tensor for tensor in gguf_source(path).tensors})
    rows = [
        _Row(
            t.name, math.prod(t.shape), t.type, t.num_bytes, True, partial(_decoded, source, t.name)
        )
        for t in header.tensors
    ]
    return facts, rows, parts_of(path)


def _gguf_tokenizer(header: GgufHeader) -> str:
    kind, rule = (header.metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    tokens = header.array_lengths.get("tokenizer.ggml.tokens")
    if kind is None or tokens is None:
        return "none"
    return f"{kind}{f' ({rule})' if rule else ''}, {tokens:,} tokens"


def _decoded(
    source: Callable[[], dict[str, SourceTensor]], name: str
) -> Iterator[NDArray[np.float32]]:
    tensor = source()[name]
    step = max(1, CHUNK_VALUES // math.prod(tensor.shape[1:]))
    for start in range(0, tensor.shape[0], step):
        yield tensor.read(start, min(start + step, tensor.shape[0]))


def _folder(folder: Path) -> tuple[dict[str, Any], list[_Row], list[Path]]:
    weights = check_folder(folder)
    config = _json(folder / "config.json")
    settings = config.get("text_config") or config
    facts = {
        "architecture": str(config.get("model_type") or config["architectures"][0]),
        "num_layers": settings.get("num_hidden_layers"),
        "context_length": settings.get("max_position_embeddings"),
        "tokenizer": _folder_tokenizer(folder),
        "chat_template": (folder / "chat_template.jinja").is_file()
        or bool(_json(folder / "tokenizer_config.json").get("chat_template")),
    }
    stored = list_tensors(weights)
    if settings.get("tie_word_embeddings") and any("embed_tokens" in name for name in stored):
        stored.pop("lm_head.weight", None)  # a tied head that was saved too
    packed = packed_sizes(stored)
    rows = [
        _Row(
            t.name,
            packed.get(t.name, math.prod(t.shape)),
            t.dtype,
            t.num_bytes,
            t.is_floating or t.name in packed,
            partial(_mapped, t),
        )
        for t in stored.values()
    ]
    return facts, rows, weights


def _folder_tokenizer(folder: Path) -> str:
    path = folder / "tokenizer.json"
    facts = _json(path)
    model = facts.get("model") or {}
    if not model:
        return "tokenizer.json is missing"
    with refusals(
        lambda why: UserError(
            f"{path} is damaged: its vocabulary is not valid ({why}). Get it again."
        )
    ):
        tokens = set(model["vocab"]) if isinstance(model.get("vocab"), dict) else set()
        if not tokens:  # Unigram: pairs of token and score
            tokens = {row[0] for row in model.get("vocab", ())}
        tokens |= {token["content"] for token in facts.get("added_tokens") or ()}
        return f"{one_line(str(model.get('type')), 40)}, {len(tokens):,} tokens"


def _mapped(tensor: StoredTensor) -> Iterator[NDArray[np.float32]]:
    values = tensor.map().reshape(-1)
    for start in range(0, len(values), CHUNK_VALUES):
        yield tensor.decode(values[start : start + CHUNK_VALUES])
