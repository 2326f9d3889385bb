"""Compressing by a recipe: one finished folder, resumable, the same bytes again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.recipes.recipe import dump_recipe, parse_recipe
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

from galenic.recipes.run import CompressJob, compress, stage_keys

TWO = """
name: two
description: Two prunings.
calibration: {num_samples: 4, seq_len: 32, seed: 1}
stages:
  - {stage: prune, method: magnitude, sparsity: 0.1}
  - {stage: prune, method: wanda, sparsity: 0.5}
"""
KEYS = ["0ae4e7712627e976", "9473ae653abbce09"]
"""First digits of the keys that version 0.1.0 gave the stages of `TWO`."""


@dataclass
class Watcher:
    told: list[str] = field(default_factory=list)
    stop_at: str = "never"

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.told.append(text)
        if self.stop_at in text:
            raise KeyboardInterrupt

    def advance(self, done: int, note: str = "") -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def keep(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_hf(tmp_path_factory.mktemp("model") / "m", "llama")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "notes.txt"
    words = (f"the patient number {n} has a fever of {n % 7} days" for n in range(1200))
    path.write_text("\n\n".join(words))
    return path


def job(model: Path, text: Path | None, recipe: str = TWO) -> CompressJob:
    return CompressJob(str(model), parse_recipe(recipe), None, str(text) if text else None)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_the_folder_has_all_that_belongs_to_it(model: Path, text: Path, tmp_path: Path) -> None:
    work = job(model, text)
    manifest = compress(work, tmp_path / "dose", Watcher())
    assert [path.name for path in tmp_path.iterdir()] == ["dose"]
    found = hashes(tmp_path / "dose")
    assert {"config.json", "model.safetensors", "tokenizer.json"} < set(found)
    assert {name: file.sha256 for name, file in manifest.files.items()} == {
        name: digest for name, digest in found.items() if name in manifest.files
    }
    assert len(set(found) - set(manifest.files)) == 1  # itself
    assert [stage.method for stage in manifest.stages] == ["magnitude", "wanda"]
    assert manifest.stages[0].parent.name == str(model)
    assert manifest.stages[1].parent.name == "stage 1 of two (prune magnitude)"
    assert (tmp_path / "dose" / "recipe.yaml").read_text() == dump_recipe(work.recipe)
    assert ".parts" not in json.dumps([stage.model_dump() for stage in manifest.stages])
    card = (tmp_path / "dose" / "README.md").read_text()
    assert "not a medical device" in card
    assert ".parts" not in card


@pytest.mark.slow
def test_what_was_stopped_goes_on_and_ends_the_same(
    model: Path, text: Path, tmp_path: Path
) -> None:
    work = job(model, text)
    compress(work, tmp_path / "straight", Watcher())
    stopped = Watcher(stop_at="stage 2 of 2")
    with pytest.raises(KeyboardInterrupt):
        compress(work, tmp_path / "dose", stopped)
    assert not (tmp_path / "dose").exists()
    again = Watcher()
    compress(work, tmp_path / "dose", again)
    assert "stage 1 of 2 is already finished: resuming after it" in again.told
    assert not any("pruning with magnitude" in line for line in again.told)
    assert hashes(tmp_path / "dose") == hashes(tmp_path / "straight")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dose", "straight"]


def test_what_was_stopped_starts_anew_when_an_option_changed(
    model: Path, text: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        compress(job(model, text), tmp_path / "dose", Watcher(stop_at="stage 2 of 2"))
    again = Watcher()
    changed = TWO.replace("sparsity: 0.1", "sparsity: 0.3")
    compress(job(model, text, changed), tmp_path / "dose", again)
    assert not any("finished before" in line for line in again.told)
    assert [path.name for path in tmp_path.iterdir()] == ["dose"]


def test_keys_tell_apart_what_matters_and_nothing_else(model: Path, text: Path) -> None:
    from galenic.data.calibration import plain_texts

    recipe, texts = parse_recipe(TWO), [plain_texts(text)]
    first, second = stage_keys(recipe, "abc", texts)
    renamed = parse_recipe(TWO.replace("name: two", "name: deux"))
    assert stage_keys(renamed, "abc", texts) == [first, second]
    other_seed = parse_recipe(TWO.replace("seed: 1", "seed: 2"))
    assert stage_keys(other_seed, "abc", texts)[0] == first  # magnitude reads no text
    assert stage_keys(other_seed, "abc", texts)[1] != second
    assert not {first, second} & set(stage_keys(recipe, "abd", texts))
    option = parse_recipe(TWO.replace("sparsity: 0.5", "sparsity: 0.4"))
    assert stage_keys(option, "abc", texts)[0] == first
    assert stage_keys(option, "abc", texts)[1] != second
    learnt = [stage_keys(recipe, "abc", texts, {1: [sha256]}) for sha256 in ("x", "y")]
    assert learnt[0][0] == learnt[1][0] == first
    assert len({second, learnt[0][1], learnt[1][1]}) == 3


def test_keys_are_those_of_the_version_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a compression that 0.1.0 left half-finished goes on, with the same libraries."""
    from galenic.data.calibration import CalibrationText

    def installed(*names: str) -> dict[str, str]:
        return {name: "1" for name in names if name != "gguf"}

    monkeypatch.setattr("galenic.recipes.run.versions", installed)
    recipe = parse_recipe(TWO)
    texts = [CalibrationText(source="notes", sha256="1" * 64, documents=())]
    assert [key[:16] for key in stage_keys(recipe, "abc", texts)] == KEYS


