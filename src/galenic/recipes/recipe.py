"""Recipes: the stages applied to a model, in order, read from a strict YAML file.

    name: laptop
    description: ...
    calibration: {num_samples: 64, seq_len: 256, seed: 0}
    stages:
      - {stage: prune, method: wanda, sparsity: 0.5}

Each option is validated by the class of its method. Nothing is ignored: an unknown key, stage,
method or option is an error that lists the known ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from galenic.data.calibration import CalibrationConfig
from galenic.errors import UserError, unknown_name
from galenic.registry import DISTILLERS, PRUNERS, QUANTIZERS, RECIPE_FINETUNERS, Registry
from galenic.strict_yaml import check_keys, parse_yaml, read_yaml

__all__ = [
    "ROWS",
    "STAGES",
    "Recipe",
    "StageKind",
    "Step",
    "build_recipe",
    "dump_recipe",
    "find_recipe",
    "parse_recipe",
    "read_recipe",
    "shipped_files",
    "shipped_recipes",
]


@dataclass(frozen=True)
class StageKind:
    """A value of ``stage:`` in a recipe.

    Attributes:
        methods: registry of the values of ``method:``.
        run: ``module:attribute`` of ``run(config, method, output, watcher) -> Manifest``.
        config: ``module:attribute`` of the class of ``config``, with model, method name and text.
            It gets the calibration settings it has fields for, and as ``teacher``, if it has that
            field, the model that the recipe starts from.
    """

    methods: Registry
    run: str
    config: str

    def load_run(self) -> Any:
        """Import and return the function that runs the stage; this takes seconds."""
        return _load(self.run)

    def load_config(self) -> Any:
        """Import and return the stage's configuration class."""
        return _load(self.config)


STAGES: Mapping[str, StageKind] = {
    "prune": StageKind(
        PRUNERS,
        "galenic.compression.prune.run:prune",
        "galenic.compression.prune.config:PruneConfig",
    ),
    "finetune": StageKind(
        RECIPE_FINETUNERS,
        "galenic.training.finetune.stage:tune",
        "galenic.training.finetune.stage:StageConfig",
    ),
    "distill": StageKind(
        DISTILLERS,
        "galenic.training.distill.run:heal",
        "galenic.training.distill.config:DistillConfig",
    ),
    "quantize": StageKind(
        QUANTIZERS,
        "galenic.compression.quantize.run:quantize",
        "galenic.compression.quantize.config:QuantizeConfig",
    ),
}
"""All stages by name. A stage reads a model and writes a folder with a manifest."""

ROWS = "rows"
"""Key whose presence marks a file as a study (`galenic.study.grid`)."""
KEYS = ("name", "description", "calibration", "stages")
CALIBRATION = ("num_samples", "seq_len", "seed")
"""Calibration settings of a recipe; the text itself is given by --data and --text."""


@dataclass(frozen=True)
class Step:
    """One stage of a recipe, with its method and options."""

    stage: str
    method: Any

    @property
    def title(self) -> str:
        """Name for messages and progress, such as ``"prune width"``."""
        return f"{self.stage} {self.method.name}"

    def describe(self) -> dict[str, Any]:
        """Return stage, method and all options with their values, as in YAML."""
        return {"stage": self.stage, "method": self.method.name, **self.method.options}


@dataclass(frozen=True)
class Recipe:
    """A sequence of stages.

    Attributes:
        name: short name, same as the file's.
        description: one or two sentences.
        calibration: amount of calibration text and the seed, without sources.
        steps: the stages, at least one.
    """

    name: str
    description: str
    calibration: CalibrationConfig
    steps: tuple[Step, ...]

    @property
    def calibrated(self) -> bool:
        """Whether any stage uses calibration text."""
        return any(step.method.calibrated for step in self.steps)

    def with_samples(self, num_samples: int) -> Recipe:
        """Return the recipe with another number of calibration sequences."""
        calibration = self.calibration.model_copy(update={"num_samples": num_samples})
        return replace(self, calibration=calibration)

    def describe(self) -> dict[str, Any]:
        """Return the whole recipe as a dict with all defaults filled in."""
        calibration = {key: getattr(self.calibration, key) for key in CALIBRATION}
        return {
            "name": self.name,
            "description": self.description,
            "calibration": calibration,
            "stages": [step.describe() for step in self.steps],
        }


