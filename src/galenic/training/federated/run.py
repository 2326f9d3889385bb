"""Federated stage: clients tune an adapter together in Flower's simulation engine, on one machine.

The state of an unfinished run is kept in ``.NAME.run`` beside the output: the server's state, and
in ``clients`` a folder for each client. Traces of a client's texts occur only in its own folder.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from galenic.artifact.manifest import (
    Manifest,
    check_new,
    new_artifact,
)
from galenic.artifact.record import record_stage
from galenic.artifact.sizes import count_stored, weight_bytes
from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.private_ray import lock_ray, start_private_ray
from galenic.runtimes.threads import choose_threads
from galenic.training.card import tuned_card
from galenic.training.checkpoints import LOG
from galenic.training.distributed import num_local, spreads
from galenic.training.early_stopping import Patience
from galenic.training.federated.client import ClientJob, client_app
from galenic.training.federated.clients import Federation
from galenic.training.federated.server import Server, TrainingInterrupted
from galenic.training.finetune.base import Finetuner
from galenic.training.finetune.config import FinetuneConfig
from galenic.training.run import (
    TRAINING_LOG,
    Tuned,
    heldout_checks,
    run_folder,
    set_threads,
    train_config,
)
from galenic.watcher import Watcher

__all__ = ["finetune_federated", "simulate"]

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors", "flwr", "ray")
OBJECT_STORE = 1 << 28
"""Bytes of the engine's message store, in addition to the weights."""
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
"""Environment that disables Flower's telemetry, and gives clients' processes normal priority
instead of the lowest."""
ENGINE_TRIES = 4


