"""Studies: models, the ways to compress them, and the measurements, read from strict YAML.

    name: paper
    description: ...
    models: [smollm2-135m]
    calibration: {num_samples: 64, seq_len: 256, seed: 0}
    evaluate: {benchmarks: [pubmedqa, medmcqa], scoring: [letter], limit: 300}
    measures: [answers, perplexity, speed, explanations]
    rows:
      - {name: dense}
      - {name: pruned, stages: [{stage: prune, method: width, sparsity: 0.2}]}
      - {name: small, from: pruned, stages: [{stage: quantize, method: kquant, bits: 4}]}

A row applies its stages to every model, after those of its ``from`` row. A plain recipe is also
accepted as a study: the dense model, and the result of each of its stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.recipes.recipe import ROWS, Recipe, build_recipe, find_recipe
from galenic.strict_yaml import check_keys, read_yaml

__all__ = ["MEASURES", "Study", "Variant", "parse_study", "read_study"]

KEYS = ("name", "description", "models", "calibration", "evaluate", "measures", ROWS)
ROW_KEYS = ("name", "title", "from", "stages")
OUTSIDE = ("model", "data", "threads")
"""Evaluation settings that are not part of a study, as they depend on model or machine."""
MEASURES = ("answers", "perplexity", "speed", "explanations")
DEFAULT_MODEL = "smollm2-135m"


@dataclass(frozen=True)
class Variant:
    """A row: the stages applied to each model.

    Attributes:
        name: unique name of the row.
        title: title for tables.
        recipe: the stages; None for the uncompressed model.
    """

    name: str
    title: str
    recipe: Recipe | None


@dataclass(frozen=True)
class Study:
    """A grid of models and variants, with measurements.

    Attributes:
        name: short name.
        description: readable description.
        models: names or paths, as for `galenic.models.load.resolve_model`.
        variants: the rows; the first is the uncompressed model, the reference of all others.
        evaluate: evaluation settings; its ``model`` is not used.
        measures: selection of `MEASURES`; explanations are the model's generated reasoning on a
            few questions.
    """

    name: str
    description: str
    models: tuple[str, ...]
    variants: tuple[Variant, ...]
    evaluate: EvaluateConfig
    measures: tuple[str, ...]

    def with_changes(
        self, *, models: Sequence[str] = (), evaluate: Mapping[str, Any] | None = None
    ) -> Study:
        """Return the study with other models or evaluation settings, where given.

        Raises:
            UserError: a setting is invalid.
        """
        settings = self.evaluate.model_dump(exclude=set(OUTSIDE)) | dict(evaluate or {})
        chosen = tuple(dict.fromkeys(models)) or self.models
        return replace(self, models=chosen, evaluate=_evaluation(settings))


def read_study(name: str) -> Study:
    """Read a study, or a recipe as a study, by name or path.

    Raises:
        UserError: it is missing, not YAML, or has an unknown key or invalid value.
    """
    path = find_recipe(name)
    return parse_study(read_yaml(path), str(path))


def parse_study(found: Any, origin: str = "study") -> Study:
    """Build a study from parsed YAML.

    Raises:
        UserError: as in `read_study`.
    """
    try:
        if isinstance(found, dict) and ROWS not in found:
            return _of_recipe(build_recipe(found))
        return _parse(found)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


def _of_recipe(recipe: Recipe) -> Study:
    """Make a study of a recipe: the dense model, and the result of each stage."""
    variants = [_dense()]
    for count in range(1, len(recipe.steps) + 1):
        steps = recipe.steps[:count]
        title = " + ".join(step.title for step in steps)
        name = recipe.name if count == len(recipe.steps) else f"{recipe.name}-{count}"
        variants.append(Variant(name, title, replace(recipe, name=name, steps=steps)))
    return Study(
        name=recipe.name,
        description=recipe.description,
        models=(DEFAULT_MODEL,),
        variants=tuple(variants),
        evaluate=_evaluation({}),
        measures=MEASURES,
    )


def _dense() -> Variant:
    return Variant("dense", "dense", None)


def _parse(found: Any) -> Study:
    if not isinstance(found, dict):
        raise UserError(f"a mapping with the keys {', '.join(KEYS)} was expected.")
    check_keys("study key", found, KEYS)
    for key in ("name", "description"):
        if not isinstance(found.get(key), str) or not found[key].strip():
            raise UserError(f"{key}: a text is needed.")
    return Study(
        name=found["name"].strip(),
        description=" ".join(found["description"].split()),
        models=_texts("models", found.get("models", [DEFAULT_MODEL])),
        variants=_variants(found.get(ROWS), found.get("calibration") or {}),
        evaluate=_evaluation(found.get("evaluate") or {}),
        measures=_measures(found.get("measures", list(MEASURES))),
    )


def _texts(key: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given or not all(isinstance(x, str) for x in given):
        raise UserError(f"{key}: a list of names is needed.")
    return tuple(dict.fromkeys(given))


def _measures(given: Any) -> tuple[str, ...]:
    names = _texts("measures", given)
    check_keys("measure", dict.fromkeys(names), MEASURES)
    return names


def _evaluation(given: Any) -> EvaluateConfig:
    if not isinstance(given, Mapping):
        raise UserError("evaluate: a mapping was expected.")
    known = [name for name in EvaluateConfig.model_fields if name not in OUTSIDE]
    check_keys("setting of evaluate", given, known)
    usual = {"runtime": "torch", "scoring": ("letter", "text_per_byte")}
    try:
        return EvaluateConfig(model="-", **usual | dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"evaluate: {where}: {first['input']!r}: {first['msg']}") from error


def _variants(rows: Any, calibration: Any) -> tuple[Variant, ...]:
    if not isinstance(rows, list) or not rows:
        raise UserError("rows: a list of at least one row is needed.")
    if not isinstance(calibration, Mapping):
        raise UserError("calibration: a mapping was expected.")
    stages: dict[str, list[Any]] = {}
    found: list[Variant] = []
    for number, row in enumerate(rows, 1):
        name = _row_name(number, row, stages)
        own = row.get("stages", [])
        if not isinstance(own, list):
            raise UserError(f"row {name}: stages: a list was expected.")
        before = row.get("from")
        if before is not None and before not in stages:
            raise UserError(f"row {name}: from: {before!r} is no row above it.")
        stages[name] = [*(stages[before] if before is not None else []), *own]
        title = row.get("title", name)
        if not isinstance(title, str):
            raise UserError(f"row {name}: title: a text was expected.")
        found.append(Variant(name, title, _recipe(name, title, stages[name], calibration)))
    bare = [variant for variant in found if variant.recipe is None]
    if len(bare) > 1:
        raise UserError(f"rows {bare[0].name} and {bare[1].name} are the same: neither has stages.")
    return (*(bare or [_dense()]), *(v for v in found if v.recipe is not None))


def _row_name(number: int, row: Any, before: Mapping[str, Any]) -> str:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not row["name"].strip():
        raise UserError(f"row {number}: a mapping with name and stages was expected.")
    check_keys(f"key of row {row['name']}", row, ROW_KEYS)
    if row["name"] in before:
        raise UserError(f"row {number}: the name {row['name']} appears twice.")
    return str(row["name"])


def _recipe(name: str, title: str, stages: list[Any], calibration: Any) -> Recipe | None:
    if not stages:
        return None
    try:
        return build_recipe(
            {"name": name, "description": title, "calibration": calibration, "stages": stages}
        )
    except UserError as error:
        raise UserError(f"row {name}: {error}") from error
