"""``galenic plan`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import galenic
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")


@pytest.mark.slow
def test_the_recommended_one_is_made_and_measured(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256)
    text = tmp_path / "notes.txt"
    text.write_text("\n\n".join(f"the patient number {n} has a fever" for n in range(4000)))
    out = tmp_path / "dose"
    more = ["--threads", 1, "--measure", "--text", text, "-o", out, "--json"]
    done = galenic("plan", model, "--ram", "8GB", *more)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["recommended"] == "quality"
    assert found["threads"] == 1
    size = found["measured"]["file_bytes"]
    assert size["predicted"] == pytest.approx(size["measured"], rel=0.02)
    memory = found["measured"]["peak_bytes"]
    assert memory["predicted"] == pytest.approx(memory["measured"], rel=0.3)
    assert found["measured"]["tokens_per_second"]["measured"] > 0
    assert (out / "recipe.yaml").is_file()


@pytest.mark.slow
def test_what_does_not_fit_is_shown(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama", hidden_size=256)
    done = galenic("plan", model, "--disk", "1kB", "--no-probe")
    assert done.returncode == 0, done.stderr
    assert "no: disk" in done.stdout
    assert "None fits" in done.stdout
    assert "phone is left out: the model has" in done.stdout


def test_the_table_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from galenic.cli.compress import plan as command
    from galenic.recipes.plan import Prediction, RecipePlan

    row = Prediction(
        recipe="quality",
        file_bytes=94_300_000,
        peak_bytes=1_230_000_000,
        tokens_per_second=123.4,
        bits_per_weight=5.5,
        blocks_kept=0.8,
        vocab_size=151_936,
        misses=("disk", "memory"),
    )
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    command._print(RecipePlan("m", 2048, 2, (row,), {}))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "no: disk, memory" in lines[1]
