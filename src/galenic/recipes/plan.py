"""Prediction of file size, memory and speed of each recipe, without reading weights.

Sizes follow from the shapes and the methods' own rules. The types of a mix depend on the
calibration text; here all weights count as equally important. Memory is the sum of the weights as
the engine stores them, the KV cache, the logits, and the base memory of a process. Speed follows
from the time per weight of each type, measured on this machine by `galenic.recipes.probe`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.recipes.recipe import Recipe, read_recipe, shipped_recipes
from galenic.recipes.shapes import Outline, prune_outline

if TYPE_CHECKING:
    from galenic.models.files import ModelFiles
    from galenic.models.gguf.write import GgufSource
    from galenic.recipes.probe import Machine
    from galenic.watcher import Watcher

__all__ = [
    "RULE",
    "Device",
    "Made",
    "PlanSettings",
    "Prediction",
    "RecipePlan",
    "follow_all",
    "main_types",
    "make_plan",
    "measure_made",
    "outline_recipe",
    "predict",
    "rank",
]

RULE = (
    "Recommended is, of those that fit, the one that leaves the most of the blocks' weights; of "
    "equals, the one with the most bits a weight, then with the most tokens."
)
LOGIT_ROWS = 256
"""Number of positions for which the llama runtime allocates float32 logits."""
MAIN_SHARE = 0.02
"""Types with a smaller share of a model's bytes are not timed."""


@dataclass(frozen=True)
class Device:
    """Limits of a device; None for no limit.

    Attributes:
        ram: maximum memory for running the model, in bytes.
        disk: maximum file size, in bytes.
        min_speed: minimum decoding speed, in tokens per second.
    """

    ram: int | None = None
    disk: int | None = None
    min_speed: float | None = None


@dataclass(frozen=True)
class Made:
    """The model a recipe would produce: shapes and types.

    Attributes:
        recipe: name of the recipe.
        outline: the model after pruning.
        bytes_of: bytes of all tensors, by type.
        weights_read: number of weights read per new token, by type; an untied embedding is left
            out.
        num_weights: number of weights of all tensors.
    """

    recipe: str
    outline: Outline
    bytes_of: dict[str, int]
    weights_read: dict[str, int]
    num_weights: int

    @property
    def file_bytes(self) -> int:
        """Size of the GGUF in bytes."""
        return sum(self.bytes_of.values()) + self.outline.header_bytes

    @property
    def bits_per_weight(self) -> float:
        """Average number of stored bits per weight."""
        return 8 * sum(self.bytes_of.values()) / self.num_weights


@dataclass(frozen=True)
class Prediction:
    """One row of a plan.

    Attributes:
        recipe: name of the recipe.
        file_bytes: size of the GGUF.
        peak_bytes: peak memory; None if the machine was not timed.
        tokens_per_second: decoding speed; None if the machine was not timed.
        bits_per_weight: average stored bits per weight.
        blocks_kept: share of the blocks' weights that are neither removed nor zero.
        vocab_size: remaining vocabulary size.
        misses: limits that are exceeded (memory, disk, speed); empty if none.
    """

    recipe: str
    file_bytes: int
    peak_bytes: int | None
    tokens_per_second: float | None
    bits_per_weight: float
    blocks_kept: float
    vocab_size: int
    misses: tuple[str, ...]


def outline_recipe(outline: Outline, recipe: Recipe) -> Made:
    """Apply a recipe to shapes.

    Raises:
        UserError: the recipe does not suit the model, or its result cannot be predicted.
    """
    *earlier, last = recipe.steps
    if last.stage != "quantize":
        raise UserError(f"{recipe.name} makes no GGUF, and only those are predicted.")
    for step in earlier:
        if step.stage == "prune":  # training changes no shapes
            outline = prune_outline(outline, step.method)
    from galenic.compression.quantize.kquant import quantizes
    from galenic.models.gguf.names import EMBEDDING, HEAD
    from galenic.models.gguf.write import stored_bytes

    source = outline.source
    types = _types(source, last.method)
    tied = not any(tensor.name == HEAD for tensor in source.tensors)
    stored: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for tensor in source.tensors:
        kind = types[tensor.name]
        stored[kind] += stored_bytes(tensor.shape, kind)
        if quantizes(tensor) and (tied or tensor.name != EMBEDDING):
            read[kind] += math.prod(tensor.shape)
    weights = sum(math.prod(tensor.shape) for tensor in source.tensors)
    return Made(recipe.name, outline, dict(stored), dict(read), weights)


