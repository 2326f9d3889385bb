"""``galenic encoder`` as a user meets it: trained, stopped, refused, and evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from galenic.artifact.manifest import read_manifest
from galenic.cli.main import app
from galenic.errors import UserError
from killed import kill_and_go_on
from tiny_encoder import write_tiny_encoder
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

LEARN = ["--against", "none", "--learning-rate", "3e-3", "--warmup", "0", "--threads", "1"]


def write_questions(path: Path, count: int = 12) -> Path:
    """Questions whose right option is the one that begins with ``the patient``."""
    rows = [
        {
            "id": f"r{i}",
            "question": f"Which of the {i}?",
            "options": [
                f"{'the patient' if k == i % 3 else 'no'} {chr(97 + i % 26)}{k}" for k in range(3)
            ],
            "answer": i % 3,
        }
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def galenic(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def steps(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [row for row in rows if "step" in row]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_ten_questions_are_learnt_by_heart_and_evaluated(tmp_path: Path, family: str) -> None:
    model, out = write_tiny_encoder(tmp_path / "m", family), tmp_path / "enc"
    questions = write_questions(tmp_path / "q.jsonl")
    (model / "LICENSE").write_text("free", encoding="utf-8")
    options = ["--epochs", 20, "--batch-size", 4, "--evaluate-every", 20, "--max-length", 64]
    done = galenic("encoder", model, "--train", questions, *LEARN, *options, "-o", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Next: galenic evaluate" in done.output
    losses = [row["loss"] for row in steps(out)]
    assert losses[0] > 0.7
    assert max(losses[-3:]) < 0.1
    manifest = read_manifest(out)
    assert manifest is not None
    assert {f.name for f in out.iterdir()} == {*manifest.files, "manifest.json"}
    assert {"README.md", "LICENSE", "removed.jsonl", "training.jsonl"} <= set(manifest.files)
    stage = manifest.stages[-1]
    assert (stage.stage, stage.method) == ("finetune", "encoder")
    assert stage.calibration is not None and stage.calibration["max_length"] == 64
    assert stage.parameters["trained"]["total"] == stage.parameters["after"]["total"]
    assert stage.parameters["after"]["blocks"] == stage.parameters["before"]["blocks"] > 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["enc", "m", "q.jsonl"]
    run = tmp_path / "run"
    found = galenic("evaluate", out, "--benchmarks", questions, "--threads", 1, "-o", run)
    assert found.exit_code == 0, (found.output, found.exception)
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert {record["scoring"] for record in records} == {"head"}
    assert len(records) == 12
    again = galenic(
        "evaluate", out, "--benchmarks", questions, "--threads", 1, "-o", run, "--json"
    )  # everything is there: only the report is printed
    [row] = json.loads(again.stdout)["rows"]
    assert (row["n"], row["accuracy"], row["scoring"]) == (12, 1.0, "head")
    assert all(record["prediction"] == record["gold"] for record in records)
    assert json.loads((run / "run.json").read_text())["model"]["context_length"] == 64
    assert galenic("inspect", out).exit_code == 0


@pytest.mark.slow
def test_a_trained_head_is_trained_on(tmp_path: Path) -> None:
    model = write_tiny_encoder(tmp_path / "m", "bert", head=True)
    questions = write_questions(tmp_path / "q.jsonl")
    options = [*LEARN, "--max-steps", 1, "--max-length", 16]
    first = galenic("encoder", model, "--train", questions, *options, "-o", tmp_path / "a")
    assert "16 tokens with each option and were truncated" in " ".join(first.output.split())
    second = galenic(
        "encoder", tmp_path / "a", "--train", questions, *options, "-o", tmp_path / "b"
    )
    assert second.exit_code == 0, (second.output, second.exception)
    manifest = read_manifest(tmp_path / "b")
    assert manifest is not None and len(manifest.stages) == 2
    assert manifest.stages[1].calibration is not None
    assert manifest.stages[1].calibration["cut"] > 0


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galenic.training.loop import Trainer

    model = write_tiny_encoder(tmp_path / "m", "bert")
    questions = write_questions(tmp_path / "q.jsonl")
    options = [*LEARN, "--epochs", 2, "--batch-size", 3, "--checkpoint-every", 2]
    command = ["encoder", model, "--train", questions, *options, "-o"]
    assert galenic(*command, tmp_path / "whole").exit_code == 0
    learn, left = Trainer._learn, [5]

    def stop(self: Trainer, batches: list[Any]) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return learn(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", stop)
        stopped = galenic(*command, tmp_path / "enc")
    assert stopped.exit_code == 130
    assert "run the same command again" in stopped.output
    assert not (tmp_path / "enc").exists()
    other = galenic(*command, tmp_path / "enc", "--seed", 1)
    assert isinstance(other.exception, UserError) and "other settings" in str(other.exception)
    done = galenic(*command, tmp_path / "enc")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "resuming after step 4" in done.output
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "enc" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.kills
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    model = write_tiny_encoder(tmp_path / "m", "roberta")
    questions = write_questions(tmp_path / "q.jsonl", 40)
    options = [*LEARN, "--epochs", 4, "--batch-size", 4, "--checkpoint-every", 3]
    options += ["--patience", 99, "--collapse-patience", 99, "--evaluate-every", 40]
    command = ["encoder", model, "--train", questions, *options, "-o"]
    assert galenic(*command, tmp_path / "whole").exit_code == 0
    kill_and_go_on(command, tmp_path / "enc", steps=7)
    whole, again = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "enc")
    )
    assert whole == again


@pytest.mark.slow
def test_what_cannot_be_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = write_tiny_encoder(tmp_path / "m", "bert")
    writer = write_tiny_hf(tmp_path / "llama", "llama")
    bare = Path(shutil.copytree(encoder, tmp_path / "bare"))
    (bare / "tokenizer.json").unlink()
    questions = write_questions(tmp_path / "q.jsonl")
    few = write_questions(tmp_path / "few.jsonl", 1)
    cases: list[tuple[list[Any], str]] = [
        ([writer, "--train", questions], "no multiple-choice head"),
        ([bare, "--train", questions], "has no tokenizer"),
        ([tmp_path / "nowhere", "--train", questions], "there is no file or folder"),
        ([encoder, "--train", "medquads"], "unknown benchmark"),
        ([encoder, "--train", "medquad", "--data", tmp_path], "no such file|medquad"),
        ([encoder, "--train", questions, "--max-length", 97], "takes at most 96 tokens, not 97"),
        ([encoder, "--train", few], "no row is left|no question is left"),
    ]
    for arguments, message in cases:
        done = galenic("encoder", *arguments, *LEARN, "-o", tmp_path / "out")
        assert isinstance(done.exception, UserError), (message, done.output, done.exception)
        with pytest.raises(UserError, match=message):
            raise done.exception
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    done = galenic("encoder", encoder, "--train", questions, *LEARN, "-o", tmp_path / "out")
    assert isinstance(done.exception, UserError) and "one process" in str(done.exception)
    left = sorted(f.name for f in tmp_path.iterdir())
    assert left == ["bare", "few.jsonl", "llama", "m", "q.jsonl"]
