"""A federated client, which trains on its own texts and never sends them to the server.

It runs in a process of Flower's simulation engine. Texts and tokens stay in that process and in the
client's own folder; `messages` defines everything that is sent.
"""

from __future__ import annotations

import functools
import json
import shutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from galenic.models.checkpoint import Checkpoint
from galenic.models.load import resolve_model
from galenic.models.opened import open_model
from galenic.training.batch import TrainItem, cut_batches
from galenic.training.checkpoints import LOG
from galenic.training.federated.clients import Client, Federation
from galenic.training.federated.messages import (
    ARRAYS,
    EXAMPLES,
    FACTS,
    NUMBERS,
    SETTINGS,
    hash_weights,
    read_weights,
    write_error,
    write_tally,
    write_weights,
)
from galenic.training.finetune.base import Finetuner
from galenic.training.finetune.config import FinetuneConfig
from galenic.training.finetune.texts import LearnableTexts, prepare_texts, read_sources
from galenic.training.learner import Learner
from galenic.training.loop import TrainConfig, TrainData, Trainer
from galenic.training.losses import CrossEntropy
from galenic.training.run import set_threads, train_config
from galenic.training.validation import measure
from galenic.watcher import SilentWatcher

__all__ = ["WHY", "ClientJob", "LaterPasses", "LocalClient", "client_app", "local_config"]

WHY = "error.txt"
"""File in the client's folder with the traceback of an error, which may quote texts."""


@dataclass(frozen=True)
class ClientJob:
    """Settings and paths passed to the clients' processes; contains no texts.

    Attributes:
        config: the model, and options for preparing texts and for training.
        method: the fine-tuning method.
        federation: the clients.
        folder: folder of the run; client NAME stores its files in ``clients/NAME``.
    """

    config: FinetuneConfig
    method: Finetuner
    federation: Federation
    folder: str

    def home(self, client: Client) -> Path:
        """Return the client's own folder."""
        return Path(self.folder) / "clients" / client.name


def client_app(job: ClientJob) -> Any:
    """Create the Flower ``ClientApp`` for all clients; the partition id identifies the client."""
    from flwr.clientapp import ClientApp

    app = ClientApp()

    def answer(message: Any, context: Any, work: Callable[[LocalClient, Any], Any]) -> Any:
        from flwr.app import Message, RecordDict

        client = job.federation.clients[int(context.node_config["partition-id"])]
        home = job.home(client)
        home.mkdir(parents=True, exist_ok=True)
        (home / WHY).unlink(missing_ok=True)
        try:
            records = work(_local(job, client), message.content)
        except Exception as error:  # noqa: BLE001 - no message may be sent
            (home / WHY).write_text(traceback.format_exc(), encoding="utf-8")
            records = write_error(client.name, error)
        return Message(RecordDict(records), reply_to=message)

    app.query()(lambda message, context: answer(message, context, LocalClient.introduce))
    app.train()(lambda message, context: answer(message, context, LocalClient.train))
    app.evaluate()(lambda message, context: answer(message, context, LocalClient.validate))
    return app


class LocalClient:
    """A client in its process, with its tokenized texts.

    Args:
        job: settings of the federated run.
        client: the client that this is.
    """

    def __init__(self, job: ClientJob, client: Client) -> None:
        self.job, self.client = job, client
        self.config = job.config.model_copy(
            update={"train": client.train, "data": client.data or job.config.data}
        )
        self.model, checkpoint = _model(job)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        sources = read_sources(self.config)
        home, seed = job.home(client), job.config.seed
        self.texts: LearnableTexts = prepare_texts(
            self.config, sources, checkpoint, home, seed, SilentWatcher()
        )

    def introduce(self, _: Any) -> dict[str, Any]:
        """Return a message with the client's sources, with hashes and counts."""
        from flwr.app import ConfigRecord

        number = self.job.federation.clients.index(self.client)
        described = json.dumps(self.texts.described)
        return {FACTS: ConfigRecord({"client": number, "described": described})}

    def train(self, content: Any) -> dict[str, Any]:
        """Train starting from the given weights; an interrupted round is resumed."""
        from flwr.app import MetricRecord

        number = int(content[SETTINGS]["round"])
        given = read_weights(content[ARRAYS])
        self._put(given)
        home = self.job.home(self.client)
        folder = home / f"round-{number}"
        for old in home.glob("round-*"):
            if old != folder:
                shutil.rmtree(old)
        trainer = Trainer(
            Learner(self.model, CrossEntropy()),
            LaterPasses(self.texts.data, (number - 1) * self.job.federation.local_epochs),
            local_config(self.job, self.client, number),
            folder,
            fingerprint={"begins_with": hash_weights(given), "texts": self.texts.described},
            watcher=SilentWatcher(),
        )
        trainer.run()
        rows = [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]
        losses = [row["loss"] for row in rows if "loss" in row]
        learnt = {name: value.detach().cpu().numpy() for name, value in self.parameters.items()}
        numbers = {
            EXAMPLES: trainer.num_texts * self.client.weight,
            "loss": sum(losses) / len(losses),
        }
        return {ARRAYS: write_weights(learnt), NUMBERS: MetricRecord(numbers)}

    def validate(self, content: Any) -> dict[str, Any]:
        """Evaluate the given weights on the client's held-out texts."""
        self._put(read_weights(content[ARRAYS]))
        learner = Learner(self.model, CrossEntropy())
        batches = cut_batches(self.texts.data.heldout, self.config.batch_tokens)
        return write_tally(measure(learner, batches))

    def _put(self, weights: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(weights[name]))


class LaterPasses:
    """View of training data that starts at a later epoch, so that each round has its own epochs.

    Args:
        data: the client's training data.
        first: number of the epoch that is the round's first.
    """

    def __init__(self, data: TrainData, first: int) -> None:
        self.data, self.first = data, first
        self.heldout: Sequence[TrainItem] = data.heldout

    def epoch(self, number: int) -> Sequence[TrainItem]:
        """Return the texts of an epoch of this round."""
        return self.data.epoch(self.first + number)


def local_config(job: ClientJob, client: Client, number: int) -> TrainConfig:
    """Training options of a client in a round, with the local length and a seed of its own.

    Args:
        job: settings of the federated run.
        client: the client.
        number: number of the round, from 1.
    """
    dice = Random(f"{job.config.seed}/{client.name}/{number}")  # noqa: S311
    return train_config(job.config).model_copy(
        update={
            "epochs": job.federation.local_epochs,
            "max_steps": job.federation.local_steps,
            "seed": dice.getrandbits(31),
        }
    )


@functools.cache
def _local(job: ClientJob, client: Client) -> LocalClient:
    return LocalClient(job, client)


@functools.cache
def _model(job: ClientJob) -> tuple[Any, Checkpoint]:
    """Load the model with adapters, shared by all clients that run in this process in turn."""
    checkpoint = open_model(resolve_model(job.config.model))
    set_threads(job.config.threads)
    return job.method.prepare(job.method.load(checkpoint), job.config.seed), checkpoint
