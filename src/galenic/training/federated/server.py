"""The federated server: sends training rounds to clients, averages weights, and can be resumed.

Federated averaging: McMahan et al., Communication-Efficient Learning of Deep Networks from
Decentralized Data (2017), https://arxiv.org/abs/1602.05629. The average is computed by Flower's
``FedAvg``. Its round loop is not used, because it draws clients at random, cannot be
resumed, and does not handle histograms.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from galenic.errors import UserError
from galenic.training.checkpoints import TrainingFolder
from galenic.training.early_stopping import Patience, best_of, judge
from galenic.training.federated.clients import Client, Federation
from galenic.training.federated.messages import (
    ARRAYS,
    ERROR,
    EXAMPLES,
    FACTS,
    NUMBERS,
    SETTINGS,
    Weights,
    read_tally,
    read_weights,
    write_weights,
)
from galenic.training.loop import TrainingOutcome
from galenic.training.validation import describe, summarize
from galenic.watcher import Watcher

__all__ = ["Server", "TrainingInterrupted", "drawn_clients"]

PULL_SECONDS = 0.05
TTL = 30 * 24 * 3600.0
"""Maximum time to wait for a client's reply, in seconds."""


class TrainingInterrupted(Exception):  # noqa: N818 - not an error
    """The user interrupted training; Flower's thread does not pass on KeyboardInterrupt."""


@dataclass
class _State:
    weights: dict[str, Any]
    best_weights: dict[str, Any]
    outcome: TrainingOutcome = field(default_factory=TrainingOutcome)


