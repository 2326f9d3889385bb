"""Speed of llama.cpp with each block type on this machine, measured once and cached.

A small Llama model is written in each type (with a few quantized rows, repeated) and run in the
usual way: a prompt is processed, then tokens are added one by one. The timings thus include the
effect of layouts that the library converts weights to when loading them.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.cache import cache_folder, locked, write_atomically
from galenic.compression.quantize.kquant import BLOCK_TYPES, quantize_rows
from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.models.gguf.write import SourceTensor
    from galenic.runtimes.libllama import LibLlama

__all__ = ["SLOWEST", "fast_types", "known_seconds", "type_seconds"]

SLOWEST = 1.35
"""Maximum time of a fast type, relative to the fastest type of the same size."""
TABLE = "type-speeds.json"
VERSION = 1
VOCAB, HIDDEN, FFN, BLOCKS = 64, 512, 2048, 2
DRAWN_ROWS = 16
READ, WRITTEN, ROUNDS = 64, 16, 3
"""Prompt tokens, tokens added one by one, and number of repetitions (the fastest counts)."""


def fast_types(kinds: Iterable[str]) -> tuple[str, ...]:
    """Filter types: keep those with no larger type faster, and none of equal size much faster."""
    seconds = type_seconds()
    known = tuple(kinds)
    bits = {kind: _bits(kind) for kind in known}

    def fast(kind: str) -> bool:
        larger = [seconds[one] for one in known if bits[one] > bits[kind]]
        equal = [seconds[one] for one in known if bits[one] == bits[kind]]
        mine = seconds[kind]
        return mine <= min(larger, default=mine) and mine <= SLOWEST * min(equal)

    return tuple(kind for kind in known if fast(kind))


def _bits(kind: str) -> float:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return float(8 * size / block)


def type_seconds() -> dict[str, float]:
    """CPU seconds of a small model with all matrices in one type, for each of `BLOCK_TYPES`.

    Measured on one thread, and cached by library and processor.

    Raises:
        UserError: the library is missing or fails its self-test.
    """
    from galenic.runtimes.selftest import verified_library

    library = verified_library()
    key = _key(library)
    path = cache_folder() / TABLE
    with locked(path):
        kept = _read(path)
        if key not in kept:
            kept[key] = {kind: _seconds(library, kind) for kind in BLOCK_TYPES}
            write_atomically(path, json.dumps(kept, indent=1))
    return kept[key]


def known_seconds() -> dict[str, float] | None:
    """What `type_seconds` measured earlier on this machine; None if it has not, or cannot."""
    from galenic.runtimes.libllama import load_library

    try:
        return _read(cache_folder() / TABLE).get(_key(load_library()))
    except UserError:
        return None


def _key(library: LibLlama) -> str:
    return f"{VERSION} {library.sha256} {_processor()}"


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Read the cached measurements; empty if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {k: r for k, r in rows if isinstance(r, dict) and set(r) == set(BLOCK_TYPES)}


def _processor() -> str:
    """Name of the processor as reported by the system."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"


def _seconds(library: LibLlama, kind: str) -> float:
    from galenic.runtimes.llama_engine import LlamaEngine

    with tempfile.TemporaryDirectory(prefix="galenic-") as folder:
        path = Path(folder) / "model.gguf"
        _write(path, kind)
        engine = LlamaEngine(library, path, threads=1)
        try:
            return min(_once(engine) for _ in range(ROUNDS))
        finally:
            engine.close()


def _once(engine: Any) -> float:
    """CPU seconds of one run; the first run of a type also loads the file's pages into memory."""
    tokens = [number % VOCAB for number in range(READ)]
    engine.forget()
    began = time.process_time()
    engine.start(tokens, room=WRITTEN)
    for number in range(WRITTEN):
        engine.step(number % VOCAB, READ + number)
    return time.process_time() - began


def _write(path: Path, kind: str) -> None:
    from galenic.models.gguf.write import GgufSource, write_gguf

    rows = np.random.default_rng(0).standard_normal((DRAWN_ROWS, FFN)).astype(np.float32)
    made = {width: quantize_rows(rows[:, :width] / width**0.5, kind) for width in (HIDDEN, FFN)}

    def encode(tensor: SourceTensor, kind: str, values: NDArray[np.float32]) -> NDArray[Any]:
        if kind == "F32":
            return values
        drawn = made[tensor.shape[-1]]
        return drawn[np.arange(len(values)) % DRAWN_ROWS]

    source = GgufSource("speeds", "llama", _describe, tuple(_tensors()))
    types = {t.name: kind if len(t.shape) == 2 else "F32" for t in source.tensors}
    write_gguf(source, path, types, encode=encode)


def _tensors() -> Iterable[SourceTensor]:
    from galenic.models.gguf.write import SourceTensor

    shapes = {"token_embd.weight": (VOCAB, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for block in range(BLOCKS):
        inner = {
            "attn_norm": (HIDDEN,), "attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, HIDDEN),
            "attn_v": (HIDDEN, HIDDEN), "attn_output": (HIDDEN, HIDDEN), "ffn_norm": (HIDDEN,),
            "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN),
        }  # fmt: skip
        shapes |= {f"blk.{block}.{name}.weight": shape for name, shape in inner.items()}
    for name, shape in shapes.items():
        yield SourceTensor(name, shape, partial(_ones, shape))


def _ones(shape: tuple[int, ...], start: int, stop: int) -> NDArray[np.float32]:
    return np.ones((stop - start, *shape[1:]), np.float32)


def _describe(writer: Any) -> None:
    heads = HIDDEN // 64
    writer.add_context_length(2 * (READ + WRITTEN))
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(64)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
