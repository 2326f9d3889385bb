"""Damage inputs of every kind, and count tracebacks, hangs, killed processes and wrong results.

    nice python benchmarks/attack.py --inputs 2000 --seed 1 -o results/security

Every input is used in a process of its own, forked from one that has imported everything, with 30
seconds of the processor (and 150 by the clock, for a busy machine). A *traceback* is an exception
that nobody expected, also where the last line of defence of the command line turned it into one
line; *killed* is a process that a signal ended, or that took more than 4 GiB. A server answers
damaged requests, and after each one it must still answer /health and call an emergency one. Runs
and the server are killed and started again.

With ``-o`` every outcome is written down as it comes (``.jsonl``), and the same command goes on
from there; ``--again`` uses those once more that did harm.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attack_kinds import KINDS, Attack, Base, Kind, make_base
from attack_more import MORE_KINDS

SECONDS, CLOCK = 30, 150
MOST_BYTES = 4 << 30
EVERY = (*KINDS, *MORE_KINDS)
OUTCOMES = ("traceback", "hang", "killed", "wrong")
FAULTS = (65, 70, 71, 73, 74)
"""Statuses of `galenic.cli.failure`: the last line of defence, which no input should reach."""


def main() -> None:
    arguments = _arguments()
    os.environ["GALENIC_THREADS"] = "1"
    work = Path(tempfile.mkdtemp(prefix="attack-"))
    os.environ["GALENIC_CACHE"] = str(work / "cache")
    _preload()
    base = make_base(_made(work / "base"))
    total = sum(kind.share for kind in EVERY)
    known = _known(arguments)
    table: dict[str, Counter[str]] = {}
    for kind in EVERY:
        if arguments.start and kind.name != arguments.start:
            continue
        arguments.start = ""
        if (arguments.only or "") not in kind.name:
            continue
        number = round(arguments.inputs * kind.share / total)
        table[kind.name] = Counter()
        begun = time.monotonic()
        for one in range(number):
            seed = f"{arguments.seed}/{kind.name}/{one}"
            if arguments.input is not None and one != arguments.input:
                continue
            row = known.get(seed)
            if row is None:
                outcome, said = _one(kind, seed, base, work, arguments.keep)
                row = {"seed": seed, "outcome": outcome}
                if outcome != "done":
                    row["said"] = said[-1500:]
                if outcome in OUTCOMES:
                    print(f"{outcome}: {seed}\n    {said[-1500:]}", flush=True)
                _note(arguments, row)
            table[kind.name]["inputs"] += 1
            table[kind.name][row["outcome"]] += 1
        print(f"{kind.name}: {dict(table[kind.name])} {time.monotonic() - begun:.0f} s", flush=True)
    if arguments.only is None:
        from attack_live import attack_live

        done = {seed: Counter(row["row"]) for seed, row in known.items() if "row" in row}
        for name, found in attack_live(base, work, arguments, done):
            table[name] = found
            _note(arguments, {"seed": f"{arguments.seed}/{name}", "row": found})
    text = _text(table, arguments)
    print(text)
    if arguments.output:
        arguments.output.with_suffix(".md").write_text(text, encoding="utf-8")
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if any(row[one] for row in table.values() for one in OUTCOMES) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=200, help="damaged requests to the server")
    parser.add_argument("--kills", type=int, default=20, help="times that work is killed")
    parser.add_argument("--from", dest="start", default="", help="first kind")
    parser.add_argument("--only", help="kinds whose name has this in it; no server then")
    parser.add_argument("--input", type=int, help="with --only: this one alone")
    parser.add_argument("--keep", type=Path, help="folder for inputs that did harm")
    parser.add_argument("--again", action="store_true", help="use those again that did harm")
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def _known(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What came of inputs that a run before this one has used, by their seeds."""
    path = arguments.output and arguments.output.with_suffix(".jsonl")
    if not path or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    harmful = {row["seed"] for row in rows if _harmed(row)} if arguments.again else set()
    last = {row["seed"]: row for row in rows}
    return {seed: row for seed, row in last.items() if not (seed in harmful and _harmed(row))}


def _harmed(row: dict[str, Any]) -> bool:
    return row.get("outcome") in OUTCOMES or any(row.get("row", {}).get(one) for one in OUTCOMES)


