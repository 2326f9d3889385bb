"""A dose is base and adapter, quantized: the weights of peft's merge, and the measured answers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

from galenic.artifact.manifest import write_manifest
from galenic.cache import cache_folder
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.models.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    adapted_source,
    adapted_tensors,
    read_adapter,
)
from galenic.models.fetch import dose as catalogue
from galenic.models.fetch.dose import CARD, DOSES
from galenic.models.fetch.embedded import EMBEDDED, EmbeddedModel
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.folder import folder_source, folder_to_gguf
from galenic.models.gguf.header import read_header
from galenic.models.load import resolve_model
from galenic.recipes.dose import IMPORTANCE, answers_of, build_dose, dose_source, pull_dose
from galenic.training.finetune.lora import LoRA
from galenic.training.merge import merge
from params import one_fast
from training import Quiet, write_adapter

NAME = "tiny-dose"
ASKED = [("Is it so?\nAnswer:", ("yes", "no")), ("Question: which?\nAnswer:", ("A", "B"))]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base as an embedded model, with an adapter trained for it beside it."""
    write_adapter(tmp_path)
    path = tmp_path / "base.gguf"
    folder_to_gguf(tmp_path / "model", path, "F32")
    model = EmbeddedModel("x==1", path.stat().st_size, sha256(path), "Apache-2.0", "TINY_BASE")
    monkeypatch.setitem(EMBEDDED, "tiny-base", model)
    monkeypatch.setenv("TINY_BASE", str(path))
    return path