def test_missing_text_is_an_error_before_any_work(model: Path, tmp_path: Path) -> None:
    watcher = Watcher()
    with pytest.raises(UserError, match="calibration text"):
        compress(job(model, None), tmp_path / "dose", watcher)
    assert watcher.told == []
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_cannot_be_done_leaves_nothing(
    model: Path, text: Path, tmp_path: Path
) -> None:
    wide = TWO.replace("sparsity: 0.5", "pattern: '4:7'")  # 7 does not divide 48 inputs
    with pytest.raises(UserError, match="7"):
        compress(job(model, text, wide), tmp_path / "dose", Watcher())
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_left_alone(model: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="exists"):
        compress(job(model, text), tmp_path, Watcher())
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.slow
def test_the_card_has_what_was_measured(model: Path, data_dir: Path, tmp_path: Path) -> None:
    recipe = parse_recipe("name: a\ndescription: b\nstages: [{stage: prune, method: magnitude}]")
    compress(CompressJob(str(model), recipe, str(data_dir)), tmp_path / "dose", Watcher())
    card = (tmp_path / "dose" / "README.md").read_text()
    assert "| perplexity, per token of the parent |" in card
    assert "8 sequences of 256 tokens of MedQuAD, heldout part" in card
    compress(
        CompressJob(str(model), recipe, str(data_dir), measure=False), tmp_path / "b", Watcher()
    )
    assert "No quality was measured" in (tmp_path / "b" / "README.md").read_text()


@pytest.mark.slow
def test_a_pruned_model_is_tuned_within_the_chain(model: Path, tmp_path: Path) -> None:
    rows = [
        {"question": f"Which of the {i}?", "options": ["x", "A and B"], "answer": i % 2}
        for i in range(12)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = f"""
name: healed
description: Pruned and tuned.
stages:
  - {{stage: prune, method: magnitude, sparsity: 0.2}}
  - {{stage: finetune, method: lora, train: {tmp_path / "q.jsonl"}, against: none, max_steps: 4,
     rank: 4, learning_rate: 0.01, warmup: 0}}
"""
    stopped = Watcher(stop_at="training")
    with pytest.raises(KeyboardInterrupt):
        compress(job(model, None, recipe), tmp_path / "dose", stopped)
    manifest = compress(job(model, None, recipe), tmp_path / "dose", Watcher())
    assert [stage.method for stage in manifest.stages] == ["magnitude", "lora"]
    tuned = manifest.stages[1]
    assert tuned.parent.name == "stage 1 of healed (prune magnitude)"
    assert tuned.options["rank"] == 4 and tuned.options["train"].endswith("q.jsonl")
    assert tuned.checks["heldout_loss"] < tuned.checks["heldout_loss_before"]
    assert tuned.parameters["after"]["total"] == manifest.stages[0].parameters["after"]["total"]
    assert {"model.safetensors", "training.jsonl", "removed.jsonl"} < set(manifest.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dose", "q.jsonl"]
    again = compress(job(model, None, recipe), tmp_path / "again", Watcher())
    assert {n: f.sha256 for n, f in again.files.items()} == {
        n: f.sha256 for n, f in manifest.files.items()
    }


def test_training_data_is_read_before_any_slow_work(model: Path, tmp_path: Path) -> None:
    recipe = """
name: healed
description: Pruned and tuned.
stages:
  - {stage: prune, method: magnitude, sparsity: 0.2}
  - {stage: finetune, method: lora, train: nowhere.jsonl, against: none}
"""
    watcher = Watcher()
    with pytest.raises(UserError, match=r"nowhere\.jsonl"):
        compress(job(model, None, recipe), tmp_path / "dose", watcher)
    assert not any("stage 1" in line for line in watcher.told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "train"),
        ("train: medqa, data: x", "data"),
        ("train: medqa, epoch: 3", "epoch"),
        ("train: medqa, rank: 0", "rank"),
    ],
)
def test_a_tuning_stage_says_what_is_wrong(options: str, message: str) -> None:
    given = f", {options}" if options else ""
    with pytest.raises(UserError, match=message):
        parse_recipe(
            f"name: x\ndescription: y\nstages:\n  - {{stage: finetune, method: lora{given}}}\n"
        )