def _types(source: GgufSource, method: Any) -> dict[str, str]:
    from galenic.compression.quantize.allocate import TypeChoice
    from galenic.compression.quantize.typed import TypedQuantizer

    if not isinstance(method, TypedQuantizer):
        raise UserError(f"{method.name} makes no GGUF, and only the size of a GGUF is predicted.")
    options = method.type_choices(source)
    choices = {
        tensor.name: [
            TypeChoice(kind, size, _noise(kind) * math.prod(tensor.shape))
            for kind, size in options[tensor.name].items()
        ]
        for tensor in source.tensors
    }
    return method.pick(source, choices)


NOISE = {"IQ2_XXS": 0.118608, "IQ2_XS": 0.0904729, "IQ2_S": 0.0705926}
"""As `_noise` computes it, for types whose tables ggml would take seconds to make."""


@cache
def _noise(type_name: str) -> float:
    """Mean squared quantization error of a type on standard normal numbers."""
    import numpy as np

    from galenic.compression.quantize.kquant import quantize_rows
    from galenic.models.gguf.write import DENSE_TYPES

    if type_name in DENSE_TYPES:
        return 0.0
    if type_name in NOISE:
        return NOISE[type_name]
    from gguf import GGMLQuantizationType, quants

    rows = np.random.default_rng(0).normal(size=(64, 1024)).astype(np.float32)
    made = quantize_rows(rows, type_name)
    error = quants.dequantize(made, GGMLQuantizationType[type_name]) - rows
    return float(np.mean(error.astype(np.float64) ** 2))


def main_types(made: Sequence[Made]) -> list[str]:
    """Return the quantized types with at least `MAIN_SHARE` of any model, smaller ones first."""
    from galenic.compression.quantize.kquant import BLOCK_TYPES

    found = set()
    for one in made:
        total = sum(one.bytes_of.values())
        found |= {kind for kind, size in one.bytes_of.items() if size >= MAIN_SHARE * total}
    return [kind for kind in BLOCK_TYPES if kind in found] or ["Q8_0"]


def predict(made: Made, device: Device, context: int, machine: Machine | None) -> Prediction:
    """Predict memory and speed of a model, and compare them with the device.

    Args:
        made: result of `outline_recipe`.
        device: limits of the device.
        context: context length in tokens.
        machine: result of `galenic.recipes.probe.probe_machine`; None if not timed.
    """
    peak = speed = None
    if machine is not None:
        weights = sum(size * machine.resident_of(kind) for kind, size in made.bytes_of.items())
        peak = int(machine.base_bytes + weights + made.outline.header_bytes)
        peak += made.outline.kv_bytes(context)
        peak += 4 * LOGIT_ROWS * int(made.outline.config.vocab_size)
        speed = 1 / sum(n * machine.seconds_of(kind) for kind, n in made.weights_read.items())
    return Prediction(
        recipe=made.recipe,
        file_bytes=made.file_bytes,
        peak_bytes=peak,
        tokens_per_second=speed,
        bits_per_weight=made.bits_per_weight,
        blocks_kept=made.outline.blocks_kept,
        vocab_size=int(made.outline.config.vocab_size),
        misses=_misses(device, made.file_bytes, peak, speed),
    )


def _misses(
    device: Device, file_bytes: int, peak: int | None, speed: float | None
) -> tuple[str, ...]:
    misses = []
    # Without a measurement, the file size is a lower bound of the memory
    if device.ram is not None and (file_bytes if peak is None else peak) > device.ram:
        misses.append("memory")
    if device.disk is not None and file_bytes > device.disk:
        misses.append("disk")
    if device.min_speed is not None and speed is not None and speed < device.min_speed:
        misses.append("speed")
    return tuple(misses)


