"""Plant small bugs in the pure modules, one at a time, and count those that a test notices.

    python tools/mutants.py                    # 300 drawn with seed 0, the results of before reused
    python tools/mutants.py --sample 0 --only columns --processes 1    # all of one module

A *mutant* is a module with one change: ``<`` for ``<=``, ``+`` for ``-``, 3 for 4, a statement
left out. Each is run against the test files that `MODULES` names for it, and counts as caught when
one fails. The share caught says how far the tests would notice a real mistake.

Why not mutmut or cosmic-ray: the first rewrites functions only (rules' tables, constants and fields
of classes are not touched) and needs a copy of the tree; the second runs one test command for all
modules in a new process for each mutant and draws no sample. Here nothing on disk is changed: a
process that has imported all that a module's tests need forks for each mutant, and the child reads
the changed module in place of the file. That takes a fifth of a second of processor time, and then
what the tests take. It works where ``os.fork`` does (Linux, macOS).

Results are appended to a JSON Lines file, and a run that was stopped goes on. A mutant that was
caught stays so until its module changes; one that survived is tried again when a test changes. The
tests that reach the changed line run first, the shortest before the others, so that most mutants
are caught within a second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mutant_runs import (
    ROOT,
    WAIT_SECONDS,
    Mutant,
    Reached,
    Watch,
    finished,
    in_child,
    run_tests,
    source_of,
    start,
)
from mutations import mutations

REASONS = Path(__file__).with_name("mutants.yaml")
MODULES: dict[str, tuple[str, ...]] = {
    "evaluation/metrics": ("evaluation/test_metrics.py",),
    "evaluation/compare": ("evaluation/test_compare.py",),
    "compression/quantize/allocate": ("compression/quantize/test_allocate.py",),
    "compression/quantize/columns": ("compression/quantize/test_columns.py",),
    "models/gguf/rope": ("models/gguf/test_rope.py",),
    "models/tokenizers/bpe": ("models/test_bpe.py",),
    "runtimes/tree": ("runtimes/test_tree.py",),
    "assistant/triage/reading": (
        "assistant/triage/test_what_counts.py",
        "assistant/triage/test_specificity.py",
        "assistant/triage/test_triage.py",
    ),
    "assistant/triage/scope": (
        "assistant/triage/test_scope.py",
        "assistant/triage/test_reach.py",
    ),
    "assistant/triage/rules": (
        "assistant/triage/test_triage.py",
        "assistant/triage/test_triage_rules.py",
    ),
    "training/near": ("training/test_near.py",),
    "units": ("test_units.py",),
}
"""Pure modules of the package, and the test files that are to notice a mistake in them."""


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


def run_unchanged(module: str, folder: Path) -> Reached:
    """Run a module's tests as they are, and see what they reach; they must pass.

    Afterwards this process has imported what they need. Where neither the module nor its tests
    have changed since, they are only imported.
    """
    log, found = folder / "unchanged.txt", folder / "reached.json"
    tests = tests_of(module)
    kept = json.loads(found.read_text("utf-8")) if found.exists() else {}
    digest = _digest([source_of(module), *tests])
    same = kept.get(module, {}).get("digest") == digest
    watch = Watch([module])
    begun = time.process_time()
    if code := run_tests(tests, log, *([] if same else [watch]), collect=same):
        sys.exit(f"the tests of {module} fail without any change (code {code}): see {log}")
    if not same:
        if os.waitpid(start(tests, None, log, {}), 0)[1]:  # else every mutant would seem caught
            sys.exit(f"the tests of {module} fail when they are run again: see {log}")
        kept[module] = {"digest": digest, "reached": watch.reached()[module]}
        found.write_text(json.dumps(kept), encoding="utf-8")
    print(f"{module}: {time.process_time() - begun:.0f} s unchanged", flush=True)
    return {name: (seconds, lines) for name, (seconds, lines) in kept[module]["reached"].items()}


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Results of runs before, by mutant."""
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}"))
    return {row["key"]: row for row in rows}


def still_holds(row: dict[str, Any], mutant: Mutant) -> bool:
    return bool(row["caught"]) or row["tests"] == _digest(tests_of(mutant.module))


def try_all(module: str, mutants: Sequence[Mutant], processes: int, results: Path) -> None:
    """Try the mutants of a module, a few at a time, and append each result."""
    reached = run_unchanged(module, results.parent)
    waiting, running = list(reversed(mutants)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            log = results.parent / f"mutant-{len(running)}.txt"
            pid = start(tests_of(module), mutant, log, reached)
            running[pid] = (mutant, time.monotonic() + WAIT_SECONDS)
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


def _tried(module: str, mutants: Sequence[Mutant], processes: int, results: Path) -> int:
    try_all(module, mutants, processes, results)
    return 0


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
    os.nice(max(0, 5 - os.nice(0)))
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
    for module in sorted({m.module for m in todo}):
        own = [m for m in todo if m.module == module]
        work = partial(_tried, module, own, given.processes, given.results)
        if os.waitpid(in_child(work), 0)[1]:
            sys.exit(1)
    print("\n".join(report(mutants, given.results)))
    rows = known(given.results)
    sys.exit(sum(rows[m.key]["caught"] for m in mutants) < given.at_least * len(mutants))


if __name__ == "__main__":
    main()
