"""``galenic finetune`` as a user meets it: tiny models, a few questions, every way it can end."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from commands import galenic
from galenic.artifact.manifest import read_manifest
from galenic.cli.main import app
from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.errors import UserError
from galenic.training.finetune.config import sources_in_data
from galenic.training.sources import read_training
from killed import STEP, kill_and_go_on
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")

LEARN = ["--against", "none", "--learning-rate", "3e-3", "--warmup", "0", "--threads", "1"]


def write_questions(path: Path, count: int, *, fixed: bool = False) -> list[dict[str, Any]]:
    """Questions with three options; where they are fixed, no order but this one is allowed."""
    last = "A and B" if fixed else "neither"
    rows = [
        {"id": f"r{i}", "question": f"Which of the {i}?", "options": ["x", "y", last]}
        | {"answer": i % 2}
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return rows


def finetune(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["finetune", *map(str, arguments)])


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "step" in row]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # peft, unlike ours, warns
def test_a_few_questions_are_learnt_by_heart_and_merged(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, out = write_tiny_hf(tmp_path / "m", "llama"), tmp_path / "out"
    write_questions(tmp_path / "q.jsonl", 12, fixed=True)
    arguments = [
        "--epochs",
        40,
        "--batch-size",
        4,
        "--top-blocks",
        2,
        "--cache",
        "--permutations",
        1,
        "--precision",
        "float32",
    ]
    done = finetune(model, "--train", tmp_path / "q.jsonl", *LEARN, *arguments, "-o", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Next: galenic merge" in done.output
    assert losses(out)[0] > 1
    assert losses(out)[-1] < 0.1
    manifest = read_manifest(out)
    assert manifest is not None
    assert {f.name for f in out.iterdir()} == {*manifest.files, "manifest.json"}
    stage = manifest.stages[-1]
    assert (stage.stage, stage.method) == ("finetune", "lora")
    assert stage.calibration is not None and stage.calibration["sources"][0]["removed"] == 0
    assert "trained in float32" in stage.notes[0]
    card = (out / "README.md").read_text()
    assert "\n\nOn held-out texts after training: loss, nats per token " in card
    assert "not a medical device" in card
    assert sorted(f.name for f in tmp_path.iterdir()) == ["m", "out", "q.jsonl"]
    merged = tmp_path / "merged"
    assert (
        CliRunner().invoke(app, ["merge", str(model), str(out), "-o", str(merged)]).exit_code == 0
    )
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(model)
        wanted = PeftModel.from_pretrained(base, str(out))(tokens).logits
        found = AutoModelForCausalLM.from_pretrained(merged)(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    both = read_manifest(merged)
    assert both is not None and [s.stage for s in both.stages] == ["finetune", "merge"]
    refused = CliRunner().invoke(app, ["evaluate", str(out), "--data", "sample"])
    assert "is an adapter, not a model. Merge it" in str(refused.exception)


@pytest.mark.slow
def test_the_shortest_command_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the manual: sources where the folder stands elsewhere, and no name for the result."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"m{i}", "folder": "a", "doc_id": str(i), "focus": f"topic {i}"}
        | {"question": f"What is {i}?", "answer": f"The {i}."}
        for i in range(60)
    ]
    write_bytes(tmp_path / "medquad/medquad.jsonl.gz", encode_gzip(rows))
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path))
    write_tiny_hf(tmp_path / "m", "llama")
    short = ["m", "--data", "medquad", "--max-steps", 1, "--against", "none", "--threads", 1]
    done = finetune(*short)
    assert done.exit_code == 0, (done.output, done.exception)
    [out] = (tmp_path / "tuned").iterdir()
    assert out.name.startswith("m-lora-")
    manifest = read_manifest(out)
    assert manifest is not None and manifest.stages[0].calibration is not None
    assert manifest.stages[0].calibration["sources"][0]["form"] == "pairs"
    again = finetune(*short)
    assert "exists. Give another folder" in str(again.exception)


@pytest.mark.slow
def test_the_weights_themselves(tmp_path: Path) -> None:
    model, out = write_tiny_hf(tmp_path / "m", "qwen2"), tmp_path / "out"
    write_questions(tmp_path / "q.jsonl", 12)
    arguments = ["--method", "full", "--max-steps", 3, "-o", out, "--json"]
    done = finetune(model, "--train", tmp_path / "q.jsonl", *LEARN, *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    manifest = json.loads(done.stdout)
    assert manifest["stages"][0]["method"] == "full"
    assert manifest["stages"][0]["checks"]["logit_difference"] < 1e-3
    assert "tokenizer.json" in manifest["files"]
    again = finetune(out, "--train", tmp_path / "q.jsonl", *LEARN, "-o", tmp_path / "b",
                     "--method", "full", "--max-steps", 1)  # fmt: skip
    assert again.exit_code == 0, (again.output, again.exception)
    both = read_manifest(tmp_path / "b")
    assert both is not None and len(both.stages) == 2


@pytest.mark.slow
def test_a_collapse_is_said_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    """All answers learnt are A, and among those looked at most are B."""
    model, out, path = (
        write_tiny_hf(tmp_path / "m", "llama"),
        tmp_path / "out",
        tmp_path / "q.jsonl",
    )
    rows = write_questions(path, 150, fixed=True)
    [found] = read_training(str(path), "sample")
    heldout = {row.id for row in found.heldout}
    rows = [row | {"answer": int(row["id"] in heldout)} for row in rows]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = ["--evaluate-every", 3, "--patience", 99, "-o", out]
    done = finetune(model, "--train", path, *LEARN, *arguments)
    assert done.exit_code == 1
    assert "predictions have collapsed to one answer (custom_q: 'A')" in done.output
    assert f"{out}: adapter" in done.output and "weights of step" in done.output
    assert (out / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_test_questions_are_not_learnt(tmp_path: Path) -> None:
    model, path, test = tmp_path / "m", tmp_path / "q.jsonl", tmp_path / "test.jsonl"
    write_tiny_hf(model, "llama")
    rows = write_questions(path, 60)
    [found] = read_training(str(path), "sample")
    tested = found.train[7].id
    test.write_text(json.dumps(next(row for row in rows if row["id"] == tested)), encoding="utf-8")
    learn = [*LEARN, "--max-steps", 1, "--train", path, "--against"]
    done = finetune(model, *learn, test, "-o", tmp_path / "out")
    assert done.exit_code == 0, (done.output, done.exception)
    removed = (tmp_path / "out" / "removed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in removed] == [tested]
    assert "1 rows that are test questions" in done.output
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None and manifest.stages[0].calibration is not None
    assert manifest.stages[0].calibration["sources"][0]["removed"] == 1
    done = finetune(model, *learn, path, "-o", tmp_path / "no")
    assert isinstance(done.exception, UserError)
    assert "training rows are test questions" in str(done.exception)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"m", "q.jsonl", "test.jsonl", "out"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what to learn from"),
        (["--data", "/not/there"], "name what to learn from"),
        (["--data", "medka"], "unknown benchmark 'medka'"),
        (["--train", "medquad", "--data", "/not/there"], "/not/there"),
        (["--train", "q.jsonl", "--method", "lara"], "lora"),
        (["--train", "q.jsonl", "--method", "full", "--rank", "3"], "--rank is an option of lora"),
        (["--train", "q.jsonl", "--cache"], "--cache needs --top-blocks"),
        (["--train", "q.jsonl", "--cache-folder", "c"], "--cache-folder needs --cache"),
        (["--train", "q.jsonl", "--learning-rate", "0"], "--learning-rate"),
        (["--train", "no.jsonl"], "no.jsonl does not exist"),
        (["--train", "q.jsonl:kept", "--method", "full"], "kept works only with `galenic finetune"),
    ],
)
def test_a_mistake_gives_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path / "q.jsonl", 12)
    done = finetune("no-model", *arguments, "-o", "out")
    assert message in f"{done.output} {done.exception}"
    assert done.exit_code != 0
    assert [f.name for f in tmp_path.iterdir()] == ["q.jsonl"]


def test_sources_may_stand_where_the_folder_does(tmp_path: Path) -> None:
    def read(train: str, data: str | None, folder: str | None = "F") -> tuple[str, str | None]:
        found = sources_in_data({"train": train, "data": data}, folder)
        return found["train"], found["data"]

    assert read("", "medquad") == ("medquad", "F")
    assert read("", "benchmarks:train", None) == ("benchmarks:train", None)
    assert read("", "sub/mine.jsonl=2,medqa") == ("sub/mine.jsonl=2,medqa", "F")
    assert read("medqa", "D") == ("medqa", "D")
    assert read("medqa", None) == ("medqa", None)
    for data in (None, "sample", str(tmp_path), "a/b"):
        with pytest.raises(UserError, match="name what to learn from"):
            read("", data)


def chances(model: Path, questions: Path) -> np.ndarray:
    """Of the options of each question, shape (questions, options)."""
    out = questions.with_name(f"{model.name}-run")
    asked = ["evaluate", model, "--benchmarks", questions, "--scoring", "text_per_byte", "-o", out]
    done = CliRunner().invoke(app, [*map(str, asked)])
    assert done.exit_code == 0, (done.output, done.exception)
    rows = map(json.loads, (out / "records.jsonl").read_text(encoding="utf-8").splitlines())
    return np.array([list(row["probabilities"].values()) for row in rows])


@pytest.mark.slow
def test_what_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    """Questions are learnt; beside them others, which keep their options' chances, or not."""
    model, others = write_tiny_hf(tmp_path / "m", "llama"), tmp_path / "others.jsonl"
    write_questions(tmp_path / "q.jsonl", 12, fixed=True)
    rows = [
        {"id": f"k{i}", "question": f"Name the {i}", "options": ["red", "green"], "answer": 0}
        for i in range(12)
    ]
    others.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    learnt = f"{tmp_path / 'q.jsonl'}:options"
    more = ["--max-steps", 30, "--batch-size", 4, "--precision", "float32"]
    for name, train in {"free": learnt, "held": f"{learnt},{others}:kept@30=2"}.items():
        done = finetune(model, "--train", train, *LEARN, *more, "-o", tmp_path / name)
        assert done.exit_code in (0, 1), (done.output, done.exception)  # 1: collapsed, said
        merged = ["merge", model, tmp_path / name, "-o", tmp_path / f"{name}-merged"]
        assert CliRunner().invoke(app, [*map(str, merged)]).exit_code == 0
    before = chances(model, others)
    free, held = (
        np.abs(chances(tmp_path / f"{name}-merged", others) - before).max()
        for name in ("free", "held")
    )
    assert held < free / 2
    done = finetune(model, "--train", f"{others}:kept", *LEARN, *more, "-o", tmp_path / "only")
    assert losses(tmp_path / "only")[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.kills
def test_a_killed_run_goes_on_to_the_same_adapter(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    write_questions(tmp_path / "q.jsonl", 40)
    call = ["finetune", model, "--train", tmp_path / "q.jsonl", *LEARN]
    call += ["--epochs", "20", "--checkpoint-every", "4", "--evaluate-every", "20"]
    call += ["--dropout", "0.1", "--top-blocks", "1", "--cache", "--permutations", "2", "-o"]
    assert galenic(*call, tmp_path / "whole").returncode == 0
    kill_and_go_on(call, tmp_path / "cut", steps=9)
    one, two = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut")
    )
    assert one == two
    assert not (tmp_path / ".cut.run").exists()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], bytes]:
    """A fine-tuning of six steps, and the adapter that it makes if nothing stops it."""
    folder = tmp_path_factory.mktemp("short")
    model = write_tiny_hf(folder / "m", "llama")
    write_questions(folder / "q.jsonl", 24)
    call = ["finetune", model, "--train", folder / "q.jsonl", *LEARN, "--max-steps", 6]
    call += ["--batch-size", 4, "--checkpoint-every", 2, "--evaluate-every", 3, "-o"]
    done = galenic(*call, folder / "whole")
    assert done.returncode == 0, done.stderr
    return call, (folder / "whole" / "adapter_model.safetensors").read_bytes()