def rank(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Sort predictions: those that fit first, then by how much of the model is kept (`RULE`)."""

    def key(one: Prediction) -> tuple[Any, ...]:
        kept = round(one.blocks_kept, 2)  # width and depth pruning reach a share only approximately
        return bool(one.misses), -kept, -round(one.bits_per_weight, 1), -one.vocab_size, one.recipe

    return sorted(predictions, key=key)


def follow_all(
    recipes: Mapping[str, Recipe], outline: Outline
) -> tuple[list[Made], dict[str, str]]:
    """Apply all recipes to the shapes of a model.

    Returns:
        What the suitable recipes would make, and by name why each of the others does not suit.
    """
    made, unsuited = [], {}
    for name, recipe in recipes.items():
        try:
            made.append(outline_recipe(outline, recipe))
        except UserError as error:
            unsuited[name] = str(error)
    return made, unsuited


@dataclass(frozen=True)
class RecipePlan:
    """Predictions of all recipes for one model.

    Attributes:
        model: the model, as the user wrote it.
        context: context length that memory is predicted for.
        threads: number of threads that speed is predicted for; None if not timed.
        rows: predictions, best first.
        unsuited: recipes that do not suit the model, with the reason.
    """

    model: str
    context: int
    threads: int | None
    rows: tuple[Prediction, ...]
    unsuited: dict[str, str]

    @property
    def recommended(self) -> Prediction | None:
        """The first row if it fits, else None."""
        return self.rows[0] if self.rows and not self.rows[0].misses else None


def make_plan(
    files: ModelFiles, device: Device, settings: PlanSettings, watcher: Watcher
) -> tuple[RecipePlan, dict[str, Prediction]]:
    """Predict every shipped recipe for a model.

    Args:
        files: the model.
        device: limits of the device.
        settings: context length, threads, and whether to time this machine.
        watcher: receives progress.

    Returns:
        The plan, and each recipe's prediction for the short context that `measure_made` uses.

    Raises:
        UserError: the model cannot be read, or no recipe suits it.
    """
    from galenic.recipes.probe import CONTEXT, probe_machine
    from galenic.recipes.shapes import open_outline

    watcher.stage(f"looking at {files.name}")
    outline = open_outline(files)
    recipes = {name: read_recipe(name) for name in shipped_recipes()}
    if not settings.probe:
        recipes = {name: _untimed(recipe) for name, recipe in recipes.items()}
    made, unsuited = follow_all(recipes, outline)
    if not made:
        raise UserError(f"no recipe suits {files.name}. {next(iter(unsuited.values()))}")
    machine = None
    if settings.probe:
        machine = probe_machine(outline, main_types(made), watcher, threads=settings.threads)
    context = min(settings.context, int(outline.config.max_position_embeddings))
    rows = rank([predict(one, device, context, machine) for one in made])
    threads = None if machine is None else machine.threads
    short = {one.recipe: predict(one, device, CONTEXT, machine) for one in made}
    return RecipePlan(files.name, context, threads, tuple(rows), unsuited), short


def _untimed(recipe: Recipe) -> Recipe:
    """The recipe with types of any speed, where it asks for fast ones and none were ever timed."""
    from galenic.compression.quantize.types.speeds import known_seconds

    *earlier, last = recipe.steps
    if getattr(last.method, "prefer", "size") == "size" or known_seconds() is not None:
        return recipe
    method = last.method.model_copy(update={"prefer": "size"})
    return replace(recipe, steps=(*earlier, replace(last, method=method)))


@dataclass(frozen=True)
class PlanSettings:
    """Settings of a plan: the options of `galenic plan`, which describes them."""

    context: int = 2048
    threads: int | None = None
    probe: bool = True


def measure_made(folder: Path, threads: int | None, watcher: Watcher) -> dict[str, float]:
    """Measure ``file_bytes``, ``peak_bytes`` and ``tokens_per_second`` of an existing model.

    Uses the method of `galenic.recipes.probe`: a short prompt in a separate process.
    """
    from galenic.evaluation.config import SpeedConfig
    from galenic.evaluation.throughput import measure_speed
    from galenic.models.load import resolve_model
    from galenic.models.size import inspect_model
    from galenic.recipes.probe import NEW, PROMPT

    files = resolve_model(str(folder))
    config = SpeedConfig(
        model=str(folder), threads=threads, prompt_tokens=PROMPT, new_tokens=NEW, rounds=3
    )
    found = measure_speed(files, None, config, watcher).model.measures
    return {
        "file_bytes": float(inspect_model(files).file_bytes),
        "peak_bytes": found["peak_rss"].median,
        "tokens_per_second": found["decode"].median,
    }