def shipped_recipes() -> dict[str, Path]:
    """Return the files of the packaged recipes by name, without studies."""
    return {name: path for name, path in shipped_files().items() if not _is_study(path)}


def shipped_files() -> dict[str, Path]:
    """Return the files of the packaged recipes and studies by name."""
    inside = Path(__file__).parent / "shipped"  # in a wheel; a checkout has them at the top level
    folder = inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise UserError(f"no recipes are at {folder}: this installation is damaged. Install again.")
    return found


def _is_study(path: Path) -> bool:
    return any(line.startswith(f"{ROWS}:") for line in path.read_text("utf-8").splitlines())


def find_recipe(name: str) -> Path:
    """Find the file of a recipe or study, given as packaged name or as path.

    Raises:
        UserError: there is no such name and no such file.
    """
    shipped = shipped_files()
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = unknown_name("recipe", name, shipped)
    raise UserError(f"{known} Also accepted: the path of a YAML file.")


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name or path.

    Raises:
        UserError: it is missing, not YAML, or has an unknown key or invalid value.
    """
    path = find_recipe(name)
    found = read_yaml(path)
    if isinstance(found, dict) and ROWS in found:
        raise UserError(f"{path} is a study, of several recipes: galenic study {name} -o FOLDER")
    return _built(found, str(path))


def parse_recipe(text: str, origin: str = "recipe") -> Recipe:
    """Read a recipe from YAML.

    Args:
        text: content of the file.
        origin: file name for messages.

    Raises:
        UserError: as in `read_recipe`.
    """
    return _built(parse_yaml(text, origin), origin)


def _built(found: Any, origin: str) -> Recipe:
    try:
        return build_recipe(found)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


def dump_recipe(recipe: Recipe) -> str:
    """Return YAML with all options; `parse_recipe` gives the same recipe again."""
    return yaml.safe_dump(recipe.describe(), sort_keys=False, allow_unicode=True, width=96)


def build_recipe(found: Any) -> Recipe:
    """Build a recipe from parsed YAML.

    Raises:
        UserError: a key, stage, method or option is unknown, missing or invalid.
    """
    if not isinstance(found, dict):
        raise UserError(f"a mapping with the keys {', '.join(KEYS)} was expected.")
    check_keys("recipe key", found, KEYS)
    for key in ("name", "description"):
        if not isinstance(found.get(key), str) or not found[key].strip():
            raise UserError(f"{key}: a text is needed.")
    stages = found.get("stages")
    if not isinstance(stages, list) or not stages:
        raise UserError("stages: a list of at least one stage is needed.")
    calibration = found.get("calibration") or {}
    if not isinstance(calibration, dict):
        raise UserError(f"calibration: a mapping with {', '.join(CALIBRATION)} was expected.")
    check_keys("calibration setting", calibration, CALIBRATION)
    steps = tuple(_parse_step(number, stage) for number, stage in enumerate(stages, 1))
    for number, step in enumerate(steps[:-1], 1):
        if step.stage == "quantize":
            raise UserError(f"stage {number}: quantize comes last, for nothing can follow it.")
    return Recipe(
        name=found["name"].strip(),
        description=" ".join(found["description"].split()),
        calibration=_build(CalibrationConfig, calibration),
        steps=steps,
    )


def _parse_step(number: int, given: Any) -> Step:
    where = f"stage {number}"
    if not isinstance(given, dict) or not isinstance(given.get("stage"), str):
        raise UserError(f"{where}: a mapping with stage, method and options was expected.")
    stage = given["stage"]
    if stage not in STAGES:
        raise UserError(f"{where}: {unknown_name('stage', stage, STAGES)}")
    methods = STAGES[stage].methods
    name = given.get("method")
    if not isinstance(name, str):
        raise UserError(f"{where} ({stage}): method: one of {', '.join(methods)} is needed.")
    try:
        method = methods.load(name)
        options = {key: value for key, value in given.items() if key not in ("stage", "method")}
        check_keys(f"option of {name}", options, method.model_fields)
        return Step(stage, _build(method, options))
    except UserError as error:
        raise UserError(f"{where} ({stage}): {error}") from error


def _build(kind: type[BaseModel], values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or kind.__name__
        raise UserError(f"{where}: {first['input']!r}: {first['msg']}") from error


def _load(address: str) -> Any:
    module, attribute = address.split(":")
    return getattr(importlib.import_module(module), attribute)
