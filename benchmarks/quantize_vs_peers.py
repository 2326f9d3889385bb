"""Galenic's quantization against its peers', at the same bytes, on the same model, in one run.

    pip install -e '.[train,bnb,auto-round]' -c constraints.txt
    python benchmarks/quantize_vs_peers.py --data DIR --work /tmp/peers -o results/quantize_vs_peers

Peers: AutoRound (its package tunes, fed with the calibration text that ours is fed with), plain
rounding by llama.cpp's own quantizer (called in its library), and nf4 by bitsandbytes. Models of
one class take the same bytes, so that their KL to the dense model compares. Each is made in a
process of its own, one after the other; wall time, CPU time and peak memory are that process's,
with start, imports and, but for llama.cpp, the checks that `galenic quantize` always makes. Quality
is measured in the torch runtime on float32 activations: that of the weights alone.

Models and measurements stay in the work folder: a stopped run goes on where it was, and rows can
be made one by one (``--rows``, ``--measures``). What OUTPUT.json already holds of a row that the
same command makes stays: times of two machines do not stand side by side. The embedded model was
itself quantized to Q4_1: types that give those levels back, exactly (Q4_1; Q5_1 halves the step) or
nearly (Q4_K, Q5_K), are left out of what is ours.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from compared import GALENIC, NO_MINIMUM, earlier_rows, inspected, paired_answers
from quantize_report import settings_of, write

from galenic.models.load import resolve_model

BENCHMARKS = ("pubmedqa", "medqa_4options", "medmcqa")
MEASURES = ("perplexity", "accuracy")
GPTQ = "quantize {model} --method gptq"
TUNED = "quantize {model} --method auto_round --bits 4"
POLL = 0.2
"""Seconds between two looks at the memory of a process and its children."""
LLAMA = Path(__file__).with_name("llama_quantize.py")


@dataclass(frozen=True)
class Row:
    """A quantized model.

    Attributes:
        size: class of equal bytes that it is compared in.
        command: of galenic, or ``llama.cpp`` with its setting.
        ours: whether it is ours or a peer's; the first of ours in a class is what ratios refer to.
        like: peer whose bytes are ``{bytes}`` in the command.
    """

    name: str
    size: str
    title: str
    command: str
    ours: bool = False
    like: str | None = None


FOUR, HEAD, NF4 = "4.5 bits a weight", "4 bits, head in 8", "the bytes of nf4"
ROWS = (
    Row("gptq-4.5", FOUR, "GPTQ, mixed", f"{GPTQ} {NO_MINIMUM} --target-bpw 4.5", ours=True),
    Row("llama-pure", FOUR, "llama.cpp Q4_0, pure", "llama.cpp pure"),
    Row("mixed-4.5", FOUR, "kquant, mixed", f"quantize {{model}} {NO_MINIMUM} --target-bpw 4.5",
        ours=True),
    Row("auto-round-0", FOUR, "AutoRound, 0 iterations", f"{TUNED} --iters 0"),
    Row("kquant-4", FOUR, "kquant, 4 bits", f"quantize {{model}} {NO_MINIMUM} --bits 4", ours=True),
    Row("auto-round", FOUR, "AutoRound, 200 iterations", f"{TUNED} --iters 200"),
    Row("rounded", FOUR, "Q4_0 by --no-importance",
        "quantize {model} --type Q4_0 --no-importance"),
    Row("gptq-nl", FOUR, "GPTQ, IQ4_NL", f"{GPTQ} --type IQ4_NL", ours=True),
    Row("gptq-nl-tuned", FOUR, "GPTQ, IQ4_NL, tuned", f"{GPTQ} --type IQ4_NL --tune", ours=True),
    Row("gptq-head", HEAD, "GPTQ, Q4_0", f"{GPTQ} --type Q4_0 --head-type Q8_0", ours=True),
    Row("llama-head", HEAD, "llama.cpp Q4_0", "llama.cpp default"),
    Row("gptq-mixed-head", HEAD, "GPTQ, mixed", f"{GPTQ} {NO_MINIMUM} --target-size {{bytes}}B",
        ours=True, like="llama-head"),
    Row("auto-round-head", HEAD, "AutoRound, 50 iterations",
        f"{TUNED} --head-type Q8_0 --iters 50"),
    Row("nf4", NF4, "nf4 (bitsandbytes)", "quantize {model} --method nf4"),
    Row("gptq-nf4", NF4, "GPTQ, mixed", f"{GPTQ} {NO_MINIMUM} --target-size {{bytes}}B", ours=True,
        like="nf4"),
)  # fmt: skip
"""In the order in which they are made; another of ours, or another peer, is one row more."""


def watched(argv: list[str], log: Path) -> dict[str, float] | None:
    """Run a process; its seconds, CPU seconds and peak memory, or None when it failed."""
    peak = 0
    with log.open("a", encoding="utf-8") as handle:
        start = time.perf_counter()
        process = subprocess.Popen(argv, stdout=handle, stderr=subprocess.STDOUT)
        ended = threading.Event()

        def look() -> None:
            nonlocal peak
            while not ended.wait(POLL):
                peak = max(peak, _resident(process.pid))

        watcher = threading.Thread(target=look)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)  # the kernel's own count of one process
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"  failed with status {process.returncode}, see {log}", flush=True)
        return None
    return {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_rss": max(peak, used.ru_maxrss * 1024),
    }


def _resident(pid: int) -> int:
    """Bytes in memory of a process and all below it."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return total


