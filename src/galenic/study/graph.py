"""The computations of a study as a graph; a node's key is a hash of all that its result depends on.

So existing results are reused, whichever row needs them, and a changed option only causes the nodes
that depend on it to be computed again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from galenic.data.benchmarks.select import resolve_benchmarks
from galenic.data.calibration import CalibrationConfig, read_heldout_text
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.evaluation.baseline import BaselineRow, baseline_row
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from galenic.recipes.recipe import Recipe, dump_recipe
from galenic.recipes.run import CompressJob, read_learnt, read_texts, stage_keys
from galenic.study.grid import Study, Variant

__all__ = ["Cell", "Graph", "Node", "StudyTexts", "build_graph"]

KINDS = ("stage", "answers", "perplexity", "speed")
KEY_LENGTH = 16
EXPLAINED = 3
"""Questions per benchmark for which generated reasoning is recorded."""
WORDS = ("benchmarks", "scoring")
SIZES = ("file_bytes", "bits_per_weight", "parameters")


@dataclass(frozen=True)
class Node:
    """One unit of work.

    Attributes:
        kind: ``stage`` makes a model folder; ``answers``, ``perplexity`` and ``speed`` measure one.
        key: hash of all that its result depends on.
        title: readable name.
        needs: ids of the nodes it depends on.
        spec: parameters as JSON data; models are given as names or as ids of nodes.
        parameters: number of parameters of its input model, to estimate memory.
    """

    kind: str
    key: str
    title: str
    needs: tuple[str, ...]
    spec: dict[str, Any]
    parameters: int

    @property
    def id(self) -> str:
        """Id of the node, which is also the name of its folder."""
        return f"{self.kind}-{self.key[:KEY_LENGTH]}"


@dataclass(frozen=True)
class Cell:
    """One row of the table: a variant of one of the study's models.

    Attributes:
        variant: name of the variant.
        title: title of the variant.
        model: name of the model in the study.
        made_by: id of the node that makes it; None for the uncompressed model.
        answers: node ids by benchmark and scoring.
        perplexity, speed: node ids; None if not measured.
        explanations: node ids by benchmark.
        recipe: YAML of the applied recipe; empty for the uncompressed model.
    """

    variant: str
    title: str
    model: str
    made_by: str | None
    answers: dict[str, dict[str, str]]
    perplexity: str | None
    speed: str | None
    explanations: dict[str, str]
    recipe: str


@dataclass(frozen=True)
class Graph:
    """Nodes by id in topological order, and the cells of the table.

    ``sizes`` are those of the uncompressed models, ``baselines`` those of the complete splits.
    """

    nodes: dict[str, Node]
    cells: tuple[Cell, ...]
    sizes: dict[str, dict[str, Any]]
    baselines: list[dict[str, Any]]


@dataclass(frozen=True)
class StudyTexts:
    """Locations of data: the data folder (or ``sample``), and the user's own text file."""

    data: str | None = None
    text: str | None = None


def build_graph(study: Study, texts: StudyTexts) -> Graph:
    """Build the graph of a study; reads all data once, but no weights.

    Raises:
        UserError: a model, benchmark or file is missing or damaged, or a required extra is not
            installed.
    """
    _check_extras(study)
    nodes: dict[str, Node] = {}
    baselines = _baselines(study, texts)
    data = {row.benchmark: row.sha256 for row in baselines}
    cells, sizes = [], {}
    for model in study.models:
        files = resolve_model(model)
        facts = inspect_model(files)
        sizes[model] = {key: getattr(facts, key) for key in SIZES}
        base = _Base(model, files, facts.parameters["total"], study, texts, data)
        for variant in study.variants:
            made = base.stages(variant, nodes)
            cells.append(base.cell(variant, made, nodes))
    return Graph(nodes, tuple(cells), sizes, [asdict(row) for row in baselines])


def _check_extras(study: Study) -> None:
    """Check early that the packages needed by the stages are installed."""
    stages = any(variant.recipe is not None for variant in study.variants)
    needed = stages or study.evaluate.runtime == "torch"
    if needed and not all(find_spec(name) for name in ("torch", "transformers")):
        raise UserError("this study needs an extra: pip install 'galenic[train]'.")


def _baselines(study: Study, texts: StudyTexts) -> list[BaselineRow]:
    """Compute the majority-class baseline of each benchmark on its complete split."""
    config = study.evaluate.model_copy(update={"data": texts.data})
    source = open_source(config.data_source)
    return [
        baseline_row(source.load(benchmark, config.split))
        for benchmark in resolve_benchmarks(config.benchmarks, config.exam_options)
    ]


