"""`galenic finetune --federated` in a process of its own: ``federated_child.py FOLDER ARGS...``.

Every message that server and clients exchange is written to FOLDER, as bytes on the wire. With the
environment's ``DIE_AFTER_ROUND`` the process ends, as by ``kill -9``, when so many are saved.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

from flwr.common.serde import message_to_proto
from flwr.superlink.grid import InMemoryGrid

from galenic.cli.main import main
from galenic.training.federated.server import Server

COUNT = itertools.count()


def record(folder: Path) -> None:
    push, pull = InMemoryGrid.push_messages, InMemoryGrid.pull_messages

    def write(message: Any, way: str) -> None:
        data = message_to_proto(message).SerializeToString()
        (folder / f"{next(COUNT):03}-{way}-{message.metadata.message_type}").write_bytes(data)

    def push_and_write(self: Any, messages: Iterable[Any]) -> Iterable[str]:
        messages = list(messages)
        ids = push(self, messages)
        for message in messages:
            write(message, "out")
        return ids

    def pull_and_write(self: Any, ids: Iterable[str]) -> Iterable[Any]:
        replies = list(pull(self, ids))
        for message in replies:
            write(message, "in")
        return replies

    InMemoryGrid.push_messages = push_and_write
    InMemoryGrid.pull_messages = pull_and_write


def die_after(number: int) -> None:
    save = Server._save

    def save_and_die(self: Server) -> None:
        save(self)
        if self.outcome.steps == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Server._save = save_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    record(Path(sys.argv[1]))
    if "DIE_AFTER_ROUND" in os.environ:
        die_after(int(os.environ["DIE_AFTER_ROUND"]))
    sys.argv = ["galenic", *sys.argv[2:]]
    main()
