"""A tiny model of every family pruned, saved, and read back by plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galenic.artifact.manifest import Manifest, read_manifest
from galenic.compression.prune.config import PruneConfig
from galenic.errors import UserError
from galenic.models.layers import Layout, read_layout
from galenic.models.load import resolve_model
from galenic.registry import PRUNERS
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compression.prune.run import prune  # noqa: E402


class Silent:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done: list[int] = []

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.stages.append((text, total))

    def advance(self, done: int, note: str = "") -> None:
        self.done.append(done)

    def say(self, text: str) -> None:
        pytest.fail(text)

    def keep(self, text: str) -> None:
        pytest.fail(text)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    lines = [f"The patient number {i} was seen on day {i * i} of the year." for i in range(60)]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def run(model: Path, output: Path, notes: Path, method: str = "wanda", **options: Any) -> Manifest:
    config = PruneConfig(
        model=str(model), method=method, text=str(notes), num_samples=4, seq_len=32
    )
    return prune(config, PRUNERS.load(method)(**options), output, Silent())


def load(folder: Path) -> Layout:
    return read_layout(transformers.AutoModelForCausalLM.from_pretrained(folder).eval())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(tmp_path: Path, notes: Path, family: str) -> None:
    model = write_tiny_hf(tmp_path / family, family)
    dense = load(model)
    for method in ("magnitude", "wanda", "sparsegpt"):
        output = tmp_path / f"{family}-{method}"
        manifest = run(model, output, notes, method, sparsity=0.5)
        pruned = load(output)
        for before, after in zip(dense.blocks, pruned.blocks, strict=True):
            for role, linear in after.linears.items():
                if method != "sparsegpt":  # the weights that stay are what they were
                    kept = linear.weight != 0
                    assert torch.equal(linear.weight[kept], before.linears[role].weight[kept])
        others = [n for n, _ in dense.model.named_parameters() if "proj.weight" not in n]
        stored = dict(pruned.model.named_parameters())
        unchanged = dict(dense.model.named_parameters())
        assert all(torch.equal(stored[n], unchanged[n]) for n in others)
        _check_manifest(manifest, output, pruned)
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    text = "Question: the patient?"
    assert tokenizer(text) == transformers.AutoTokenizer.from_pretrained(model)(text)


def _check_manifest(manifest: Manifest, output: Path, pruned: Layout) -> None:
    stage = manifest.stages[-1]
    weights = [p for block in pruned.blocks for p in block.module.parameters()]
    zeros = sum(int((p == 0).sum()) for p in weights)
    assert stage.parameters["after"]["zeros_in_blocks"] == zeros
    assert stage.removed["blocks"] == pytest.approx(zeros / sum(p.numel() for p in weights))
    # half of all the blocks' parameters; counts of each of 7 linear maps are rounded
    assert abs(zeros - 0.5 * sum(p.numel() for p in weights)) <= 3.5 * len(pruned.blocks)
    assert 0 < stage.removed["whole"] < stage.removed["blocks"]
    assert stage.options["sparsity"] == 0.5
    assert stage.checks["logit_difference"] <= stage.checks["tolerance"]
    assert (stage.calibration is None) == (stage.method == "magnitude")
    assert {f.name for f in output.iterdir()} == {*manifest.files, "manifest.json"}
    assert resolve_model(str(output)).kind == "folder"  # whole, as every command sees it


def test_a_stored_half_precision_stays(tmp_path: Path, notes: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    halved = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    halved.save_pretrained(model)
    run(model, tmp_path / "out", notes)
    before, after = load(model), load(tmp_path / "out")
    assert after.model.dtype == torch.bfloat16
    weight = after.blocks[0].linears["q"].weight
    kept = weight != 0
    assert torch.equal(weight[kept], before.blocks[0].linears["q"].weight[kept])
    sizes = [(f / "model.safetensors").stat().st_size for f in (model, tmp_path / "out")]
    assert abs(sizes[0] - sizes[1]) < 1000


@pytest.mark.slow
def test_same_seed_same_bytes_and_the_history_is_kept(tmp_path: Path, notes: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    files = [run(model, tmp_path / name, notes).files for name in ("a", "b")]
    assert files[0] == files[1]
    text = [(tmp_path / name / "manifest.json").read_bytes() for name in ("a", "b")]
    assert text[0] == text[1]
    again = run(tmp_path / "a", tmp_path / "c", notes, "magnitude", neurons=True)
    assert [stage.method for stage in again.stages] == ["wanda", "magnitude"]
    assert again.stages[0] == read_manifest(tmp_path / "a").stages[0]
    assert again.stages[1].parent.sha256 == resolve_model(str(tmp_path / "a")).sha256


def test_progress_counts_blocks(tmp_path: Path) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    watcher = Silent()
    config = PruneConfig(model=str(model), method="magnitude")  # reads no text, needs none
    prune(config, PRUNERS.load("magnitude")(), tmp_path / "out", watcher)
    assert ("pruning with magnitude", 3) in watcher.stages
    assert watcher.done == [1, 2, 3]


@pytest.mark.parametrize("damage", ["saved", "nan"])
def test_a_failed_check_leaves_nothing(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    model = write_tiny_hf(tmp_path / "m", "llama")
    message = "logits differ"
    if damage == "nan":
        broken = load(model)
        broken.blocks[1].linears["o"].weight[0, 0] = float("nan")
        broken.model.save_pretrained(model)
        message = "not finite"
    else:
        from galenic.models import save

        def check_late(folder: Path, expected: Any) -> dict[str, float]:
            layout = load(folder)
            layout.blocks[0].linears["o"].weight.mul_(1.1)
            layout.model.save_pretrained(folder)
            return check(folder, expected)

        check = save.check_saved
        monkeypatch.setattr(save, "check_saved", check_late)
    with pytest.raises(UserError, match=message):
        run(model, tmp_path / "out", notes, "magnitude")
    assert {entry.name for entry in tmp_path.iterdir()} == {"m", "notes.txt"}


def test_errors_come_before_the_weights_are_read(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galenic.compression.prune import run as stage

    monkeypatch.setattr(stage, "open_stream", lambda *_, **__: pytest.fail("the weights were read"))
    model = write_tiny_hf(tmp_path / "m", "llama")
    with pytest.raises(UserError, match=r"layers\.0\.self_attn\.q_proj has 48 inputs"):
        run(model, tmp_path / "out", notes, pattern="5:7")
    with pytest.raises(UserError, match="--seq-len 600"):
        config = PruneConfig(model=str(model), text=str(notes), seq_len=600)
        prune(config, PRUNERS.load("wanda")(), tmp_path / "out", Silent())
    with pytest.raises(UserError, match=r"has .* tokens, and 999 sequences"):
        config = PruneConfig(model=str(model), text=str(notes), num_samples=999)
        prune(config, PRUNERS.load("wanda")(), tmp_path / "out", Silent())
    monkeypatch.setattr("galenic.artifact.manifest.ROOM", 1e15)
    with pytest.raises(UserError, match="Make room"):
        run(model, tmp_path / "out", notes)
    config = json.loads((model / "config.json").read_text())
    for change, message in (
        ({"model_type": "gpt2"}, "unknown architecture"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "are quantized",
        ),
    ):
        (model / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            run(model, tmp_path / "other", notes)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    model = write_tiny_hf(tmp_path / "m", "llama")
    with pytest.raises(UserError, match=r"GB of memory, and 0\.0 GB are free"):
        run(model, tmp_path / "out", tmp_path / "unread", "magnitude")


def test_a_checkpoint_that_lacks_or_bends_a_tensor(tmp_path: Path, notes: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = write_tiny_hf(tmp_path / "m", "llama")
    tensors = load_file(model / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    for changed in ({}, {name: torch.zeros(3, 4)}):
        rest = {key: value for key, value in tensors.items() if key != name}
        save_file(rest | changed, model / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=r"up_proj|mismatched|size"):
            run(model, tmp_path / "out", notes)
        assert not (tmp_path / "out").exists()
