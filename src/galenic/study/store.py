"""The folder of a study: ``study.json`` describes it, and each node has its own folder.

A node's folder has ``node.json`` (its description), ``log.txt``, ``progress.json`` while it runs,
and finally, written last, ``result.json`` or ``error.json``. Folders are named by the node's key,
so that existing results are reused by any study in this folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout
from pydantic import BaseModel

from galenic.cache import is_leftover, write_atomically
from galenic.errors import UserError
from galenic.study.graph import Cell, Graph, Node
from galenic.study.stored import (
    FailureFile,
    NodeFile,
    ProgressFile,
    ResultFile,
    StudyFile,
    read_checked,
)

__all__ = [
    "ERROR",
    "LOG",
    "RESULT",
    "NodeFailure",
    "NodeFolder",
    "State",
    "StudyFolder",
    "is_study",
]

FORMAT = 1
STUDY, NODES = "study.json", "nodes"
NODE, RESULT, ERROR, PROGRESS, LOG = (
    "node.json",
    "result.json",
    "error.json",
    "progress.json",
    "log.txt",
)
State: TypeAlias = Literal["waiting", "running", "done", "failed", "blocked"]


@dataclass(frozen=True)
class NodeFailure:
    """Reason why a node has no result.

    Attributes:
        kind: ``user`` for errors that the user can fix, ``disk`` for a full disk, ``killed`` for a
            process killed from outside, ``crash`` for anything else.
        message: a single line.
    """

    kind: str
    message: str


class NodeFolder:
    """The folder of one node.

    Args:
        path: path of the folder; created by `begin`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / LOG

    def begin(self, node: Node) -> None:
        """Write the node's description, and delete an earlier failure."""
        self.path.mkdir(parents=True, exist_ok=True)
        facts = {"kind": node.kind, "key": node.key, "title": node.title, "spec": node.spec}
        write_atomically(self.path / NODE, json.dumps(facts, indent=1) + "\n")
        (self.path / ERROR).unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """Read the node's description."""
        return read_checked(self.path / NODE, NodeFile)

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock of the folder.

        Raises:
            UserError: another process still holds it after ``timeout`` seconds.
        """
        lock = FileLock(self.path / ".lock", timeout=timeout)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(f"another process works in {self.path}: wait for it.") from error
        try:
            yield
        finally:
            lock.release()

    @property
    def result(self) -> dict[str, Any] | None:
        """The result; None if the node is not done."""
        return _read(self.path / RESULT, ResultFile)

    @property
    def failure(self) -> NodeFailure | None:
        """The last failure; None if there is none."""
        found = _read(self.path / ERROR, FailureFile)
        return None if found is None else NodeFailure(found["kind"], found["message"])

    @property
    def progress(self) -> dict[str, Any]:
        """Progress: ``stage``, ``done``, ``total``, and ``seconds`` since the stage began."""
        return _read(self.path / PROGRESS, ProgressFile) or {}

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which marks the node as done."""
        write_atomically(self.path / RESULT, json.dumps(result, indent=1) + "\n")
        (self.path / PROGRESS).unlink(missing_ok=True)

    def fail(self, failure: NodeFailure) -> None:
        """Write the failure."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / ERROR, json.dumps(asdict(failure), indent=1) + "\n")

    def show(self, facts: dict[str, Any]) -> None:
        """Write the progress."""
        write_atomically(self.path / PROGRESS, json.dumps(facts) + "\n")


class StudyFolder:
    """The folder of a study.

    Args:
        path: path of the folder.

    Raises:
        UserError: the path is a file, or a folder with other content.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{path} is a file. Give a folder for the study with -o.")
        foreign = self.path.is_dir() and not (self.path / STUDY).exists()
        ours = {".lock", NODES, "report"}
        if foreign and any(
            entry.name not in ours and not is_leftover(entry) for entry in self.path.iterdir()
        ):
            raise UserError(f"{path} is not empty and holds no study. Give another folder with -o.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the study; a folder made for it goes again if nothing is written there.

        Raises:
            UserError: another process is running the study.
        """
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another galenic process runs the study in {self.path}. Wait for it, or look at "
                f"it: galenic status {self.path}"
            ) from error
        try:
            yield
        finally:
            if made and [path.name for path in self.path.iterdir()] == [".lock"]:
                shutil.rmtree(self.path, ignore_errors=True)  # while nobody else can hold it
            lock.release()

    def node(self, node_id: str) -> NodeFolder:
        """Return the folder of a node."""
        return NodeFolder(self.path / NODES / node_id)

    def write(self, facts: dict[str, Any], graph: Graph) -> None:
        """Write the description of the study.

        Args:
            facts: name, description, command, settings, versions.
            graph: nodes and cells of the study.
        """
        nodes = {
            node.id: {"kind": node.kind, "title": node.title, "needs": list(node.needs)}
            for node in graph.nodes.values()
        }
        cells = [asdict(cell) for cell in graph.cells]
        measured = {"sizes": graph.sizes, "baselines": graph.baselines}
        whole = {"format": FORMAT, **facts, **measured, "cells": cells, "nodes": nodes}
        write_atomically(self.path / STUDY, json.dumps(whole, indent=1) + "\n")

    def read(self) -> dict[str, Any]:
        """Read ``study.json``.

        Raises:
            UserError: the file is missing or damaged.
        """
        found = _read(self.path / STUDY, StudyFile)
        if found is None:
            raise UserError(f"{self.path} holds no study: `galenic study` makes one.")
        return found

    def cells(self) -> list[Cell]:
        """Return the cells of the table."""
        return [Cell(**cell) for cell in self.read()["cells"]]

    def states(self) -> dict[str, State]:
        """Return the state of each node; a node whose lock is held is running."""
        found: dict[str, State] = {}
        for node_id, facts in self.read()["nodes"].items():
            needs = [found[need] for need in facts["needs"]]
            found[node_id] = self._state(self.node(node_id), needs)
        return found

    def _state(self, folder: NodeFolder, needs: list[State]) -> State:
        if folder.result is not None:
            return "done"
        if _is_held(folder.path / ".lock"):
            return "running"
        if folder.failure is not None:
            return "failed"
        return "blocked" if {"failed", "blocked"} & set(needs) else "waiting"


def is_study(path: Path) -> bool:
    """Whether a folder contains a study."""
    return (path / STUDY).is_file()


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # a folder that can only be read
        return False
    lock.release()
    return False


def _read(path: Path, kind: type[BaseModel]) -> dict[str, Any] | None:
    return read_checked(path, kind) if path.is_file() else None
