"""Plant small bugs in the pure modules, one at a time, and count those that a test notices.

    python tools/mutants.py                    # 300 drawn with seed 0, the results of before reused
    python tools/mutants.py --sample 0 --only columns --processes 1    # all of one module

A *mutant* is a module with one change: ``<`` for ``<=``, ``+`` for ``-``, 3 for 4, a statement
left out. Each is run against the test files that `MODULES` names for it, and counts as caught when
one fails. The share caught says how far the tests would notice a real mistake.

Why not mutmut or cosmic-ray: the first rewrites functions only (rules' tables, constants and fields
of classes are not touched) and needs a copy of the tree; the second runs one test command for all
modules in a new process for each mutant and draws no sample. Here nothing on disk is changed: a
process that has loaded NumPy and PyTorch forks, and the child reads the changed module in place of
the file. It works where ``os.fork`` does (Linux, macOS).

Results are appended to a JSON Lines file, and a run that was stopped goes on. A mutant that was
caught stays so until its module changes; one that survived is tried again when a test changes. The
tests that reach the changed line run first, the shortest before the others, so that most mutants
are caught within a second or two.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from mutations import Mutation, mutate, mutations

ROOT = Path(__file__).parents[1]
REASONS = Path(__file__).with_name("mutants.yaml")
MODULES: dict[str, tuple[str, ...]] = {
    "evaluation/metrics": ("evaluation/test_metrics.py",),
    "evaluation/compare": ("evaluation/test_compare.py",),
    "compression/quantize/allocate": ("compression/quantize/test_allocate.py",),
    "compression/quantize/columns": (
        "compression/quantize/test_columns.py",
        "compression/quantize/test_gptq.py",
    ),
    "models/gguf/rope": ("models/gguf/test_rope.py",),
    "models/tokenizers/bpe": ("models/test_bpe.py",),
    "runtimes/tree": ("runtimes/test_tree.py",),
    "assistant/triage/scope": (
        "assistant/triage/test_scope.py",
        "assistant/triage/test_reach.py",
        "assistant/triage/test_triage.py",
    ),
    "assistant/triage/rules": (
        "assistant/triage/test_triage.py",
        "assistant/triage/test_triage_rules.py",
    ),
    "training/near": ("training/test_near.py",),
    "units": ("test_units.py",),
}
"""Pure modules of the package, and the test files that are to notice a mistake in them."""


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


def tests_of(module: str) -> list[Path]:
    return [ROOT / "tests" / name for name in MODULES[module]]


def _digest(paths: Sequence[Path]) -> str:
    content = b"\0".join(path.read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()[:16]


def draw(sample: int, seed: int, only: str) -> list[Mutant]:
    """A seeded sample of the mutants of all modules; all of them where ``sample`` is 0."""
    names = [name for name in sorted(MODULES) if only in name]
    sources = {name: source_of(name).read_text("utf-8") for name in names}
    every = [Mutant(name, m, text) for name, text in sources.items() for m in mutations(text)]
    if not sample or sample >= len(every):
        return every
    return random.Random(seed).sample(every, sample)


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


class _Order:
    """Runs those tests first that reach the changed line, the shortest of them before the others.

    The rest follow: a test need not reach a line to notice it, if what is computed once is kept.
    """

    def __init__(self, reached: Reached, line: int) -> None:
        self.reached, self.line = reached, line

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._rank(item.nodeid))

    def _rank(self, name: str) -> tuple[bool, float]:
        seconds, lines = self.reached.get(name, (0.0, ()))
        reaches = self.line in lines
        return (not reaches, seconds if reaches else 0.0)


class _Watch:
    """Notes of each test how long it takes, and which lines of some modules it reaches."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = {str(source_of(module)): module for module in modules}
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[int]]] = {module: {} for module in modules}
        self.name = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.name, self.begun = nodeid, time.monotonic()
        sys.settrace(self._called)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self.seconds[nodeid] = time.monotonic() - self.begun

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
            module: {name: (self.seconds.get(name, 0.0), sorted(at)) for name, at in found.items()}
            for module, found in self.lines.items()
        }


def _child(tests: Sequence[Path], mutant: Mutant | None, log: Path, plugin: Any = None) -> int:
    """Run the tests in this process; the code is 0 where all passed."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if mutant:
        for name in [name for name in sys.modules if name.split(".")[0] == "galenic"]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Changed(mutant))
    import pytest

    quiet = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = pytest.main([*quiet, *map(str, tests)], plugins=[plugin] if plugin else [])
    sys.stdout.flush()
    return int(code)


def start(
    tests: Sequence[Path], mutant: Mutant | None, log: Path, reached: Reached | None = None
) -> int:
    """Run the tests in a process of their own; returns its number."""
    pid = os.fork()
    if pid == 0:
        code = 1  # what cannot be compiled or imported is noticed by every test
        try:
            order = _Order(reached or {}, mutant.mutation.line) if mutant else None
            code = _child(tests, mutant, log, order)
        finally:
            os._exit(code)
    return pid


def _start_watched(tests: Sequence[Path], modules: Sequence[str], log: Path, found: Path) -> int:
    """Run the tests as they are, and write down which lines of the modules each reaches."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            watch = _Watch(modules)
            code = _child(tests, None, log, watch)
            found.write_text(json.dumps(watch.reached()), encoding="utf-8")
        finally:
            os._exit(code)
    return pid


