"""``galenic distill`` as a user meets it: tiny models, a little text, every way it can end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from commands import galenic
from galenic.cli.main import app
from galenic.errors import UserError
from killed import kill_and_go_on
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

LEARN = ["--seq-len", 32, "--num-samples", 60, "--num-heldout", 4, "--threads", 1,
         "--learning-rate", "2e-3", "--evaluate-every", 4]  # fmt: skip


def write_notes(folder: Path) -> None:
    words = (f"the patient number {n} has a fever of {n % 7} days\n" for n in range(900))
    (folder / "notes.txt").write_text("\n".join(words), encoding="utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that no stage has made, and ``notes.txt`` beside it."""
    folder = tmp_path_factory.mktemp("plain")
    write_tiny_hf(folder / "tiny", "llama")
    write_notes(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parent, it narrowed by a fifth, and it with fewer tokens; ``notes.txt`` beside them."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_hf(folder / "parent", "llama", hidden_size=128, pair_merges=300)
    write_notes(folder)
    text = ["--text", str(folder / "notes.txt"), "--seq-len", "32", "--num-samples", "8"]
    width = ["--method", "width", "--sparsity", "0.3", *text, "-o", str(folder / "narrow")]
    vocab = ["--method", "vocab", "--keep-first", "0", *text, "-o", str(folder / "fewer")]
    for arguments in (width, vocab):
        done = CliRunner().invoke(app, ["prune", str(folder / "parent"), *arguments])
        assert done.exit_code == 0, (done.output, done.exception)
    return folder


def distill(models: Path, student: str, output: Path, *more: object) -> Result:
    call = ["distill", models / student, "--teacher", models / "parent", *more, "-o", output]
    return CliRunner().invoke(app, [str(part) for part in call])


def stage_of(output: Path) -> Any:
    return json.loads((output / "manifest.json").read_text())["stages"][-1]


@pytest.mark.slow
def test_a_narrowed_model_comes_closer_to_its_parent(models: Path, tmp_path: Path) -> None:
    """`galenic perplexity` agrees, on text that was only looked at."""
    out = tmp_path / "healed"
    done = distill(models, "narrow", out, *LEARN, "--text", models / "notes.txt")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Held-out KL to the teacher, nats a token: " in done.output
    stage = stage_of(out)
    assert (stage["stage"], stage["method"]) == ("distill", "logits")
    assert stage["parent"]["name"].endswith("narrow")
    assert len(stage["options"]["teacher_sha256"]) == 64
    assert stage["options"]["alpha"] == 1.0
    checks = stage["checks"]
    assert checks["heldout_kl"] < 0.8 * checks["heldout_kl_before"]
    assert checks["logit_difference"] < 1e-3
    assert stage["calibration"]["heldout"]["sources"][0]["source"].endswith("held-out part")
    assert "healed by" in (out / "README.md").read_text()
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    assert [one["stage"] for one in stages] == ["prune", "distill"]
    found = []
    for name in (str(models / "narrow"), str(out)):
        call = ["perplexity", name, "--against", str(models / "parent"), "--runtime", "torch"]
        call += ["--text", str(models / "notes.txt"), "--num-samples", "4", "--seq-len", "32"]
        done = CliRunner().invoke(app, [*call, "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        found.append(json.loads(done.stdout)["kl"]["mean"]["value"])
    assert found[1] < 0.8 * found[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["healed"]


@pytest.mark.slow
def test_adapters_are_merged_and_a_cut_vocabulary_is_mapped(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "healed"
    more = ["--rank", 4, "--text", models / "notes.txt", "--max-steps", 3, "--alpha", 1]
    done = distill(models, "fewer", out, *LEARN, *more)
    assert done.exit_code == 0, (done.output, done.exception)
    stage = stage_of(out)
    assert stage["parameters"]["after"]["total"] == stage["parameters"]["before"]["total"]
    assert 0 < stage["parameters"]["trained"]["total"] < stage["parameters"]["after"]["blocks"] / 2
    assert stage["checks"]["heldout_kl_before"] < 0.2  # of what it kept, it says the same
    assert not (out / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_answers_of_a_teacher_with_other_tokens_are_learnt(models: Path, tmp_path: Path) -> None:
    rows = [
        {"question": f"Which of the {i}?", "options": ["x", "A and B"], "answer": i % 2}
        for i in range(60)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    other = write_tiny_hf(tmp_path / "other", "qwen2", pair_merges=50)
    arguments = ["--train", tmp_path / "q.jsonl", "--against", "none", "--num-samples", 20,
                 "--num-heldout", 3, "--answer-tokens", 8, "--threads", 1, "-o"]  # fmt: skip
    call = ["distill", models / "narrow", "--teacher", other]
    wrong = CliRunner().invoke(
        app, [str(c) for c in [*call, "--text", models / "notes.txt", "-o", tmp_path / "no"]]
    )
    assert "tokenizer" in str(wrong.exception)
    call += ["--method", "sequence", "--answers", tmp_path / "kept.jsonl", *arguments]
    done = CliRunner().invoke(app, [str(part) for part in [*call, tmp_path / "healed"]])
    assert done.exit_code == 0, (done.output, done.exception)
    stage = stage_of(tmp_path / "healed")
    assert stage["method"] == "sequence"
    assert stage["calibration"]["documents"] <= 20
    assert "heldout_kl" not in stage["checks"]
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 1 + 20 + 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "healed",
        "kept.jsonl",
        "other",
        "q.jsonl",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "notes.txt"], "--teacher MODEL"),
        (["--teacher", "tiny"], "healing needs text"),
        (["--teacher", "nobody", "--text", "notes.txt"], "unknown model 'nobody'"),
        (["--teacher", "tiny", "--text", "none.txt"], "none.txt cannot be read"),
        (["--teacher", "tiny", "--text", "notes.txt", "--seq-len", "9999"], "--seq-len 9999"),
        (["--teacher", "tiny", "--text", "notes.txt", "--num-samples", "99999"], "num-samples"),
        (["--teacher", "tiny", "--text", "notes.txt", "--rank", "5000"], "--rank 5000"),
        (["--teacher", "tiny", "--text", "notes.txt", "--answer-tokens", "5"], "of sequence"),
        (["--teacher", "tiny", "--text", "notes.txt", "--alpha", "2"], "--alpha"),
        (["--method", "logit"], "logits"),
    ],
)
def test_a_mistake_gives_one_clear_error(
    plain: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(plain)
    before = sorted(path.name for path in plain.iterdir())
    done = CliRunner().invoke(app, ["distill", "tiny", *arguments, "-o", "out"])
    assert message in f"{done.output} {done.exception}"
    assert done.exit_code != 0
    assert isinstance(done.exception, UserError | SystemExit)
    assert sorted(path.name for path in plain.iterdir()) == before


@pytest.mark.kills
def test_a_killed_run_goes_on_to_the_same_weights(models: Path, tmp_path: Path) -> None:
    call = ["distill", models / "narrow", "--teacher", models / "parent"]
    call += ["--text", models / "notes.txt", *LEARN]
    call += ["--epochs", "3", "--checkpoint-every", "3", "-o"]
    assert galenic(*call, tmp_path / "whole").returncode == 0
    kill_and_go_on(call, tmp_path / "cut", steps=7)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == two
    assert not (tmp_path / ".cut.run").exists()


@pytest.mark.slow
def test_a_recipe_heals_by_the_model_it_begins_with(models: Path, tmp_path: Path) -> None:
    recipe = """
name: healed
description: Narrowed, healed by what it was, quantized.
calibration: {num_samples: 8, seq_len: 32, seed: 0}
stages:
  - {stage: prune, method: width, sparsity: 0.3}
  - {stage: distill, method: logits, num_samples: 40, learning_rate: 0.002,
     evaluate_every: 4}
  - {stage: quantize, method: kquant, type: Q8_0}
"""
    (tmp_path / "r.yaml").write_text(recipe)
    call = ["compress", models / "parent", "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "out"]
    call += ["--text", models / "notes.txt"]
    done = CliRunner().invoke(app, [str(part) for part in call])
    assert done.exit_code == 0, (done.output, done.exception)
    stages = json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]
    assert [one["stage"] for one in stages] == ["prune", "distill", "quantize"]
    assert stages[1]["options"]["teacher"] == str(models / "parent")
    assert stages[1]["checks"]["heldout_kl"] < stages[1]["checks"]["heldout_kl_before"]
    assert stages[1]["calibration"]["num_samples"] == 40