@pytest.mark.kills
@pytest.mark.parametrize(
    ("steps", "place", "count", "kept"),
    [
        (0, STEP, 1, 0),
        (2, STEP, 3, 2),
        (4, "galenic.cache:_flush", 5, 2),  # the state after the fourth is written, and unnamed
        (6, "galenic.training.run:record_stage", 1, 6),  # the adapter is written, and unnamed
    ],
)
def test_a_run_killed_at_any_moment_makes_the_same_adapter(
    tmp_path: Path,
    short: tuple[list[object], bytes],
    steps: int,
    place: str,
    count: int,
    kept: int,
) -> None:
    call, whole = short
    said = kill_and_go_on(call, tmp_path / "cut", steps, place, count)
    assert (f"resuming after step {kept} of 6" in said) == (kept > 0)
    assert (tmp_path / "cut" / "adapter_model.safetensors").read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["cut"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes as a user starts them."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "command.py")  # what an installed command looks like to torchrun
        script.write_text("from galenic.cli.main import main\nmain()\n", encoding="utf-8")
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        return subprocess.run(
            [sys.executable, *launch, str(script), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", [["--top-blocks", "2", "--cache"], ["--fsdp"]], ids=["ddp", "fsdp"]
)
def test_two_processes_make_the_same_adapter(tmp_path: Path, flags: list[str]) -> None:
    from safetensors.torch import load_file

    model = write_tiny_hf(tmp_path / "m", "llama")
    write_questions(tmp_path / "q.jsonl", 40)
    call = ["finetune", str(model), "--train", str(tmp_path / "q.jsonl"), *LEARN]
    call += ["--max-steps", "6", "--batch-tokens", "64", *flags]
    alone = [word for word in call if word != "--fsdp"]
    one = galenic(*alone, "-o", tmp_path / "one")
    both = [*call, "-o", str(tmp_path / "two")]
    two = torchrun(*both) if "--fsdp" in call else galenic(*both, changed={"processes": 2})
    for done in (one, two):
        assert done.returncode == 0, done.stderr
    assert two.stdout.count("weights of step") == 1
    assert "in 2 processes" in two.stderr
    assert ("spread over them (FSDP)" in two.stderr) == (flags == ["--fsdp"])
    assert two.stderr.count("step 6: held-out loss") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    found, wanted = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("two", "one")
    )
    for name, tensor in wanted.items():
        # Adam divides by the gradient's own size, so its first steps magnify rounding
        torch.testing.assert_close(found[name], tensor, rtol=1e-2, atol=1e-3)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"m", "q.jsonl", "one", "two"}


def test_weights_are_spread_over_several_processes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    write_questions(tmp_path / "q.jsonl", 12)
    call = [model, "--train", tmp_path / "q.jsonl", *LEARN, "--fsdp", "-o", tmp_path / "out"]
    alone = finetune(*call)
    assert isinstance(alone.exception, UserError)
    assert "this is the only one. Start with torchrun" in str(alone.exception)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for flags, what in (
        (["--top-blocks", "2", "--cache"], "--cache"),
        (["--base-bits", "4"], "--base-bits"),
        (["--train", f"{tmp_path / 'q.jsonl'}:kept"], "the form kept"),
    ):
        both = finetune(*call, *flags)
        assert (
            str(both.exception)
            == f"--fsdp cannot be combined with {what}. Leave one of the two out."
        )
    assert {file.name for file in tmp_path.iterdir()} == {"m", "q.jsonl"}
