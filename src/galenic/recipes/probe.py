"""Timing of this machine: decoding time per weight of each quantized type, and base memory.

A random model with the widths of the user's model is timed in each type. The time per weight then
predicts the speed of models with other type mixes, fewer layers or a smaller vocabulary.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.compression.prune.depth import shallow_config
from galenic.evaluation.config import SpeedConfig
from galenic.evaluation.throughput import measure_speed
from galenic.models.files import ModelFiles
from galenic.models.gguf.family import add_shape, read_shape
from galenic.models.gguf.write import DENSE_TYPES, GgufSource, SourceTensor, write_gguf
from galenic.recipes.shapes import Outline
from galenic.watcher import SilentWatcher

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from galenic.watcher import Watcher

__all__ = ["Machine", "probe_machine"]

WEIGHTS = 200_000_000
"""Minimum number of weights of the timed model, unless the user's model has fewer. A much smaller
one fits into the CPU caches and would seem too fast."""
PROMPT, NEW = 64, 24
CONTEXT = 1024
"""Context length for which the llama runtime allocates memory at least."""
SAMPLE_ROWS = 64
SPECIAL = ("<|end|>", "<|pad|>")


@dataclass(frozen=True)
class Machine:
    """Measurements of this machine.

    Attributes:
        seconds: decoding time per weight read, by type.
        resident: bytes in memory per byte in the file, by type; above 1 if the engine keeps a
            rearranged copy.
        base_bytes: peak memory of a process with a tiny model: Python and libraries.
        threads: number of threads used.
    """

    seconds: dict[str, float]
    resident: dict[str, float]
    base_bytes: int
    threads: int

    def seconds_of(self, type_name: str) -> float:
        """Return the time per weight of a type, or of the measured type nearest in size."""
        return self.seconds[_nearest(type_name, self.seconds)]

    def resident_of(self, type_name: str) -> float:
        """Return the memory per file byte of a type; 1 if it was not measured."""
        return self.resident.get(type_name, 1.0)


def _nearest(type_name: str, known: dict[str, float]) -> str:
    bits = {name: _bits(name) for name in known}
    return min(known, key=lambda name: (name != type_name, abs(bits[name] - _bits(type_name))))


def _bits(type_name: str) -> float:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, num_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]]
    return float(8 * num_bytes / block)


def probe_machine(
    outline: Outline, types: Sequence[str], watcher: Watcher, *, threads: int | None = None
) -> Machine:
    """Time a random model in each type, in a separate process; takes some seconds per type.

    Args:
        outline: model whose widths and architecture are used.
        types: block types; rows that a type's block size does not divide are stored in the
            type that llama.cpp substitutes.
        watcher: receives progress.
        threads: number of threads; None = chosen from the machine's load.

    Raises:
        UserError: the engine cannot run it.
    """
    probe = _few_tokens(outline)
    found = []
    watcher.stage("timing block types on this machine", total=len(types) + 1)
    with tempfile.TemporaryDirectory(prefix="galenic-") as folder:
        base = _run(_few_layers(probe, 1), "Q8_0", Path(folder), threads)
        watcher.advance(1)
        for number, kind in enumerate(types):
            found.append(_run(probe, kind, Path(folder), threads))
            watcher.advance(number + 2)
    base_bytes = base.rss - base.file_bytes
    return Machine(
        seconds={kind: run.seconds / run.weights for kind, run in zip(types, found, strict=True)},
        resident={
            kind: max(1.0, (run.rss - base_bytes - probe.kv_bytes(CONTEXT)) / run.file_bytes)
            for kind, run in zip(types, found, strict=True)
        },
        base_bytes=base_bytes,
        threads=base.threads,
    )


@dataclass(frozen=True)
class _Run:
    seconds: float
    weights: int
    rss: int
    file_bytes: int
    threads: int


def _run(outline: Outline, kind: str, folder: Path, threads: int | None) -> _Run:
    from galenic.compression.quantize.kquant import quantizes, uniform_types

    path = folder / "probe.gguf"
    source = outline.source
    types = uniform_types(source, kind)
    write_gguf(_made_up(outline, source), path, types, encode=_encode)
    files = ModelFiles("a made-up model", "gguf", path, "")
    config = SpeedConfig(
        model=str(path), threads=threads, prompt_tokens=PROMPT, new_tokens=NEW, rounds=1
    )
    found = measure_speed(files, None, config, SilentWatcher())
    matrices = [tensor for tensor in source.tensors if quantizes(tensor)]
    return _Run(
        seconds=1 / found.model.measures["decode"].median,
        weights=sum(int(np.prod(tensor.shape)) for tensor in matrices),
        rss=int(found.model.measures["peak_rss"].median),
        file_bytes=path.stat().st_size,
        threads=found.num_threads,
    )


def _few_tokens(outline: Outline) -> Outline:
    """Return an outline with the same blocks, as few as needed, and a byte vocabulary."""
    config = copy.deepcopy(outline.config)
    config.vocab_size = 256 + len(SPECIAL)
    config.tie_word_embeddings = True
    config.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
    small = Outline(outline.name, config, 0)
    layers = int(config.num_hidden_layers)
    sizes = [t.shape for t in small.source.tensors if t.name.startswith("blk.0.")]
    needed = -(-WEIGHTS // sum(int(np.prod(size)) for size in sizes))
    return _few_layers(small, min(layers, max(2, needed)))


def _few_layers(outline: Outline, count: int) -> Outline:
    return Outline(outline.name, shallow_config(outline.config, range(count)), 0)


def _made_up(outline: Outline, source: GgufSource) -> GgufSource:
    shape = read_shape(outline.config.to_dict(), outline.name)

    def describe(writer: GGUFWriter) -> None:
        from gguf import TokenType

        writer.add_name("probe")
        add_shape(writer, shape)
        tokens = [*SPECIAL, *_byte_symbols()]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        kinds = [TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * 256
        writer.add_token_types(kinds)
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        writer.add_pad_token_id(1)
        writer.add_add_bos_token(False)

    tensors = tuple(SourceTensor(t.name, t.shape, _Rows(t.shape)) for t in source.tensors)
    return GgufSource("a made-up model", source.architecture, describe, tensors)


class _Rows:
    """Repeats a few rows of Gaussian numbers; the values do not affect speed."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        size = (min(SAMPLE_ROWS, shape[0]), shape[-1])
        self.sample = (rng.normal(size=size) / shape[-1] ** 0.5).astype(np.float32)
        self.vector = len(shape) == 1

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.vector:
            return np.ones(stop - start, np.float32)
        return np.resize(self.sample, (stop - start, self.sample.shape[1]))


def _encode(tensor: SourceTensor, kind: str, rows: NDArray[np.float32]) -> NDArray[Any]:
    """Quantize the sample rows once and repeat their bytes."""
    from galenic.compression.quantize.kquant import quantize_rows
    from galenic.models.gguf.write import encode_dense

    if kind in DENSE_TYPES:
        return encode_dense(tensor, kind, rows)
    sample = quantize_rows(rows[:SAMPLE_ROWS], kind, importance=np.ones(rows.shape[1], np.float32))
    return np.resize(sample, (len(rows), sample.shape[1]))


def _byte_symbols() -> list[str]:
    """Return GPT-2's printable character for each byte."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in kept else next(others)) for byte in range(256)]
