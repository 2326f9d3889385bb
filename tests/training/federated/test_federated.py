"""Federated training through Flower's real engine: the mean, what is sent, kill and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galenic.artifact.manifest import read_manifest
from galenic.errors import UserError
from galenic.training.finetune.config import FinetuneConfig
from tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("flwr", reason="needs the federated extra")
pytest.importorskip("ray", reason="needs the federated extra (flwr[simulation])")

CHILD = Path(__file__).parents[2] / "federated_child.py"
CANARY = "canarywort"
COUNTS = {"east": 20, "south": 35, "west": 50}
OPTIONS = ["--against", "none", "--rank", "4", "--learning-rate", "0.003", "--batch-size", "4"]
OPTIONS += ["--threads", "1"]


def write_clients(folder: Path, **keys: Any) -> Path:
    """Three clients; texts of each hold a word that is in no other place."""
    for number, (name, count) in enumerate(COUNTS.items()):
        rows = [
            {"id": f"{name}{i}", "question": f"Which {CANARY} of {name} is the {i}?"}
            | {"options": ["this one", "that one"], "answer": (i + number) % 2}
            for i in range(count)
        ]
        lines = "\n".join(map(json.dumps, rows))
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    clients = [{"name": name, "train": f"{name}.jsonl"} for name in COUNTS]
    clients[0]["weight"] = 3
    path = folder / "clients.yaml"
    path.write_text(json.dumps({"clients": clients, **keys}), encoding="utf-8")  # JSON is YAML
    return path


def run(
    folder: Path, clients: Path, output: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    wire = folder / "wire"
    wire.mkdir(exist_ok=True)
    arguments = ["finetune", folder / "model", "--federated", clients, "-o", output, *OPTIONS]
    return subprocess.run(
        [sys.executable, CHILD, wire, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def adapter(folder: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return load_file(folder / "adapter_model.safetensors")


def train_alone(folder: Path, clients: Path) -> list[tuple[float, dict[str, NDArray[Any]]]]:
    """Each client's count and adapter, by the common loop in this process, without Flower."""
    from galenic.models.checkpoint import open_checkpoint
    from galenic.models.load import resolve_model
    from galenic.training.federated.client import ClientJob, local_config
    from galenic.training.federated.clients import read_federation
    from galenic.training.finetune.lora import LoRA
    from galenic.training.finetune.texts import prepare_texts, read_sources
    from galenic.training.learner import Learner
    from galenic.training.loop import Trainer
    from galenic.training.losses import CrossEntropy
    from training import Quiet

    config = FinetuneConfig(
        model=str(folder / "model"), against="none", learning_rate=0.003, batch_size=4, threads=1
    )
    federation = read_federation(clients)
    job = ClientJob(config, LoRA(rank=4), federation, str(folder))
    found = []
    for client in federation.clients:
        checkpoint = open_checkpoint(resolve_model(config.model))
        own = config.model_copy(update={"train": client.train})
        texts = prepare_texts(own, read_sources(own), checkpoint, folder, 0, Quiet())
        model = job.method.prepare(job.method.load(checkpoint), 0)
        trainer = Trainer(
            Learner(model, CrossEntropy()),
            texts.data,
            local_config(job, client, 1),
            folder / f"alone-{client.name}",
            fingerprint={},
            watcher=Quiet(),
        )
        trainer.run()
        weights = {n: p.detach().numpy() for n, p in model.named_parameters() if p.requires_grad}
        found.append((len(texts.data.first.items) * client.weight, weights))
    return found


