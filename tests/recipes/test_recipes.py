"""Every recipe that comes with the package, on less text, on a tiny model with whole blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from galenic.data.calibration import CalibrationConfig
from galenic.recipes.recipe import read_recipe, shipped_recipes
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

from test_chain import Watcher

from galenic.models.load import resolve_model
from galenic.models.size import inspect_model
from galenic.recipes.run import CompressJob, compress

MERGES = 13_000  # a recipe that cuts the vocabulary keeps the first 12,000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """With many tokens, and with few, which is quicker."""
    folder = tmp_path_factory.mktemp("models")
    return {
        many: write_tiny_hf(
            folder / f"m{many:d}", "llama", hidden_size=256, pair_merges=MERGES * many
        )
        for many in (False, True)
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "notes.txt"
    words = (f"the patient number {n} has a fever of {n % 7} days" for n in range(1200))
    path.write_text("\n\n".join(words))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_recipes())
def test_each_shipped_recipe_runs(
    name: str, models: dict[bool, Path], text: Path, tmp_path: Path
) -> None:
    less = CalibrationConfig(num_samples=8, seq_len=32)
    recipe = replace(read_recipe(name), calibration=less)
    methods = {step.method.name for step in recipe.steps}
    if "nf4" in methods:
        pytest.importorskip("bitsandbytes", reason="needs the bnb extra")
    model = models["vocab" in methods]
    manifest = compress(CompressJob(str(model), recipe, None, str(text)), tmp_path / "d", Watcher())
    before, after = (inspect_model(resolve_model(str(path))) for path in (model, tmp_path / "d"))
    assert [stage.method for stage in manifest.stages] == [s.method.name for s in recipe.steps]
    assert after.file_bytes < before.file_bytes / 4  # from float32
    assert "not a medical device" in (tmp_path / "d" / "README.md").read_text()
    narrow = bool(methods & {"width", "depth"})
    assert (after.parameters["blocks"] <= 0.8 * before.parameters["blocks"]) == narrow
    if "wanda" in methods:
        zeros = inspect_model(resolve_model(str(tmp_path / "d")), zeros=True).zeros
        assert zeros is not None
        assert zeros["blocks"] > 0.4999  # quantizing kept them; each row rounds down
    cut = after.parameters["embeddings"] < before.parameters["embeddings"]
    assert cut == ("vocab" in methods)
