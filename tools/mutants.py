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
caught stays so until its module changes; one that survived is tried again when a test changes.
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
from typing import Any

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


def _child(tests: Sequence[Path], mutant: Mutant | None, log: Path) -> None:
    """Run the tests in this process and leave it; the code is 0 where all passed."""
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
    code = pytest.main([*quiet, *map(str, tests)])
    sys.stdout.flush()
    os._exit(int(code))


def start(tests: Sequence[Path], mutant: Mutant | None, log: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _child(tests, mutant, log)
        finally:
            os._exit(1)  # what cannot be compiled or imported is noticed by every test
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


def times_unchanged(modules: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds that each module's tests take as they are; they must pass."""
    seconds: dict[str, float] = {}
    by_tests: dict[tuple[str, ...], float] = {}
    for module in modules:
        if (tests := MODULES[module]) not in by_tests:
            log, begun = folder / "unchanged.txt", time.monotonic()
            _, status = os.waitpid(start(tests_of(module), None, log), 0)
            if code := os.waitstatus_to_exitcode(status):
                sys.exit(f"{', '.join(tests)} fail without any change (code {code}): see {log}")
            by_tests[tests] = time.monotonic() - begun
        seconds[module] = by_tests[tests]
    return seconds


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
    allowed = times_unchanged(modules, results.parent)
    waiting, running = list(reversed(mutants)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            log = results.parent / f"mutant-{len(running)}.txt"
            limit = time.monotonic() + 60 + 10 * allowed[mutant.module]
            running[start(tests_of(mutant.module), mutant, log)] = (mutant, limit)
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