@dataclass(frozen=True)
class _Base:
    """One of the study's models."""

    model: str
    files: ModelFiles
    parameters: int
    study: Study
    texts: StudyTexts
    data: dict[str, str]

    def stages(self, variant: Variant, nodes: dict[str, Node]) -> str | None:
        """Add the stage nodes of a variant as needed; return the id of the last one."""
        if variant.recipe is None:
            return None
        job = CompressJob(self.model, variant.recipe, self.texts.data, self.texts.text)
        keys = stage_keys(variant.recipe, self.files.sha256, read_texts(job), read_learnt(job))
        before: str | None = None
        for place, (step, key) in enumerate(zip(variant.recipe.steps, keys, strict=True)):
            spec = {
                "recipe": dump_recipe(_named(variant.recipe, place)),
                "base": self.model,
                "model": before,
                "data": self.texts.data,
                "text": self.texts.text,
            }
            title = f"{step.title} of {variant.name if place else Path(self.model).stem}"
            needs = () if before is None else (before,)
            node = Node("stage", key, title, needs, spec, self.parameters)
            before = node.id
            nodes.setdefault(before, node)
        return before

    def cell(self, variant: Variant, made: str | None, nodes: dict[str, Node]) -> Cell:
        """Add the nodes that measure a model, and return its cell."""
        key = nodes[made].key if made is not None else self.files.sha256
        needs = () if made is None else (made,)
        name = variant.name if len(self.study.models) == 1 else f"{self.model} {variant.name}"

        def add(kind: str, title: str, depends: Any, spec: dict[str, Any]) -> str:
            node = Node(
                kind, _digest(kind, key, depends), f"{name}: {title}", needs, spec, self.parameters
            )
            nodes.setdefault(node.id, node)
            return node.id

        measures = self.study.measures
        answers = self._answers(add, made) if "answers" in measures else {}
        against = "none" if made is None else self.model
        parent = None if made is None else self.files.sha256
        return Cell(
            variant=variant.name,
            title=variant.title,
            model=self.model,
            made_by=made,
            answers=answers,
            perplexity=self._perplexity(add, made, against, parent)
            if "perplexity" in measures
            else None,
            speed=add("speed", "speed", [parent], {"model": made, "base": self.model})
            if "speed" in measures and made is not None
            else None,
            explanations=self._explanations(add, made) if "explanations" in measures else {},
            recipe="" if variant.recipe is None else dump_recipe(variant.recipe),
        )

    def _explanations(self, add: Any, made: str | None) -> dict[str, str]:
        limit = min(EXPLAINED, self.study.evaluate.limit or EXPLAINED)
        changes = {"limit": limit, "debias": "none"}
        return {
            benchmark: self._asked(add, made, benchmark, "generate", changes)
            for benchmark in self.data
        }

    def _answers(self, add: Any, made: str | None) -> dict[str, dict[str, str]]:
        return {
            benchmark: {
                scoring: self._asked(add, made, benchmark, scoring, {})
                for scoring in self.study.evaluate.scoring
            }
            for benchmark in self.data
        }

    def _asked(
        self, add: Any, made: str | None, benchmark: str, scoring: str, changes: dict[str, Any]
    ) -> str:
        """Add the node for one benchmark and scoring; return its id."""
        config = self.study.evaluate
        settings = config.model_dump(mode="json", exclude={"model", "data", "threads", *WORDS})
        own = {**settings, **changes, "benchmarks": [benchmark], "scoring": [scoring]}
        spec = {"model": made, "base": self.model, "data": self.texts.data, "config": own}
        explained = "limit" in changes
        title = f"{benchmark} explanations" if explained else f"{benchmark} {scoring}"
        return str(add("answers", title, [own, self.data[benchmark]], spec))

    def _perplexity(self, add: Any, made: str | None, against: str, parent: str | None) -> str:
        config = CalibrationConfig.model_validate(
            {"data": self.texts.data, "text": self.texts.text}
        )
        texts = [[text.source, text.sha256] for text in read_heldout_text(config)]
        spec = {
            "model": made,
            "base": self.model,
            "against": against,
            "data": self.texts.data,
            "text": self.texts.text,
            "runtime": self.study.evaluate.runtime,
        }
        return str(add("perplexity", "perplexity", [texts, parent, spec["runtime"]], spec))


def _named(recipe: Recipe, place: int) -> Recipe:
    """Return the recipe up to a stage, with a name that is independent of the variant."""
    steps = recipe.steps[: place + 1]
    return replace(recipe, name="-".join(step.method.name for step in steps), steps=steps)


def _digest(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
