"""Measurement of prefill and decoding speed and of memory, alternating with a reference model.

Each timing is a separate process, and the models alternate (A B A B ...), so that other load on
the machine affects both equally. A process warms up once, then times a prompt and its greedy
continuation of fixed length three times, on the code path of real answers; the best counts.

- prefill: prompt tokens per second, until the first new token is chosen.
- time to first token: the same time in milliseconds, with tokenization, weights already in memory.
- decode: new tokens per second after the first, for a fixed number of tokens.
- peak RSS: peak memory of the process, including Python, libraries and mapped weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import Any

from galenic.errors import UserError
from galenic.evaluation.config import SpeedConfig
from galenic.evaluation.divergence import serving_runtime
from galenic.models.files import ModelFiles
from galenic.registry import RUNTIMES
from galenic.runtimes.threads import choose_threads
from galenic.watcher import Watcher

__all__ = ["MEASURES", "ModelSpeed", "Spread", "Throughput", "measure_speed", "summarise"]

MEASURES = ("prefill", "decode", "first_token_ms", "peak_rss")
"""Names of the measures, in tokens/s, tokens/s, milliseconds and bytes."""


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelSpeed:
    """Results of one model: a `Spread` for each of `MEASURES`."""

    model: str
    sha256: str
    runtime: str
    engine: str
    weights: str
    prompt_tokens: int
    measures: dict[str, Spread]


@dataclass(frozen=True)
class Throughput:
    """Result of a measurement; ``ratios`` are model over reference, computed per round."""

    num_threads: int
    new_tokens: int
    rounds: int
    model: ModelSpeed
    reference: ModelSpeed | None
    ratios: dict[str, Spread] | None


def measure_speed(
    model: ModelFiles, reference: ModelFiles | None, config: SpeedConfig, watcher: Watcher
) -> Throughput:
    """Measure speed and memory of a model, alternating with a reference if given.

    Raises:
        UserError: a model cannot be loaded, or prompt and new tokens exceed its context length.
    """
    files = [model] if reference is None else [model, reference]
    threads = config.threads or choose_threads()
    settings = [_settings(one, config, threads) for one in files]
    for one, setting in zip(files, settings, strict=True):
        engine = RUNTIMES.load(setting["runtime"])
        if one.kind in engine.converts:
            watcher.stage(f"converting {one.name}")  # not in the measured process
            engine.convert(one)
    watcher.stage("timing", config.rounds * len(files))
    runs: list[list[dict[str, Any]]] = [[] for _ in files]
    for number in range(config.rounds * len(files)):
        turn = number % len(files)
        runs[turn].append(_run(settings[turn]))
        watcher.advance(number + 1)
    return summarise(files, settings, runs, config.new_tokens)


def summarise(
    files: list[ModelFiles],
    settings: list[dict[str, Any]],
    runs: list[list[dict[str, Any]]],
    new_tokens: int,
) -> Throughput:
    """Compute medians and ratios; ``runs`` has one list of rounds per model."""
    sides = [
        ModelSpeed(
            model=one.name,
            sha256=one.sha256,
            runtime=setting["runtime"],
            engine=found[0]["engine"],
            weights=found[0]["weights"],
            prompt_tokens=found[0]["prompt_tokens"],
            measures={name: _spread([run[name] for run in found]) for name in MEASURES},
        )
        for one, setting, found in zip(files, settings, runs, strict=True)
    ]
    ratios = None
    if len(runs) == 2:
        rounds = list(zip(*runs, strict=True))
        ratios = {name: _spread([a[name] / b[name] for a, b in rounds]) for name in MEASURES}
    return Throughput(
        num_threads=settings[0]["threads"],
        new_tokens=new_tokens,
        rounds=len(runs[0]),
        model=sides[0],
        reference=sides[1] if len(sides) == 2 else None,
        ratios=ratios,
    )


def _spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def _settings(model: ModelFiles, config: SpeedConfig, threads: int) -> dict[str, Any]:
    return {
        "model": {
            "name": model.name,
            "kind": model.kind,
            "path": str(model.path),
            "sha256": model.sha256,
        },
        "runtime": serving_runtime(model, config.runtime),
        "dtype": config.dtype,
        "threads": threads,
        "prompt_tokens": config.prompt_tokens,
        "new_tokens": config.new_tokens,
    }


def _run(settings: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "galenic.evaluation.throughput_child", json.dumps(settings)]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise UserError(
            f"timing {settings['model']['name']} ended with: {last[0]}. Is there enough memory?"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise UserError(found["error"])
    return found
