"""Which engine is faster here: measured, not believed, and remembered."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from galenic.cache import cache_folder, replacing
from galenic.evaluation.config import EvaluateConfig
from galenic.models.encoders.encoder import is_multiple_choice
from galenic.models.files import ModelFiles
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime
from galenic.runtimes.tree import Request, build_pack

__all__ = ["choose_runtime", "prefill_speed"]

PROBE_TEXTS = 4
PROBE_LENGTH = 128
"""Four unrelated texts of a usual exam question's length: what scoring mostly does."""


@dataclass(frozen=True)
class _Choice:
    runtime: str
    reason: str


def choose_runtime(model: ModelFiles, config: EvaluateConfig, say: Callable[[str], None]) -> str:
    """Name the runtime to use for this model and say why.

    A folder of safetensors needs `torch`. A GGUF runs on `llama`; where PyTorch is installed too,
    both read a few texts in turns, once for models of one shape and types on this machine, and the
    faster one scores. Generated answers always come from `llama`, which decodes fast.
    """
    choice = _choose(model, config, say)
    say(f"runtime {choice.runtime}: {choice.reason}")
    return choice.runtime


def _choose(model: ModelFiles, config: EvaluateConfig, say: Callable[[str], None]) -> _Choice:
    if is_multiple_choice(model):
        return _Choice("encoder", "it is an encoder with a multiple-choice head")
    if model.kind == "folder":
        return _Choice("torch", "a folder of safetensors is read by transformers")
    if "generate" in config.scoring:
        return _Choice("llama", "answers are generated, and llama.cpp decodes fastest")
    missing = [p for p in ("torch", "transformers", "accelerate") if not _installed(p)]
    if missing:
        return _Choice("llama", f"{missing[0]} is not installed (galenic[train] adds it)")
    speeds = _remembered(model, config)
    if not speeds:
        say("measuring once which runtime is faster for models of this kind")
        speeds = _measure(model, config)
        _remember(model, config, speeds)
    best = max(speeds, key=lambda name: speeds[name])
    listed = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items())
    return _Choice(best, f"tokens/s read here: {listed}")


def prefill_speed(runtime: Runtime, rounds: int = 3) -> float:
    """Tokens a second that the runtime reads: the best of some rounds over the same pack."""
    texts = [
        "".join(f" {word * (7 + i) % 9973}" for word in range(PROBE_LENGTH))
        for i in range(PROBE_TEXTS)
    ]
    tokens = [tuple(ids[:PROBE_LENGTH]) for ids in runtime.encode_batch(texts)]
    pack = build_pack([Request(ids, len(ids) - 1) for ids in tokens])
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        runtime.score(pack)
        best = max(best, len(pack.tokens) / (time.perf_counter() - start))
    return best


def _measure(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
    speeds = {}
    for name in ("llama", "torch"):
        options = {"dtype": config.dtype} if name == "torch" else {}
        with RUNTIMES.load(name)(model, threads=config.threads, **options) as runtime:
            speeds[name] = round(prefill_speed(runtime), 1)
    return speeds


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _key(model: ModelFiles, config: EvaluateConfig) -> str:
    """What decides the speed: the bytes of each tensor type, not the values of the weights.

    So a second variant of the same shape and types is neither timed nor converted for timing.
    """
    from galenic.models.gguf.header import check_gguf, tensor_types

    architecture = check_gguf(model.path).metadata["general.architecture"]
    sizes = " ".join(f"{kind} {size}" for kind, size in sorted(tensor_types(model.path).items()))
    return f"{architecture}/{sizes}/{version('torch')}/{config.dtype}/{config.threads}"


def _remembered(model: ModelFiles, config: EvaluateConfig) -> dict[str, float]:
    path = cache_folder() / "speed.json"
    if not path.exists():
        return {}
    try:
        table: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # a broken cache is measured again
        return {}
    return table.get(_key(model, config), {})


def _remember(model: ModelFiles, config: EvaluateConfig, speeds: dict[str, float]) -> None:
    path = cache_folder() / "speed.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        table = {}
    table[_key(model, config)] = speeds
    with replacing(path) as part:
        part.write_text(json.dumps(table, indent=2), encoding="utf-8")
