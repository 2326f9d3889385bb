"""Recipes: strict to read, whole when written, and the same again when read back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from galenic.errors import UserError
from galenic.recipes.recipe import (
    STAGES,
    dump_recipe,
    find_recipe,
    parse_recipe,
    read_recipe,
    shipped_recipes,
)
from galenic.registry import PRUNERS, RECIPE_FINETUNERS

pytest.importorskip("torch", reason="needs the train extra")

GOOD = """
name: mine
description: Half of the weights.
calibration: {num_samples: 8, seq_len: 64, seed: 3}
stages:
  - {stage: prune, method: wanda, sparsity: 0.5}
"""


def test_a_recipe_says_what_it_says() -> None:
    recipe = parse_recipe(GOOD)
    assert (recipe.name, recipe.description) == ("mine", "Half of the weights.")
    assert (recipe.calibration.num_samples, recipe.calibration.seq_len) == (8, 64)
    assert recipe.calibration.seed == 3
    [step] = recipe.steps
    assert (step.stage, step.method.name, step.method.share) == ("prune", "wanda", 0.5)
    assert step.title == "prune wanda"
    assert recipe.calibrated


def test_calibration_has_the_defaults_of_the_commands() -> None:
    text = "name: a\ndescription: b\nstages: [{stage: prune, method: magnitude}]"
    recipe = parse_recipe(text)
    assert recipe.calibration.num_samples == 64
    assert not recipe.calibrated
    assert recipe.describe()["stages"][0]["sparsity"] == 0.2  # nothing is left to defaults


@pytest.mark.parametrize("method", list(PRUNERS))
def test_every_method_survives_the_round_trip(method: str) -> None:
    recipe = parse_recipe(f"name: a\ndescription: b\nstages: [{{stage: prune, method: {method}}}]")
    assert parse_recipe(dump_recipe(recipe)) == _resolved(recipe)
    assert dump_recipe(parse_recipe(dump_recipe(recipe))) == dump_recipe(recipe)


def _resolved(recipe: object) -> object:
    return parse_recipe(yaml.safe_dump(recipe.describe()))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: mine", "nam: mine"), "unknown recipe key 'nam'. Did you mean 'name'"),
        (("stage: prune", "stage: prone"), "stage 1: unknown stage 'prone'. Did you mean 'prune'"),
        (("method: wanda", "method: wando"), "unknown pruning method 'wando'. Did you mean 'wanda"),
        (
            ("sparsity: 0.5", "sparsty: 0.5"),
            "unknown option of wanda 'sparsty'. Did you mean 'spars",
        ),
        (("sparsity: 0.5", "sparsity: 1.5"), "sparsity: 1.5: Input should be less than 1"),
        (("sparsity: 0.5", "sparsity: often"), "sparsity: 'often'"),
        (("sparsity: 0.5", "pattern: '4:2'"), "--pattern '4:2'"),
        (("seed: 3", "sead: 3"), "unknown calibration setting 'sead'. Did you mean 'seed'"),
        (("seed: 3", "data: here"), "unknown calibration setting 'data'"),
        (("seq_len: 64", "seq_len: 0"), "seq_len: 0"),
        (("name: mine", "name: 7"), "name: a text is needed"),
        (("name: mine", "name: mine\nname: yours"), "the key 'name' appears twice"),
        (("method: wanda, ", ""), "method: one of magnitude, wanda"),
        (("stages:", "stages: []\nother:"), "unknown recipe key 'other'"),
        (("  - {", "  - ["), "not valid YAML"),
    ],
)
def test_what_is_not_known_is_named(change: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        parse_recipe(GOOD.replace(*change), "my.yaml")
    assert str(caught.value).startswith("my.yaml")


@pytest.mark.parametrize("text", ["", "[]", "name: a\ndescription: b\nstages: []", "a: !!python/x"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"my\.yaml"):
        parse_recipe(text, "my.yaml")


def test_shipped_recipes_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    shipped = shipped_recipes()
    assert shipped
    for name, path in shipped.items():
        recipe = read_recipe(name)
        assert recipe.name == name
        assert recipe == read_recipe(str(path))
        assert all(step.stage in STAGES for step in recipe.steps)
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert read_recipe(str(tmp_path / "mine.yaml")).name == "mine"


def test_a_recipe_that_is_not_there_is_named_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'sparce'.*Did you mean 'sparse'"):
        find_recipe("sparce")
    with pytest.raises(UserError, match=r"Also accepted: the path of a YAML file"):
        find_recipe("/not/there.yaml")


@pytest.mark.parametrize("method", list(RECIPE_FINETUNERS))
def test_a_tuning_stage_is_read_back_as_it_was(method: str) -> None:
    text = "name: a\ndescription: b\nstages: [{stage: finetune, method: %s, train: medqa=2}]"
    recipe = parse_recipe(text % method)
    assert recipe.steps[0].method.name == method
    assert recipe.describe()["stages"][0]["learning_rate"] == 2e-4
    assert parse_recipe(dump_recipe(recipe)).describe() == recipe.describe()