@pytest.fixture
def folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole dose, known by its name."""
    folder = tmp_path / "adapter"
    source = dose_source(base, folder, NAME, "Apache-2.0")
    types: dict[str, list[str]] = {"Q8_0": [], "F16": []}
    for tensor in (t for t in source.tensors if len(t.shape) == 2):
        types["F16" if tensor.shape[-1] % 32 else "Q8_0"].append(tensor.name)
    ones = {t.name: np.ones(t.shape[-1], np.float32) for t in source.tensors if len(t.shape) == 2}
    save_file(ones, folder / IMPORTANCE)
    card = {
        "name": NAME,
        "description": "A dose.",
        "base": "tiny-base",
        "base_sha256": sha256(base),
        "licence": "Apache-2.0",
        "sources": ["nothing"],
        "types": types,
        "sha256": "0" * 64,
        "num_bytes": 1,
        "answers": [{"prompt": "Is it so?\nAnswer:", "log_probs": {"yes": 0.0}}],
        "tolerance": 1e9,
    }
    (folder / CARD).write_text(json.dumps(card))
    made = tmp_path / "made.gguf"
    card["sha256"] = build_dose(folder, made)
    card["answers"] = [answer.model_dump() for answer in answers_of(made, ASKED)]
    card["num_bytes"], card["tolerance"] = made.stat().st_size, 1e-3
    (folder / CARD).write_text(json.dumps(card))
    monkeypatch.setitem(DOSES, NAME, folder)
    return folder


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("rslora", one_fast([False, True]))
def test_weights_are_those_that_peft_merges(tmp_path: Path, family: str, rslora: bool) -> None:
    adapter = write_adapter(tmp_path, family, LoRA(rank=4, alpha=6.0, rslora=rslora))
    merge(str(tmp_path / "model"), adapter, tmp_path / "merged", Quiet())
    wanted = {t.name: t for t in folder_source(tmp_path / "merged").tensors}
    path = tmp_path / "base.gguf"
    folder_to_gguf(tmp_path / "model", path, "F32")
    found = adapted_source(gguf_source(path), read_header(path), read_adapter(adapter))
    changed = {t.name: t for t in gguf_source(path).tensors}
    assert {t.name for t in found.tensors} == set(wanted)
    for tensor in found.tensors:
        rows = tensor.shape[0]
        np.testing.assert_allclose(
            tensor.read(0, rows), wanted[tensor.name].read(0, rows), atol=1e-5
        )
        moved = float(np.abs(tensor.read(0, rows) - changed[tensor.name].read(0, rows)).max())
        assert (moved > 0.01) == ("attn_" in tensor.name or "ffn_" in tensor.name) or moved == 0
    first = found.tensors[0]
    np.testing.assert_array_equal(first.read(3, 7), first.read(0, first.shape[0])[3:7])


def test_pull_makes_what_was_measured(folder: Path) -> None:
    done = CliRunner().invoke(app, ["pull", NAME])
    assert done.exit_code == 0, done.output
    path = cache_folder("models") / f"{NAME}.gguf"
    assert str(path) in done.stdout
    card = json.loads((folder / CARD).read_text())
    assert sha256(path) == card["sha256"]
    header = read_header(path)
    assert header.metadata["general.name"] == NAME
    files = resolve_model(NAME)
    assert (files.path, files.sha256) == (path, card["sha256"])
    before = path.stat().st_mtime_ns
    pull_dose(NAME)
    assert path.stat().st_mtime_ns == before  # it was there
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="galenic pull tiny-dose"):
        resolve_model(NAME)
    pull_dose(NAME)
    assert sha256(path) == card["sha256"]


def test_another_version_of_the_dose_is_made_anew(folder: Path) -> None:
    pull_dose(NAME)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"sha256": "1" * 64}))
    with pytest.raises(UserError, match="not been made"):
        resolve_model(NAME)
    assert pull_dose(NAME) == resolve_model(NAME).path  # other bits, the same answers


def test_other_answers_are_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    card["answers"][1]["log_probs"]["B"] += 0.01
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match="does not answer as measured: 'B'"):
        pull_dose(NAME)
    assert not list(cache_folder("models").glob(f"*{NAME}*gguf*part"))
    assert not (cache_folder("models") / f"{NAME}.gguf").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_sha256": "2" * 64}, "this dose needs 2222"),
        ({"num_bytes": -1}, "is damaged"),
    ],
)
def test_a_card_that_does_not_fit(folder: Path, change: dict[str, object], message: str) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | change))
    done = CliRunner().invoke(app, ["pull", NAME])
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_what_is_no_plain_adapter_is_refused(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, method=LoRA(rank=2, dora=True))
    with pytest.raises(UserError, match="use_dora"):
        read_adapter(adapter)
    (adapter / ADAPTER_CONFIG).write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        read_adapter(adapter)
    (adapter / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(UserError, match="not an adapter"):
        read_adapter(adapter)


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    part = read_adapter(tmp_path / "adapter")
    header = read_header(base)
    name = "model.layers.0.mlp.up_proj.weight"
    wrong = {name: part["model.layers.0.mlp.down_proj.weight"]}
    with pytest.raises(UserError, match="another model"):
        adapted_source(gguf_source(base), header, wrong)


def test_the_list_names_every_model(folder: Path) -> None:
    done = CliRunner().invoke(app, ["pull", "--json"])
    found = {row["name"]: row for row in json.loads(done.stdout)["models"]}
    assert found[NAME]["here"] is False
    assert {*EMBEDDED, *DOSES} <= set(found)
    pull_dose(NAME)
    again = json.loads(CliRunner().invoke(app, ["pull", "--json"]).stdout)
    assert {row["name"]: row["here"] for row in again["models"]}[NAME] is True
    assert NAME in CliRunner().invoke(app, ["pull"]).stdout
    done = CliRunner().invoke(app, ["pull", "tiny-dos"])
    assert "tiny-dose" in str(done.exception)


def test_doses_of_the_package_are_whole() -> None:
    for folder in DOSES.values():
        catalogue.read_dose(folder)
        read_adapter(folder)
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 10_000_000


@pytest.mark.slow
def test_torch_is_not_needed() -> None:
    import subprocess
    import sys

    probe = "import sys, galenic.recipes.dose; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert torch.__version__  # it could have been loaded


@pytest.mark.slow
def test_a_packed_dose_can_be_pulled(
    base: Path, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a trained adapter, by the tool that makers of doses use, to the same file."""
    spec = importlib.util.spec_from_file_location(
        "pack_dose", Path(__file__).parents[2] / "tools" / "pack_dose.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    adapter = tmp_path / "adapter"
    for name in ("training.jsonl", "README.md"):
        (adapter / name).write_text("{}\n")
    write_manifest(adapter, [])
    options = SimpleNamespace(
        adapter=adapter,
        name=NAME,
        base="tiny-base",
        data=str(data_dir),
        adapted_type="F16",
        head_type="F16",
        description="A dose.",
        source=["nothing"],
        output=tmp_path / "doses",
    )
    folder = tool.pack(options, Quiet())
    monkeypatch.setitem(DOSES, NAME, folder)
    done = CliRunner().invoke(app, ["pull", NAME])
    assert done.exit_code == 0, done.output
    card = json.loads((folder / CARD).read_text())
    assert sha256(cache_folder("models") / f"{NAME}.gguf") == card["sha256"]
    assert {len(one["log_probs"]) for one in card["answers"]} == {3, 4}
    assert len(card["types"]) >= 1
    before, after = (read_header(one) for one in (base, cache_folder("models") / f"{NAME}.gguf"))
    adapted = set(adapted_tensors(before, read_adapter(adapter)))
    assert adapted
    for old, new in zip(before.tensors, after.tensors, strict=True):
        narrowed = old.name in adapted or old.name == "token_embd.weight"
        assert new.type == ("F16" if narrowed else old.type)
    with pytest.raises(UserError, match="there already"):
        tool.pack(options, Quiet())