class Server:
    """All rounds of a federated training; `run` is the main function of a ``ServerApp``.

    Args:
        federation: the clients and the number of rounds.
        first: initial weights.
        folder: folder of the run; an unfinished run is resumed after its last complete round.
        fingerprint: what the run depends on besides clients and texts, as plain values.
        patience: when to stop early.
        watcher: reports progress.

    Attributes:
        clients: each client's description of its texts, by name.
        interrupted: event that another thread sets to stop the server.
    """

    def __init__(
        self,
        federation: Federation,
        first: Weights,
        folder: Path,
        *,
        fingerprint: dict[str, Any],
        patience: Patience,
        watcher: Watcher,
    ) -> None:
        self.federation, self.patience, self.watcher = federation, patience, watcher
        self.path, self.fingerprint = folder, fingerprint
        self.state = _State(dict(first), dict(first))
        self.clients: dict[str, dict[str, Any]] = {}
        self.interrupted = threading.Event()
        self.nodes: list[int] = []
        self.folder = TrainingFolder(folder, {})

    @property
    def outcome(self) -> TrainingOutcome:
        """Outcome of training, where steps are rounds."""
        return self.state.outcome

    @property
    def best_weights(self) -> Weights:
        """The averaged weights with the best validation."""
        return self.state.best_weights

    def run(self, grid: Any) -> None:
        """Identify the clients, then run all rounds.

        Args:
            grid: Flower's ``Grid``, which connects to the clients.

        Raises:
            UserError: a client failed, or the folder holds a different run.
            TrainingInterrupted: `interrupted` was set.
        """
        self._introduce(grid)
        said = {
            "federation": self.federation.model_dump(mode="json"),
            "clients": self.clients,
        }
        self.folder = TrainingFolder(self.path, {**self.fingerprint, **said})
        with self.folder.locked():
            self._restore(self.folder.open())
            if not self.outcome.validations:
                self._look(grid)
            while self.outcome.steps < self.federation.rounds and not self.outcome.stopped:
                self._round(grid)
            done = f"all {self.federation.rounds} rounds are done"
            self.outcome.stopped = self.outcome.stopped or done
            self._save()

    def _introduce(self, grid: Any) -> None:
        """Wait until all clients are connected, and find out which node is which client."""
        from flwr.app import ConfigRecord, MessageType, RecordDict

        count = len(self.federation.clients)
        while len(nodes := sorted(grid.get_node_ids())) < count:
            self._wait()
        self.watcher.stage("clients read their texts", total=count)
        self.nodes = nodes
        content = RecordDict({SETTINGS: ConfigRecord({"round": 0})})
        places = {}
        for place, reply in self._ask(grid, MessageType.QUERY, content, range(count)):
            facts = reply.content[FACTS]
            number = int(facts["client"])
            places[number] = nodes[place]
            name = self.federation.clients[number].name
            self.clients[name] = json.loads(facts["described"])
        self.nodes = [places[number] for number in range(count)]
        self.clients = {one.name: self.clients[one.name] for one in self.federation.clients}

    def _round(self, grid: Any) -> None:
        """Run a round: some clients train, their weights are averaged, and all validate them."""
        from flwr.app import ConfigRecord, MessageType, RecordDict
        from flwr.serverapp.strategy import FedAvg

        number = self.outcome.steps + 1
        drawn = drawn_clients(self.federation, number)
        self.watcher.stage(f"round {number} of {self.federation.rounds}", total=len(drawn))
        content = RecordDict(
            {
                ARRAYS: write_weights(self.state.weights),
                SETTINGS: ConfigRecord({"round": number}),
            }
        )
        replies = self._ask(grid, MessageType.TRAIN, content, drawn)
        names = [self.federation.clients[place].name for place, _ in replies]
        numbers = [reply.content[NUMBERS] for _, reply in replies]
        averaged, _ = FedAvg(weighted_by_key=EXAMPLES).aggregate_train(
            number, [reply for _, reply in replies]
        )
        self.state.weights = read_weights(averaged)
        self.outcome.steps = number
        self.folder.note(
            {
                "step": number,
                "loss": {n: one["loss"] for n, one in zip(names, numbers, strict=True)},
                "examples": {n: one[EXAMPLES] for n, one in zip(names, numbers, strict=True)},
            }
        )
        self._look(grid)
        self._save()

    def _look(self, grid: Any) -> None:
        """Validate the averaged weights on the held-out texts of all clients."""
        from flwr.app import MessageType, RecordDict

        clients = range(len(self.federation.clients))
        self.watcher.stage(f"looking after round {self.outcome.steps}", total=len(clients))
        content = RecordDict({ARRAYS: write_weights(self.state.weights)})
        replies = self._ask(grid, MessageType.EVALUATE, content, clients)
        validation = summarize(
            [read_tally(reply.content) for _, reply in replies], self.outcome.steps
        )
        self.outcome.validations.append(validation)
        self.folder.note({"validation": asdict(validation)})
        self.outcome.best = best_of(self.outcome.validations)
        if self.outcome.best is validation:
            self.state.best_weights = dict(self.state.weights)
        self.watcher.keep(describe(validation, self.outcome.best, unit=self.patience.unit))
        decision = judge(self.outcome.validations, self.patience)
        self.outcome.stopped, self.outcome.collapsed = decision.reason, decision.collapsed

    def _ask(
        self, grid: Any, kind: str, content: Any, places: Sequence[int]
    ) -> list[tuple[int, Any]]:
        """Send the same message to clients, and return (client index, reply) by client index.

        Raises:
            UserError: a client failed.
        """
        from flwr.app import Message

        messages = [Message(content, self.nodes[place], kind, ttl=TTL) for place in places]
        waiting = dict(zip(grid.push_messages(messages), places, strict=True))
        total = len(waiting)
        found: dict[int, Any] = {}
        while waiting:
            for reply in grid.pull_messages(list(waiting)):
                place = waiting.pop(reply.metadata.reply_to_message_id)
                self._check(reply)
                found[place] = reply
                self.watcher.advance(total - len(waiting))
            if waiting:
                self._wait()
        return sorted(found.items())

    def _wait(self) -> None:
        if self.interrupted.is_set():
            raise TrainingInterrupted
        time.sleep(PULL_SECONDS)

    def _check(self, reply: Any) -> None:
        if reply.has_error():
            if self.interrupted.is_set():
                raise TrainingInterrupted
            raise UserError(
                "a client's process ended; was there memory enough for the model in each of "
                f"{self.federation.at_once}? Finished rounds are kept."
            )
        if ERROR in reply.content:
            error = reply.content[ERROR]
            home = self.path.parent / "clients" / str(error["client"])
            raise UserError(
                f"client {error['client']} failed ({error['kind']}). It says why in "
                f"{home / 'error.txt'}. Finished rounds are kept."
            )

    def _save(self) -> None:
        import torch

        def tensors(weights: Weights) -> dict[str, Any]:
            return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}

        state = self.state
        self.folder.save(
            {
                "weights": tensors(state.weights),
                "best_weights": tensors(state.best_weights),
                "outcome": asdict(state.outcome),
            }
        )

    def _restore(self, saved: dict[str, Any] | None) -> None:
        if saved is None:
            return
        self.state = _State(
            {name: value.numpy() for name, value in saved["weights"].items()},
            {name: value.numpy() for name, value in saved["best_weights"].items()},
            TrainingOutcome.restored(saved["outcome"]),
        )
        self.watcher.say(f"resuming after round {self.outcome.steps} of {self.federation.rounds}")


def drawn_clients(federation: Federation, number: int) -> list[int]:
    """Draw the clients that train in a round; deterministic in seed and round.

    Args:
        federation: the clients, with ``fraction`` and ``seed``.
        number: number of the round.

    Returns:
        Indices of the clients, ascending; at least one.
    """
    clients: tuple[Client, ...] = federation.clients
    count = max(1, round(federation.fraction * len(clients)))
    dice = Random(f"{federation.seed}/{number}")  # noqa: S311
    return sorted(dice.sample(range(len(clients)), count))
