"""Choice of the runtime: llama.cpp for a GGUF, unless PyTorch is clearly faster and fits.

llama.cpp is timed with the file itself, PyTorch with random blocks of the same widths, so that
nothing is converted before it is chosen. Both timings are cached.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from galenic.cache import cache_folder, replacing
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.models.encoders.encoder import is_multiple_choice
from galenic.models.files import ModelFiles
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime
from galenic.runtimes.tree import Request, build_pack

__all__ = ["CLEARLY_FASTER", "EngineChoice", "choose_runtime", "prefill_speed"]

PROBE_TEXTS = 4
PROBE_LENGTH = 128
"""Tokens of each of four unrelated texts, about the length of exam questions."""
ROUNDS = 3
CLEARLY_FASTER = 1.3
"""Speedup over llama.cpp required for converting a GGUF to PyTorch, which takes four bytes of
disk and of memory per weight."""
TABLE = "read-speed.json"


@dataclass(frozen=True)
class EngineChoice:
    """Registry name of a runtime, and a readable reason for choosing it."""

    runtime: str
    reason: str


def choose_runtime(
    model: ModelFiles, config: EvaluateConfig, say: Callable[[str], None]
) -> EngineChoice:
    """Choose the runtime for a model and say why.

    A folder of safetensors needs ``torch``. A GGUF uses ``llama``, unless PyTorch is installed, its
    float32 weights fit, and it is `CLEARLY_FASTER` times as fast: llama.cpp is measured, PyTorch
    estimated from its time for two blocks of the same widths. Timed once per machine for models of
    the same shape and types.
    """
    choice = _choose(model, config, say)
    say(f"runtime {choice.runtime}: {choice.reason}")
    return choice


def _choose(model: ModelFiles, config: EvaluateConfig, say: Callable[[str], None]) -> EngineChoice:
    if is_multiple_choice(model):
        return EngineChoice("encoder", "it is an encoder with a multiple-choice head")
    if model.kind == "folder":
        return EngineChoice("torch", "a folder of safetensors is read by transformers")
    if "generate" in config.scoring:
        return EngineChoice("llama", "answers are generated, and llama.cpp decodes fastest")
    missing = [p for p in ("torch", "transformers", "accelerate") if not _installed(p)]
    if missing:
        return EngineChoice("llama", f"{missing[0]} is not installed (galenic[train] adds it)")
    return _faster(model, config, say)


def _faster(model: ModelFiles, config: EvaluateConfig, say: Callable[[str], None]) -> EngineChoice:
    from galenic.models.gguf.dequantize import check_room, dequantized_folder

    try:
        check_room(model)
        speeds = _remembered(model, config)
        if not speeds:
            say("timing once which runtime is faster for models of this kind")
            speeds = _measure(model, config)
            _remember(model, config, speeds)
        faster = speeds["torch"] >= CLEARLY_FASTER * speeds["llama"]
        if faster:
            dequantized_folder(model)
    except _NoModel as error:  # nothing else could run it
        raise error.why from error
    except UserError as error:
        return EngineChoice("llama", f"PyTorch cannot take this file: {error}")
    listed = f"tokens/s read here: llama {speeds['llama']:.0f}, torch about {speeds['torch']:.0f}"
    if faster:
        return EngineChoice("torch", listed)
    return EngineChoice("llama", f"{listed}, not {CLEARLY_FASTER} times as many")


class _NoModel(Exception):  # noqa: N818 - carries a `UserError` past those of PyTorch
    """Raised when llama.cpp cannot load a file that is to be timed."""

    def __init__(self, why: UserError) -> None:
        super().__init__(str(why))
        self.why = why


def prefill_speed(runtime: Runtime, rounds: int = ROUNDS) -> float:
    """Measure prefill speed in tokens per second: the best of several rounds over one pack."""
    length = min(PROBE_LENGTH, runtime.info.context_length)
    texts = [
        "".join(f" {word * (7 + i) % 9973}" for word in range(PROBE_LENGTH))
        for i in range(PROBE_TEXTS)
    ]
    tokens = [tuple(ids[:length]) for ids in runtime.encode_batch(texts)]
    pack = build_pack([Request(ids, len(ids) - 1) for ids in tokens])
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        runtime.score(pack)
        best = max(best, len(pack.tokens) / (time.perf_counter() - start))
    return best


def _measure(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
    from galenic.models.gguf.config import header_config
    from galenic.models.gguf.header import check_gguf
    from galenic.runtimes.torch_speed import estimate_speed

    shape = header_config(check_gguf(model.path), model.path)
    try:
        runtime = RUNTIMES.load("llama")(model, threads=config.threads)
    except UserError as error:
        raise _NoModel(error) from error
    with runtime:
        threads = runtime.info.num_threads
        length = min(PROBE_LENGTH, runtime.info.context_length)
        llama = prefill_speed(runtime)
    torch = estimate_speed(shape, config.dtype, threads, (PROBE_TEXTS, length), ROUNDS)
    return {"llama": round(llama, 1), "torch": round(torch, 1)}


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _key(model: ModelFiles, config: EvaluateConfig) -> str:
    """Return a cache key of what determines speed, such as the bytes of each tensor type."""
    from galenic.models.gguf.header import check_gguf, tensor_types

    architecture = check_gguf(model.path).metadata["general.architecture"]
    sizes = " ".join(f"{kind} {size}" for kind, size in sorted(tensor_types(model.path).items()))
    return f"{architecture}/{sizes}/{version('torch')}/{config.dtype}/{config.threads}"


def _remembered(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
    path = cache_folder() / TABLE
    if not path.exists():
        return {}
    try:
        table: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # an invalid cache entry is measured again
        return {}
    return table.get(_key(model, config), {})


def _remember(model: ModelFiles, config: EvaluateConfig, speeds: dict[str, float]) -> None:
    path = cache_folder() / TABLE
    try:
        table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        table = {}
    table[_key(model, config)] = speeds
    with replacing(path) as part:
        part.write_text(json.dumps(table, indent=2), encoding="utf-8")
