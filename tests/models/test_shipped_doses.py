"""The doses of the package: whole, small enough, and what `galenic pull` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.artifact.manifest import read_manifest
from galenic.cache import file_sha256
from galenic.models.adapter import read_adapter
from galenic.models.fetch.dose import DOSES, read_dose
from galenic.models.fetch.embedded import EMBEDDED
from galenic.models.gguf.header import read_header
from galenic.recipes.dose import build_dose, read_importance

MOST_BYTES = 10_000_000


def test_there_is_a_dose() -> None:
    assert "medical-135m" in DOSES


@pytest.mark.parametrize("name", DOSES)
def test_it_says_how_it_was_trained(name: str) -> None:
    folder, dose = DOSES[name], read_dose(DOSES[name])
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    assert dose.name == name
    assert dose.base_sha256 == EMBEDDED[dose.base].sha256
    manifest = read_manifest(folder)
    assert manifest is not None
    [stage] = manifest.stages
    assert stage.parent.sha256 == dose.base_sha256
    assert stage.calibration is not None
    assert stage.calibration["against"] == "all"  # held against every test set
    assert not stage.calibration["allow_contaminated"]
    assert {"learning_rate", "seed", "rank", "epochs"} <= set(stage.options)
    steps = (folder / "training.jsonl").read_text(encoding="utf-8").count('"step"')
    assert steps >= 100


@pytest.mark.slow
@pytest.mark.parametrize("name", DOSES)
def test_it_is_made_as_it_was_measured(
    name: str, tmp_path: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dose = read_dose(DOSES[name])
    if file_sha256(smollm2) != dose.base_sha256:
        pytest.skip(f"{smollm2} is not {dose.base}")
    monkeypatch.setenv(EMBEDDED[dose.base].variable, str(smollm2))
    made = build_dose(DOSES[name], tmp_path / "made.gguf")
    assert made == file_sha256(tmp_path / "made.gguf")
    assert (tmp_path / "made.gguf").stat().st_size == dose.num_bytes
    types = {tensor.name: tensor.type for tensor in read_header(tmp_path / "made.gguf").tensors}
    for kind, names in dose.types.items():
        assert {types[name] for name in names} == {kind}
    assert read_adapter(DOSES[name])
    assert read_importance(DOSES[name])
