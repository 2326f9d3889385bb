"""``galenic prune`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import galenic
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")


@pytest.mark.slow
def test_a_model_pruned_and_described(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "qwen2")
    text = tmp_path / "notes.txt"
    text.write_text("the patient " * 200)
    arguments = ["--method", "sparsegpt", "--damping", 0.1, "--num-samples", 4, "--seq-len", 32]
    out = tmp_path / "out"
    done = galenic("prune", model, *arguments, "--text", text, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "manifest.json").read_text())
    assert json.loads(done.stdout)["stages"][0]["options"]["damping"] == 0.1
    done = galenic("prune", out, "--method", "magnitude", "--neurons", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "The file is no smaller and no faster" in done.stdout
    assert "of the blocks' parameters removed" in done.stdout
