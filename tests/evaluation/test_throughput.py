"""Speed and memory: the sums by hand, and whole runs on tiny models in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from galenic.cli.main import app
from galenic.errors import UserError
from galenic.evaluation.config import SpeedConfig
from galenic.evaluation.throughput import MEASURES, Spread, measure_speed, summarise
from galenic.models.files import ModelFiles
from tiny import TinyShape, write_tiny_gguf


class Quiet:
    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        pass


def found(value: float) -> dict[str, Any]:
    return dict.fromkeys(MEASURES, value) | {"engine": "e", "weights": "w", "prompt_tokens": 9}


def test_medians_and_ratios_by_hand() -> None:
    files = [ModelFiles(name, "gguf", Path(name), "0") for name in "ab"]
    settings = [{"runtime": "llama", "threads": 2}] * 2
    runs = [[found(x) for x in (4.0, 6.0, 5.0)], [found(x) for x in (2.0, 2.0, 5.0)]]
    result = summarise(files, settings, runs, 7)
    assert result.model.measures["decode"] == Spread(5, 4, 6)
    assert result.ratios is not None
    assert result.ratios["decode"] == Spread(2, 1, 3)  # of 2, 3 and 1
    assert (result.rounds, result.new_tokens, result.num_threads) == (3, 7, 2)
    alone = summarise(files[:1], settings[:1], runs[:1], 7)
    assert alone.reference is alone.ratios is None


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_the_command_on_two_tiny_models(tmp_path: Path) -> None:
    small = write_tiny_gguf(tmp_path / "small.gguf")
    large = write_tiny_gguf(tmp_path / "large.gguf", shape=TinyShape(num_layers=40))
    out = tmp_path / "speed.json"
    flags = ["--speed", "--against", str(large), "--rounds", "1", "--threads", "1"]
    done = run(str(small), *flags, "--new-tokens", "16", "--json", "-o", str(out))
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result == json.loads(out.read_text())
    assert result["num_threads"] == 1
    assert result["model"]["runtime"] == "llama"
    assert abs(result["model"]["prompt_tokens"] - 256) <= 4
    assert result["ratios"]["decode"]["median"] > 1.5  # a twentieth of the layers
    assert result["ratios"]["first_token_ms"]["median"] < 1
    assert 10e6 < result["model"]["measures"]["peak_rss"]["median"] < 1e9


@pytest.mark.slow
def test_what_does_not_go_together(tmp_path: Path) -> None:
    model = str(write_tiny_gguf(tmp_path / "tiny.gguf", shape=TinyShape(context_length=128)))
    with pytest.raises(UserError, match="--limit changes nothing with --speed"):
        run(model, "--speed", "--limit", "3")
    with pytest.raises(UserError, match="need --speed"):
        run(model, "--rounds", "2")
    with pytest.raises(UserError, match="is a folder"):
        run(model, "--speed", "-o", str(tmp_path))
    files = ModelFiles("tiny", "gguf", Path(model), "0" * 64)
    with pytest.raises(UserError, match="takes 128 in all"):
        measure_speed(files, None, SpeedConfig(model="tiny", threads=1, rounds=1), Quiet())