def finetune_federated(
    config: FinetuneConfig,
    method: Finetuner,
    federation: Federation,
    output: Path,
    watcher: Watcher,
) -> Tuned:
    """Tune an adapter with clients that do not share their texts, and write the best average.

    Args:
        config: the model, and options for texts and training of clients; ``train`` must be empty.
        method: the fine-tuning method.
        federation: the clients and the number of rounds.
        output: folder to create.
        watcher: reports progress.

    Raises:
        UserError: the input is invalid (detected before slow work starts), or a client failed. The
            state for resuming stays beside the output.
    """
    _check(config, method)
    output = output.absolute()
    check_new(output)
    files = resolve_model(config.model)
    watcher.stage(f"opening {files.name}")
    checkpoint = open_model(files)
    method.check(checkpoint.shapes)
    watcher.stage("loading the weights")
    set_threads(config.threads)
    model = method.prepare(method.load(checkpoint), config.seed)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    run = run_folder(output)
    server = Server(
        federation,
        {name: value.detach().numpy().copy() for name, value in parameters.items()},
        run / "state",
        fingerprint={
            **train_config(config).model_dump(mode="json"),
            "model": files.sha256,
            "method": {"name": method.name, **method.options},
        },
        patience=Patience(config.patience, config.collapse_patience, unit="round"),
        watcher=watcher,
    )
    threads = max(1, (config.threads or choose_threads()) // federation.at_once)
    theirs = config.model_copy(update={"threads": threads})
    simulate(server, ClientJob(theirs, method, federation, str(run)))
    _put(parameters, server)
    with new_artifact(output) as part:
        watcher.stage("writing")
        manifest = _write(_Done(config, method, checkpoint, model, federation, server), part)
    shutil.rmtree(run)
    return Tuned(manifest, server.outcome)


def simulate(server: Server, job: ClientJob) -> None:
    """Run server and clients in Flower's simulation engine; no data leaves this machine.

    Raises:
        UserError: see `Server.run`; or the engine cannot be started.
        KeyboardInterrupt: the user interrupted it; finished rounds are kept.
    """
    clients = len(job.federation.clients)
    at_once = min(job.federation.at_once, clients)
    size = sum(value.nbytes for value in server.best_weights.values())
    with tempfile.TemporaryDirectory(prefix="galenic-", ignore_cleanup_errors=True) as folder:
        # set before the imports, which read them; Ray's ports require a token from now on
        os.environ.update(QUIET, FLWR_HOME=folder)
        lock_ray()
        from flwr.serverapp import ServerApp
        from flwr.simulation import run_simulation

        for name in ("flwr", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        app = ServerApp()
        app.main()(lambda grid, context: server.run(grid))  # noqa: ARG005
        try:
            _start_engine(at_once, OBJECT_STORE + 4 * size * (at_once + 1), folder)
            with _interruptible(server):
                run_simulation(
                    server_app=app,
                    client_app=client_app(job),
                    num_supernodes=clients,
                    backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
                )
        except TrainingInterrupted:
            raise KeyboardInterrupt from None
        finally:
            server.interrupted.set()  # stops the server if the engine ended early


def _start_engine(at_once: int, memory: int, folder: str) -> None:
    """Start Ray for Flower, with retries: on a busy machine Ray gives up after 30 seconds.

    Args:
        at_once: number of client processes.
        memory: size of the message store in bytes.
        folder: folder for sockets and logs of the processes.

    Raises:
        UserError: Ray cannot be started.
    """
    import ray

    for attempt in range(1, ENGINE_TRIES + 1):
        try:
            start_private_ray(
                folder,
                num_cpus=at_once,
                object_store_memory=memory,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
            )
        except UserError:
            raise
        except Exception as error:  # Ray raises plain Exception
            ray.shutdown()
            if attempt == ENGINE_TRIES:
                raise UserError(f"Flower's engine cannot be started here: {error}") from error
        else:
            return


@contextmanager
def _interruptible(server: Server) -> Iterator[None]:
    """Context in which Ctrl-C kills the clients' processes; the engine would wait for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        server.interrupted.set()
        _end_clients()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_clients() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                process.kill()


def _check(config: FinetuneConfig, method: Finetuner) -> None:
    if config.train:
        raise UserError("--federated: the file names what each client learns from; drop --train.")
    if method.saves != "adapter":
        raise UserError(f"--federated averages adapters; --method {method.name} makes none.")
    if config.cache:
        raise UserError("--cache cannot be combined with --federated.")
    for name in ("epochs", "max_steps"):
        if getattr(config, name) != FinetuneConfig.model_fields[name].default:
            flag, key = name.replace("_", "-"), {"epochs": "local_epochs"}.get(name, "local_steps")
            raise UserError(f"--federated: set {key} in the file, and leave --{flag} out.")
    if num_local() > 1:
        raise UserError("--federated starts its clients itself; run it without torchrun.")
    if spreads(config):
        raise UserError("--fsdp cannot be combined with --federated: each client is one process.")
    if importlib.util.find_spec("flwr") is None or importlib.util.find_spec("ray") is None:
        raise UserError("--federated needs Flower: pip install 'galenic[train,federated]'.")


def _put(parameters: dict[str, Any], server: Server) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(server.best_weights[name]))


@dataclass(frozen=True)
class _Done:
    """A finished training run."""

    config: FinetuneConfig
    method: Finetuner
    checkpoint: Checkpoint
    model: Any
    federation: Federation
    server: Server


def _write(done: _Done, part: Path) -> Manifest:
    """Write all files of the result folder, the manifest last; without a list of removed texts."""
    files, method = done.checkpoint.files, done.method
    checks = method.save(done.model, part, base=files.name, source=done.checkpoint.folder)
    shutil.copyfile(done.server.path / LOG, part / TRAINING_LOG)
    outcome = done.server.outcome
    best = outcome.best.step if outcome.best else 0
    trained = sum(value.size for value in done.server.best_weights.values())
    adapter = sum(file.stat().st_size for file in part.glob("*.safetensors"))
    return record_stage(
        part,
        "finetune",
        method,
        files,
        libraries=LIBRARIES,
        card=partial(tuned_card, files, method.saves),
        options={**train_config(done.config).model_dump(mode="json"), **_options(done)},
        calibration=_texts(done),
        parameters={"before": count_stored(done.checkpoint), "trained": {"total": trained}},
        sizes={"before": weight_bytes(done.checkpoint.folder), "after": adapter},
        notes=(
            f"federated averaging (https://arxiv.org/abs/1602.05629) of "
            f"{len(done.federation.clients)} clients; the weights are those after round {best} of "
            f"{outcome.steps}",
            f"ended because {outcome.stopped}",
        ),
        checks={**checks, **heldout_checks(outcome)},
    )


def _options(done: _Done) -> dict[str, Any]:
    """Options of method and federation; the latter replace those for the length of training."""
    federation = done.federation
    return {
        **done.method.options,
        "epochs": federation.local_epochs,
        "max_steps": federation.local_steps,
        "rounds": federation.rounds,
        "fraction": federation.fraction,
        "clients_seed": federation.seed,
    }


def _texts(done: _Done) -> dict[str, Any]:
    """The clients' descriptions of their texts: sources, hashes and counts."""
    said = done.server.clients
    clients = [
        {"name": client.name, "weight": client.weight, **said[client.name]}
        for client in done.federation.clients
    ]
    sources = [
        {**source, "source": f"{one['name']}: {Path(source['source']).name}"}
        for one in clients
        for source in one["sources"]
    ]
    first = clients[0]
    shared = {key: first[key] for key in ("against", "allow_contaminated", "max_length", "seed")}
    return {"clients": clients, "sources": sources, **shared}