def finished(pid: int, deadline: float) -> int | None:
    """Exit code; None while it runs. One that runs past its time is ended, and noticed so."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    if time.monotonic() < deadline:
        return None
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124


def run_unchanged(
    modules: Sequence[str], folder: Path
) -> tuple[dict[str, float], dict[str, Reached]]:
    """Run each module's tests as they are; they must pass.

    Returns:
        Seconds by module, and by module what its tests reach.
    """
    seconds: dict[str, float] = {}
    reached: dict[str, Reached] = {}
    log, found = folder / "unchanged.txt", folder / "reached.json"
    for tests in dict.fromkeys(MODULES[module] for module in modules):
        own = [module for module in modules if MODULES[module] == tests]
        begun = time.monotonic()
        _, status = os.waitpid(_start_watched(tests_of(own[0]), own, log, found), 0)
        if code := os.waitstatus_to_exitcode(status):
            sys.exit(f"{', '.join(tests)} fail without any change (code {code}): see {log}")
        seconds |= dict.fromkeys(own, time.monotonic() - begun)
        reached |= json.loads(found.read_text("utf-8"))
        print(f"{', '.join(own)}: {seconds[own[0]]:.0f} s unchanged", flush=True)
    return seconds, reached


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Results of runs before, by mutant."""
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}"))
    return {row["key"]: row for row in rows}


def still_holds(row: dict[str, Any], mutant: Mutant) -> bool:
    return bool(row["caught"]) or row["tests"] == _digest(tests_of(mutant.module))


def try_all(mutants: Sequence[Mutant], processes: int, results: Path) -> None:
    """Try the mutants, a few at a time, and append each result."""
    modules = sorted({mutant.module for mutant in mutants})
    allowed, reached = run_unchanged(modules, results.parent)
    waiting, running = list(reversed(mutants)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            log = results.parent / f"mutant-{len(running)}.txt"
            limit = time.monotonic() + 60 + 10 * allowed[mutant.module]
            pid = start(tests_of(mutant.module), mutant, log, reached[mutant.module])
            running[pid] = (mutant, limit)
        time.sleep(0.02)
        for pid, (mutant, limit) in list(running.items()):
            if (code := finished(pid, limit)) is None:
                continue
            del running[pid]
            _append(results, mutant, code)


def _append(results: Path, mutant: Mutant, code: int) -> None:
    row = {
        "key": mutant.key,
        "mutant": str(mutant),
        "caught": code != 0,
        "code": code,
        "tests": _digest(tests_of(mutant.module)),
    }
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print("caught  " if code else "SURVIVED", mutant, flush=True)


def reason_of(mutant: Mutant, reasons: Sequence[dict[str, str]]) -> str:
    """Why no test can notice it, or "" where nobody has said so."""
    m = mutant.mutation
    wanted = {"module": mutant.module, "place": m.place, "before": m.before, "after": m.after}
    return next((r["reason"] for r in reasons if all(r[k] == v for k, v in wanted.items())), "")


def report(mutants: Sequence[Mutant], results: Path) -> Iterator[str]:
    """The share caught, by module and together, and the survivors with their reasons."""
    rows, reasons = known(results), yaml.safe_load(REASONS.read_text("utf-8")) or []
    caught = {mutant: rows[mutant.key]["caught"] for mutant in mutants}
    for module in sorted({mutant.module for mutant in mutants}):
        own = [got for mutant, got in caught.items() if mutant.module == module]
        yield f"{module:32} {sum(own):4} of {len(own):4}"
    share = sum(caught.values()) / len(caught)
    yield f"{'together':32} {sum(caught.values()):4} of {len(caught):4}: {share:.1%} caught"
    for mutant in (mutant for mutant, got in caught.items() if not got):
        yield f"survived: {mutant}\n          {reason_of(mutant, reasons) or 'no reason given'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=300, help="mutants drawn; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path holds this text")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "mutants" / "results.jsonl")
    parser.add_argument("--fresh", action="store_true", help="forget the results of before")
    parser.add_argument("--at-least", type=float, default=0.9, help="share to be caught")
    given = parser.parse_args()
    os.nice(5)
    os.environ |= {"OMP_NUM_THREADS": "1", "GALENIC_THREADS": "1"}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        given.results.unlink(missing_ok=True)
    mutants = draw(given.sample, given.seed, given.only)
    rows = known(given.results)
    todo = [m for m in mutants if m.key not in rows or not still_holds(rows[m.key], m)]
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
    os.chdir(ROOT)
    for name in ("numpy", "scipy.stats", "torch"):
        importlib.import_module(name)  # once, for all children
    try_all(todo, given.processes, given.results)
    print("\n".join(report(mutants, given.results)))
    rows = known(given.results)
    sys.exit(sum(rows[m.key]["caught"] for m in mutants) < given.at_least * len(mutants))


if __name__ == "__main__":
    main()