def _note(arguments: argparse.Namespace, row: dict[str, Any]) -> None:
    if arguments.output:
        with arguments.output.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _preload() -> None:
    """Import what commands import, so that a forked process need not."""
    import gguf  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers
    from transformers.models.llama import modeling_llama  # noqa: F401

    import galenic.assistant.pipeline
    import galenic.cli.main
    import galenic.evaluation.run
    import galenic.reports.compare
    import galenic.reports.study_html
    import galenic.reports.write
    import galenic.runtimes.llama
    import galenic.runtimes.torch
    import galenic.training.merge  # noqa: F401
    from galenic.assistant.triage.triage import triage

    triage("My knee hurts.")  # rules and classifier are read once
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _one(kind: Kind, seed: str, base: Base, work: Path, keep: Path | None) -> tuple[str, str]:
    """Make one input and use it; outcome and what was said."""
    folder = _made(work / "one")
    cache = os.environ["GALENIC_CACHE"]
    try:
        try:
            attack = kind.make(random.Random(seed), base, folder)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            return "unmade", repr(error)  # a name, for example, that no file system takes
        report = folder / ".report"
        child = os.fork()
        if child == 0:
            _in_child(attack, report)
        outcome, said = _wait(child, report)
        if outcome in OUTCOMES and keep is not None:
            place = keep / seed.replace("/", "_").replace(" ", "_")
            shutil.copytree(
                folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".report")
            )
            (place / "call.txt").write_text(repr(attack.call), encoding="utf-8", errors="replace")
        return outcome, said
    finally:
        os.environ["GALENIC_CACHE"] = cache
        shutil.rmtree(folder, ignore_errors=True)


def _wait(child: int, report: Path) -> tuple[str, str]:
    end = time.monotonic() + CLOCK
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.wait4(child, 0)
            return "hang", _read(report)
        time.sleep(0.005)
    said = _read(report)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "hang", said
    if os.WIFSIGNALED(status):
        return "killed", f"signal {os.WTERMSIG(status)} {said}"
    if used.ru_maxrss * 1024 > MOST_BYTES:
        return "killed", f"{used.ru_maxrss / 1e6:.1f} GB of memory {said}"
    code = os.WEXITSTATUS(status)
    return {0: "done", 2: "refused", 1: "refused", 98: "wrong", 99: "traceback"}.get(
        code, "traceback" if code in FAULTS else f"status {code}"
    ), f"status {code}: {said}"


def _read(report: Path) -> str:
    return report.read_text(encoding="utf-8", errors="replace")[-4000:] if report.exists() else ""


def _in_child(attack: Attack, report: Path) -> None:
    """Use an input; the status says what came of it. Never returns."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    os.chdir(report.parent)  # what is named without a folder is written there
    if attack.home is not None:
        os.environ["GALENIC_HOME"] = str(attack.home)
    out = os.open(report, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    status = 99
    try:
        status = _use(attack)
        sys.stdout.flush()
        if status == 0 and (wrong := attack.check(report.read_text(encoding="utf-8"))):
            print("WRONG", wrong)
            status = 98
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _use(attack: Attack) -> int:
    from galenic.errors import UserError

    if callable(attack.call):
        try:
            attack.call()
        except UserError as error:
            print(error)
            return 2
        except SystemExit as done:
            return _status(done)
        return 0
    from galenic.cli.main import main as command

    sys.argv = ["galenic", *attack.call]
    try:
        command()
    except SystemExit as done:
        return _status(done)
    return 0


def _status(done: SystemExit) -> int:
    return done.code if isinstance(done.code, int) else int(done.code is not None)


def _text(table: dict[str, Counter[str]], arguments: argparse.Namespace) -> str:
    names = ("inputs", *OUTCOMES, "refused", "done")
    rows = [f"| kind | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    whole: Counter[str] = Counter()
    for kind, found in table.items():
        whole += found
        rows.append(f"| {kind} | " + " | ".join(str(found[name]) for name in names) + " |")
    rows.append("| **all** | " + " | ".join(f"**{whole[name]}**" for name in names) + " |")
    used = ", ".join(f"{name} {version(name)}" for name in ("galenic", "transformers", "gguf"))
    command = f"python benchmarks/attack.py --inputs {arguments.inputs} --seed {arguments.seed}"
    return f"`{command}` ({used}, Python {sys.version.split()[0]})\n\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