@pytest.mark.slow
def test_one_round_is_the_weighted_mean_and_sends_no_text(tmp_path: Path) -> None:
    write_tiny_hf(tmp_path / "model", "llama")
    clients, out = write_clients(tmp_path, rounds=1), tmp_path / "out"
    done = run(tmp_path, clients, out)
    assert done.returncode == 0, done.stderr
    assert "weights of round 1 of 1" in done.stdout

    alone = train_alone(tmp_path, clients)
    total = sum(count for count, _ in alone)
    averaged = adapter(out)
    assert len({count for count, _ in alone}) == 3
    for name in alone[0][1]:
        wanted = sum(count / total * one[name].astype(np.float64) for count, one in alone)
        found = averaged[name.replace(".default", "")]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)
        assert not np.allclose(found, np.mean([one[name] for _, one in alone], 0), atol=1e-7)

    messages = sorted((tmp_path / "wire").iterdir())
    kinds = [path.name.split("-", 1)[1] for path in messages]
    assert {k: kinds.count(k) for k in kinds} == {
        "out-query": 3, "in-query": 3, "out-train": 3, "in-train": 3,
        "out-evaluate": 6, "in-evaluate": 6,
    }  # fmt: skip
    assert any(b"lora_A" in path.read_bytes() for path in messages)  # it is the wire's content
    for path in [*messages, *out.iterdir()]:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path.name
        assert b"that one" not in data, path.name
    check_manifest(out, alone)
    assert sorted(f.name for f in tmp_path.iterdir() if f.name.startswith(".")) == []


def check_manifest(out: Path, alone: list[Any]) -> None:
    manifest = read_manifest(out)
    assert manifest is not None
    stage = manifest.stages[-1]
    assert (stage.stage, stage.method, stage.options["rounds"]) == ("finetune", "lora", 1)
    assert stage.calibration is not None
    listed = stage.calibration["clients"]
    assert [one["name"] for one in listed] == list(COUNTS)
    assert [one["documents"] * one["weight"] for one in listed] == [count for count, _ in alone]
    assert stage.checks["heldout_loss"] < stage.checks["heldout_loss_before"]
    assert "3 clients" in stage.notes[0]
    rows = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert set(rows[1]["loss"]) == set(COUNTS)
    assert rows[2]["validation"]["predictions"]


@pytest.mark.kills
def test_a_killed_run_goes_on_to_the_same_adapter(tmp_path: Path) -> None:
    write_tiny_hf(tmp_path / "model", "llama")
    clients = write_clients(tmp_path, rounds=3, local_steps=2, fraction=0.67)
    whole = run(tmp_path, clients, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    killed = run(tmp_path, clients, tmp_path / "broken", DIE_AFTER_ROUND="2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "broken").exists()
    resumed = run(tmp_path, clients, tmp_path / "broken")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after round 2 of 3" in resumed.stderr
    first, second = adapter(tmp_path / "whole"), adapter(tmp_path / "broken")
    assert set(first) == set(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    logs = [(tmp_path / name / "training.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_a_client_that_fails_is_named_and_quotes_nothing(tmp_path: Path) -> None:
    write_tiny_hf(tmp_path / "model", "llama")
    clients, out = write_clients(tmp_path, rounds=1), tmp_path / "out"
    (tmp_path / "south.jsonl").write_text(f'{{"question": "{CANARY}?", "options": 3}}\n')
    done = run(tmp_path, clients, out)
    assert done.returncode != 0
    assert "client south failed (UserError)" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY.encode() in path.read_bytes() for path in (tmp_path / "wire").iterdir())
    assert (tmp_path / ".out.run" / "clients" / "south" / "error.txt").is_file()
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "medqa"}, "drop --train"),
        ({"cache": True}, "--cache"),
        ({"epochs": 5}, "local_epochs in the file, and leave --epochs out"),
        ({"max_steps": 5}, "local_steps in the file, and leave --max-steps out"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    from galenic.training.federated.clients import Client, Federation
    from galenic.training.federated.run import finetune_federated
    from galenic.training.finetune.full import Full
    from galenic.training.finetune.lora import LoRA
    from training import Quiet

    both = Federation(clients=tuple(Client(name=name, train="medqa") for name in "ab"))
    config = FinetuneConfig(model="none", **change)
    with pytest.raises(UserError, match=message):
        finetune_federated(config, LoRA(), both, tmp_path / "out", Quiet())
    with pytest.raises(UserError, match="--method full makes none"):
        plain = FinetuneConfig(model="none")
        finetune_federated(plain, Full(), both, tmp_path / "out", Quiet())
    assert list(tmp_path.iterdir()) == []