class Comparison:
    """The rows, their folders and measurements."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = Path(options.work).absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        self.rows = {row.name: row for row in ROWS}
        output = options.output and Path(options.output).with_suffix(".json")
        self.earlier = earlier_rows(output, settings_of(options)) if output else {}

    def file(self, name: str, what: str) -> Path:
        return self.work / f"{name}.{what}.json"

    def folder(self, name: str) -> str:
        return self.options.model if name == "dense" else str(self.work / name)

    def galenic(self, name: str, line: str) -> dict[str, float] | None:
        """Run a command, shown as a reader would type it."""
        print(f"$ galenic {self.shown(line)}", flush=True)
        return watched([GALENIC, *shlex.split(line)], self.work / f"{name}.log")

    def shown(self, line: str) -> str:
        return line.replace(f"{self.work}/", "").replace(self.options.data, "DIR")

    def build(self, name: str) -> bool:
        """Make a model and keep what it took; one made by the same command is left."""
        row, folder = self.rows[name], self.work / name
        if row.like is not None and not self.build(row.like):
            return False
        line = self.line(row)
        if folder.exists() and self.found(name, "build").get("command") == self.shown(line):
            return True
        shutil.rmtree(folder, ignore_errors=True)
        self.file(name, "perplexity").unlink(missing_ok=True)
        shutil.rmtree(self.work / "runs" / name, ignore_errors=True)
        if row.command.startswith("llama.cpp"):
            used = self.llama(name, row.command.split()[1])
        else:
            used = self.galenic(name, line)
        if used is None:
            return False
        found = {"command": self.shown(line), **used}
        self.file(name, "build").write_text(json.dumps(found), encoding="utf-8")
        return True

    def line(self, row: Row) -> str:
        """The command that makes a row."""
        if row.command.startswith("llama.cpp"):
            return row.command
        options = self.options
        size = self.size(row.like).get("file_bytes") if row.like else 0
        made = row.command.format(model=options.model, bytes=size)
        return f"{made} --data {options.data} --seed {options.seed} -o {self.work / row.name}"

    def found(self, name: str, what: str) -> dict[str, Any]:
        """What was measured of a row; empty where nothing was."""
        file = self.file(name, what)
        found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        return found

    def judged(self, name: str) -> dict[str, Any]:
        """Perplexity and KL on as much text as is asked for; empty where that is to be done."""
        found = self.found(name, "perplexity")
        return found if found.get("num_samples") == self.options.num_samples else {}

    def llama(self, name: str, setting: str) -> dict[str, float] | None:
        """Quantize by llama.cpp, which reads a GGUF only."""
        files = resolve_model(self.options.model)
        if files.kind != "gguf":
            print(f"  {name} is left out: llama.cpp needs a GGUF, and {files.name} is none")
            return None
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        print(f"$ llama_model_quantize, {setting}, to {name}", flush=True)
        argv = [sys.executable, str(LLAMA), str(files.path), str(folder / "model.gguf"), "Q4_0"]
        argv += ["--pure"] if setting == "pure" else []
        return watched(argv, self.work / f"{name}.log")

    def measure(self, name: str, measures: list[str]) -> None:
        if not measures or (name != "dense" and not self.build(name)):
            return
        options = self.options
        common = f"--data {options.data} --runtime torch"
        if "perplexity" in measures and name != "dense" and not self.judged(name):
            self.galenic(
                name,
                f"perplexity {self.folder(name)} --against {options.model} {common} "
                f"--num-samples {options.num_samples} -o {self.file(name, 'perplexity')}",
            )
        if "accuracy" in measures and options.limit:
            self.galenic(
                name,
                f"evaluate {self.folder(name)} --benchmarks {','.join(options.benchmarks)} "
                f"--limit {options.limit} --scoring {options.scoring} {common} "
                f"-o {self.work / 'runs' / name}",
            )

    # what was found

    def facts(self) -> Iterator[dict[str, Any]]:
        """Every row that is made, each class with our first row first."""
        for size in (FOUR, HEAD, NF4):
            rows = [row for row in self.rows.values() if row.size == size]
            for row in sorted(rows, key=lambda row: not row.ours):
                known = self.known(row)
                if not (build := self.found(row.name, "build") or known.get("build")):
                    continue
                found: dict[str, Any] = {"row": row.name, "size": size, "title": row.title}
                found |= {"ours": row.ours, "build": build} | self.size(row.name)
                if judged := self.judged(row.name):
                    found["perplexity"] = judged
                if answers := list(self.accuracy(row.name)):
                    found["accuracy"] = answers
                yield found | known

    def known(self, row: Row) -> dict[str, Any]:
        """What was found before of a row that the same command made; empty where nothing was."""
        fact = self.earlier.get(row.name)
        return fact if fact and fact["build"]["command"] == self.shown(self.line(row)) else {}

    def missing(self, name: str) -> list[str]:
        """What is asked for of a row and was not found before."""
        known = self.known(self.rows[name])
        return [what for what in self.options.measures if what not in known]

    def size(self, name: str) -> dict[str, Any]:
        """Bytes of a row's file and bits a weight, here or before."""
        keys = ("file_bytes", "bits_per_weight")
        if (self.work / name).exists():
            return inspected(self.folder(name), keys)
        return {key: self.earlier[name][key] for key in keys if name in self.earlier}

    def accuracy(self, name: str) -> Iterator[dict[str, Any]]:
        for row, compared in paired_answers(self.work / "runs", name):
            yield {
                "benchmark": row.benchmark,
                "scoring": row.scoring,
                "n": row.n,
                "accuracy": compared.accuracy_b,
                "dense": compared.accuracy_a,
                "difference": compared.difference,
                "interval": list(compared.interval),
                "flipped": compared.flipped,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", required=True, help="folder for models and measurements")
    parser.add_argument("-o", "--output", help="write OUTPUT.md and OUTPUT.json")
    parser.add_argument("--rows", nargs="*", help="only these; none: write what is there")
    parser.add_argument("--measures", nargs="*", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--limit", type=int, default=100, help="questions of each; 0: none")
    parser.add_argument("--num-samples", type=int, default=32, help="held-out sequences")
    parser.add_argument("--seed", type=int, default=0, help="of the calibration text")
    parser.add_argument("--scoring", default="text_per_byte")
    parser.add_argument("--benchmarks", nargs="*", default=list(BENCHMARKS))
    options = parser.parse_args()
    comparison = Comparison(options)
    names = list(comparison.rows) if options.rows is None else options.rows
    missing = {name: comparison.missing(name) for name in names}
    if any("accuracy" in measures for measures in missing.values()):
        comparison.measure("dense", ["accuracy"])  # what others' answers pair with
    for name, measures in missing.items():
        comparison.measure(name, measures)
    if facts := list(comparison.facts()):
        write(options, facts)


if __name__ == "__main__":
    main()
