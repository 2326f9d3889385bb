"""A study as YAML: strict, rows built on rows, recipes taken as studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from galenic.errors import UserError
from galenic.recipes.recipe import read_recipe, shipped_files, shipped_recipes
from galenic.study.grid import MEASURES, parse_study, read_study

GRID: dict[str, Any] = {
    "name": "mine",
    "description": "A grid.",
    "models": ["one", "two"],
    "evaluate": {"benchmarks": ["medmcqa"], "limit": 7},
    "rows": [
        {"name": "pruned", "stages": [{"stage": "prune", "method": "magnitude", "sparsity": 0.3}]},
        {"name": "small", "from": "pruned", "stages": [{"stage": "quantize", "method": "kquant"}]},
        {"name": "as it is", "title": "Dense"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**GRID, **changes}


def test_rows_are_built_on_rows_and_the_dense_model_comes_first() -> None:
    study = parse_study(GRID)
    assert study.models == ("one", "two")
    assert [variant.name for variant in study.variants] == ["as it is", "pruned", "small"]
    dense, pruned, small = study.variants
    assert dense.recipe is None
    assert dense.title == "Dense"
    assert pruned.recipe is not None
    assert small.recipe is not None
    assert [step.title for step in small.recipe.steps] == ["prune magnitude", "quantize kquant"]
    assert small.recipe.steps[0] == pruned.recipe.steps[0]
    assert study.measures == MEASURES
    assert study.evaluate.limit == 7


def test_a_dense_row_is_added_where_there_is_none() -> None:
    study = parse_study(changed(rows=GRID["rows"][:1]))
    assert [variant.name for variant in study.variants] == ["dense", "pruned"]


def test_what_is_given_on_the_command_line_counts() -> None:
    study = parse_study(GRID).with_changes(models=["three"], evaluate={"limit": 2})
    assert study.models == ("three",)
    assert study.evaluate.limit == 2
    assert study.evaluate.benchmarks == ("medmcqa",)
    with pytest.raises(UserError, match="limit"):
        parse_study(GRID).with_changes(evaluate={"limit": 0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": []}, "at least one row"),
        ({"rows": [{"title": "no name"}]}, "row 1"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "appears twice"),
        ({"rows": [{"name": "a"}, {"name": "b"}]}, "neither has stages"),
        ({"rows": [{"name": "a", "from": "b"}]}, "no row above"),
        ({"rows": [{"name": "a", "stages": [{"stage": "prune", "method": "wandla"}]}]}, "wanda"),
        ({"rows": [{"name": "a", "stage": []}]}, "unknown key of row a"),
        ({"rows": [{"name": "a", "title": ["b"]}]}, "row a: title: a text"),
        ({"calibration": [1]}, "calibration: a mapping"),
        ({"measures": ["accuracy"]}, "unknown measure"),
        ({"models": []}, "models"),
        ({"evaluate": {"limits": 3}}, "unknown setting of evaluate 'limits'"),
        ({"evaluate": {"limit": "many"}}, "evaluate: limit"),
        ({"evaluate": {"model": "x"}}, "unknown setting of evaluate 'model'"),
        ({"modles": []}, "unknown study key"),
        ({"name": ""}, "name"),
    ],
)
def test_anything_else_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_study(changed(**changes))


def test_a_recipe_is_a_study_of_its_stages() -> None:
    recipe = read_recipe("laptop")
    study = read_study("laptop")
    assert [variant.name for variant in study.variants] == ["dense", "laptop-1", "laptop"]
    assert study.variants[-1].recipe == recipe


def test_shipped_studies_can_be_read_and_are_no_recipes(tmp_path: Path) -> None:
    studies = set(shipped_files()) - set(shipped_recipes())
    assert "paper" in studies
    for name in studies:
        assert len(read_study(name).variants) > 1
        with pytest.raises(UserError, match="galenic study"):
            read_recipe(name)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(GRID))
    assert read_study(str(path)).name == "mine"
