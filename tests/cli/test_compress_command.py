"""``galenic compress`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import galenic
from galenic.recipes.recipe import shipped_recipes
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

RECIPE = "name: mine\ndescription: d\nstages: [{stage: prune, method: magnitude, sparsity: 0.3}]\n"


@pytest.mark.slow
def test_a_model_compressed_and_looked_at(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "qwen2")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    out = tmp_path / "dose"
    done = galenic("compress", model, "--recipe", tmp_path / "mine.yaml", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "by the recipe mine" in done.stdout
    shown = galenic("inspect", out)
    assert shown.returncode == 0, shown.stderr
    assert "prune magnitude" in shown.stdout
    assert "sparsity 0.3" in shown.stdout
    assert "recipe.yaml, sha256" in shown.stdout
    [stage] = json.loads(galenic("inspect", out, "--json").stdout)["manifest"]["stages"]
    assert f"{stage['removed']['blocks']:.1%}" in shown.stdout
    assert f"{stage['removed']['whole']:.1%}" in shown.stdout


@pytest.mark.slow
def test_the_help_names_the_recipes() -> None:
    done = galenic("compress", "--help")
    assert all(name in done.stdout for name in shipped_recipes())
