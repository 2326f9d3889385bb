"""A recipe: what is done to a model, stage after stage, as a strict YAML file.

    name: laptop
    description: ...
    calibration: {num_samples: 64, seq_len: 256, seed: 0}
    stages:
      - {stage: prune, method: wanda, sparsity: 0.5}

Every option belongs to the class of its method, which checks it. Nothing is ignored: a key, stage,
method or option that is not known is an error which names those that are.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
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
    """What can stand behind ``stage:`` in a recipe.

    Attributes:
        methods: what can stand behind ``method:``.
        run: ``run(config, method, output, watcher) -> Manifest`` does it, as ``module:attribute``.
        config: class of ``config``: model, method name and text, as ``module:attribute``. Of the
            recipe's calibration it gets what it has a field for; as ``teacher``, if it has one,
            the model that the recipe begins with.
    """

    methods: Registry
    run: str
    config: str

    def load_run(self) -> Any:
        """The function that does the stage; importing it takes seconds."""
        return _load(self.run)

    def load_config(self) -> Any:
        """The class of the stage's configuration."""
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
"""Every stage there is. A stage reads a model and writes a folder with a manifest."""

ROWS = "rows"
"""The key that makes a file a study (`galenic.study.grid`)."""
KEYS = ("name", "description", "calibration", "stages")
CALIBRATION = ("num_samples", "seq_len", "seed")
"""Which text is read, and where it lies, is not the recipe's: --data and --text say it."""


@dataclass(frozen=True)
class Step:
    """One stage of a recipe: its kind, and the method with its options."""

    stage: str
    method: Any

    @property
    def title(self) -> str:
        """For messages and progress: ``"prune width"``."""
        return f"{self.stage} {self.method.name}"

    def describe(self) -> dict[str, Any]:
        """Stage, method and every option with the value that is used, as YAML has it."""
        return {"stage": self.stage, "method": self.method.name, **self.method.options}


@dataclass(frozen=True)
class Recipe:
    """Stages in order.

    Attributes:
        name: short; the file's.
        description: one or two sentences for people.
        calibration: how much text methods that calibrate read, and the seed; no sources.
        steps: at least one.
    """

    name: str
    description: str
    calibration: CalibrationConfig
    steps: tuple[Step, ...]

    @property
    def calibrated(self) -> bool:
        """Whether any stage needs calibration text."""
        return any(step.method.calibrated for step in self.steps)

    def describe(self) -> dict[str, Any]:
        """The whole recipe with nothing left to defaults."""
        calibration = {key: getattr(self.calibration, key) for key in CALIBRATION}
        return {
            "name": self.name,
            "description": self.description,
            "calibration": calibration,
            "stages": [step.describe() for step in self.steps],
        }


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name; no studies."""
    return {name: path for name, path in shipped_files().items() if not _is_study(path)}


def shipped_files() -> dict[str, Path]:
    """The recipes and studies that come with the package, by name."""
    inside = Path(__file__).parent / "shipped"  # in a wheel; in a checkout they lie at the top
    folder = inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise UserError(f"no recipes are at {folder}: this installation is damaged. Install again.")
    return found


def _is_study(path: Path) -> bool:
    return any(line.startswith(f"{ROWS}:") for line in path.read_text("utf-8").splitlines())


def find_recipe(name: str) -> Path:
    """The file of a recipe or study: one of the package's by name, or a path.

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
        UserError: it is not there, is no YAML, or says something that is not known or allowed.
    """
    path = find_recipe(name)
    found = read_yaml(path)
    if isinstance(found, dict) and ROWS in found:
        raise UserError(f"{path} is a study, of several recipes: galenic study {name} -o FOLDER")
    return _built(found, str(path))


def parse_recipe(text: str, origin: str = "recipe") -> Recipe:
    """Read a recipe from YAML.

    Args:
        text: of the file.
        origin: its name, for messages.

    Raises:
        UserError: as `read_recipe`.
    """
    return _built(parse_yaml(text, origin), origin)


def _built(found: Any, origin: str) -> Recipe:
    try:
        return build_recipe(found)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


def dump_recipe(recipe: Recipe) -> str:
    """YAML with every option spelled out; `parse_recipe` reads the same recipe from it."""
    return yaml.safe_dump(recipe.describe(), sort_keys=False, allow_unicode=True, width=96)


def build_recipe(found: Any) -> Recipe:
    """A recipe from what its YAML says.

    Raises:
        UserError: a key, stage, method or option is unknown, missing or not allowed.
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
