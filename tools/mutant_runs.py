"""Run tests on changed modules, each in a fork of a process that has imported what they need."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mutations import Mutation, mutate

ROOT = Path(__file__).parents[1]
LEFT_OUT = "not long_texts and not in_any_process"
"""Tests of time and of other processes: seconds each, and the latter do not see the change."""
IMPORT_SECONDS = 60.0
"""Processor time to import a changed module and what uses it."""
LEAST_SECONDS, TIMES = 5.0, 3.0
"""Processor time of a test, at least, and as a multiple of that without the change."""
WAIT_SECONDS = 1200.0
"""Time by the clock after which a process waits for something that does not come."""


Reached: TypeAlias = dict[str, tuple[float, Sequence[int]]]
"""By name of a test: the seconds that it takes, and the lines of a module that it reaches."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    mutation: Mutation
    source: str

    @property
    def key(self) -> str:
        """The same for the same change of the same text."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:16]
        return f"{self.module}:{self.mutation.number}:{digest}"

    def __str__(self) -> str:
        m = self.mutation
        return f"{self.module}.py:{m.line} in {m.place}: `{m.before}` -> `{m.after}`"


def source_of(module: str) -> Path:
    return ROOT / "src" / "galenic" / f"{module}.py"


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the changed module to whoever imports it."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = source_of(mutant.module)
        self.name = "galenic." + mutant.module.replace("/", ".")
        self.tree = mutate(mutant.source, mutant.mutation)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


class Order:
    """Runs those tests first that reach the changed line, the shortest of them before the others.

    The rest follow: a test need not reach a line to notice it, if what is computed once is kept.
    A test that takes much more processor time than without the change ends the process.
    """

    def __init__(self, reached: Reached, line: int) -> None:
        self.reached, self.line = reached, line

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._rank(item.nodeid))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        seconds, _ = self.reached.get(nodeid, (0.0, ()))
        _allow(LEAST_SECONDS + TIMES * seconds)

    def _rank(self, name: str) -> tuple[bool, float]:
        seconds, lines = self.reached.get(name, (0.0, ()))
        return (self.line not in lines, seconds)


def _allow(seconds: float) -> None:
    """End this process after so much processor time from now on, however busy the machine is."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


class Watch:
    """Notes of each test how long it takes, and which lines of some modules it reaches."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = {str(source_of(module)): module for module in modules}
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[int]]] = {module: {} for module in modules}
        self.name = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.name, self.begun = nodeid, time.process_time()
        sys.settrace(self._called)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self.seconds[nodeid] = time.process_time() - self.begun

    def _called(self, frame: Any, event: str, given: Any) -> Any:
        module = self.modules.get(frame.f_code.co_filename)
        if module is None:
            return None
        lines = self.lines[module].setdefault(self.name, set())

        def line(frame: Any, event: str, given: Any) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line(frame, event, given)

    def reached(self) -> dict[str, Reached]:
        return {
            module: {name: (each, sorted(at.get(name, ()))) for name, each in self.seconds.items()}
            for module, at in self.lines.items()
        }


def _forget() -> None:
    """Let what belongs to the project be imported anew; libraries stay as they are."""
    own = (str(ROOT / "tests"), str(ROOT / "src"), str(ROOT / "tools"))
    for name, module in list(sys.modules.items()):
        if name != "__main__" and str(getattr(module, "__file__", None)).startswith(own):
            del sys.modules[name]


def run_tests(tests: Sequence[Path], log: Path, *plugins: Any, collect: bool = False) -> int:
    """Run the tests, or only find them, in this process; the code is 0 where all passed."""
    import pytest

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    kept = os.dup(1), os.dup(2)
    os.dup2(out, 1)
    os.dup2(out, 2)
    given = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist"]
    given += ["--hypothesis-profile=ci", "-k", LEFT_OUT, *(["--collect-only"] if collect else [])]
    try:
        return int(pytest.main([*given, *map(str, tests)], plugins=list(plugins)))
    finally:
        sys.stdout.flush()
        for number, file in enumerate(kept, start=1):
            os.dup2(file, number)
            os.close(file)
        os.close(out)


def in_child(work: Callable[[], int]) -> int:
    """Fork, and do it in the child, whose exit code the result is; returns its number."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1  # what cannot be compiled or imported is noticed by every test
        try:
            code = work()
        except BaseException:  # noqa: BLE001 - as the interpreter does
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def start(tests: Sequence[Path], mutant: Mutant | None, log: Path, reached: Reached) -> int:
    """Run the tests on a mutant in a process of their own; returns its number."""

    def work() -> int:
        os.setsid()
        _allow(IMPORT_SECONDS)
        _forget()
        if mutant is None:
            return run_tests(tests, log)
        sys.meta_path.insert(0, _Changed(mutant))
        return run_tests(tests, log, Order(reached, mutant.mutation.line))

    return in_child(work)


def finished(pid: int, deadline: float) -> int | None:
    """Exit code; None while it runs. One that waits for ever is ended, and noticed so."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    if time.monotonic() < deadline:
        return None
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124
