"""lm-evaluation-harness through `galenic serve` against `galenic evaluate` in process.

    pip install -e '.[benchmark]' -c constraints.txt
    nice python benchmarks/harness_server.py --data DIR --items 134 -o results/harness_server.md

The harness's own `local-completions` model asks `/v1/completions` of a server in a process of its
own (echo, logprobs, the server's own tokenizer); its multiple-choice tasks are those that
`galenic export --to lm-eval` writes, so both sides see the same prompts. Both use the llama runtime
on one GGUF with the same number of threads, one after the other. Loading is left out on both sides,
tokenizing is in. What is written: answers that agree, the largest difference of a log-likelihood,
every question where they differ, and the seconds of both: of the processor, which other programs
change little (those of the server and of the harness added up), and by the clock.

One set after the other; with ``-o`` what came of a set is noted in ``.jsonl`` beside it, and the
same command goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import psutil
import yaml

from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.data.sources import open_source
from galenic.evaluation.choice import run_chunk
from galenic.evaluation.plan import make_plan, sample
from galenic.evaluation.prompts import Prompter
from galenic.exporters.lm_eval import write_task
from galenic.models.load import resolve_model
from galenic.registry import BENCHMARKS, SCORINGS
from galenic.runtimes.llama import LlamaRuntime

Lane = tuple[Benchmark, list[Example]]
SETS = ("medmcqa", "medqa_4options", "pubmedqa")


@dataclass(frozen=True)
class Answer:
    """What one side says to a question: log-likelihoods by label, the highest is the answer."""

    values: dict[str, float]

    @property
    def label(self) -> str:
        return max(self.values, key=self.values.__getitem__)

    @property
    def lead(self) -> float:
        first, second = sorted(self.values.values(), reverse=True)[:2]
        return first - second


Answers = dict[tuple[str, str], Answer]


@dataclass(frozen=True)
class Took:
    """Seconds of the processor and by the clock."""

    computing: float
    clock: float

    @staticmethod
    def now(process: psutil.Process | None = None) -> Took:
        own = sum(psutil.Process().cpu_times()[:2])
        other = sum(process.cpu_times()[:2]) if process else 0.0
        return Took(own + other, time.perf_counter())

    def since(self, start: Took) -> Took:
        return Took(self.computing - start.computing, self.clock - start.clock)

    def __add__(self, other: Took) -> Took:
        return Took(self.computing + other.computing, self.clock + other.clock)


def run_galenic(
    model: str, lanes: list[Lane], scoring: str, threads: int
) -> tuple[Answers, Took, str]:
    with LlamaRuntime(resolve_model(model), threads=threads) as runtime:
        runtime.generate("Warm up")
        start = Took.now()
        asked = [(Prompter(one, SCORINGS.load(scoring)()), examples) for one, examples in lanes]
        plan = make_plan(runtime, asked, "none", max_tokens=1)
        found: Answers = {}
        for chunk in plan.chunks:
            records, _ = run_chunk(runtime, chunk, debias="none", max_tokens=1, seed=0)
            for record in records:
                found[record.benchmark, record.id] = Answer(record.loglikelihoods)
        return found, Took.now().since(start), runtime.info.engine


@contextmanager
def served(model: str, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    call = "from galenic.cli.main import main; main()"
    line = ["serve", "--model", model, "--port", str(port), "--threads", str(threads)]
    line += ["--max-bytes", str(1 << 24), "--max-seconds", "3000"]
    process = subprocess.Popen([sys.executable, "-c", call, *line])
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"{address}/v1/completions", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def run_harness(
    model: str, lanes: list[Lane], scoring: str, threads: int, batch: int
) -> tuple[Answers, Took]:
    """The harness's own model and multiple-choice tasks, over HTTP."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)  # else it reads thousands of tasks in the time
    with tempfile.TemporaryDirectory() as room, served(model, threads) as (address, server):
        tasks, asked = [], {}
        for benchmark, examples in lanes:
            name = write_task(Path(room), benchmark, scoring, tuple(examples))
            config = yaml.safe_load((Path(room) / f"{name}.yaml").read_text(encoding="utf-8"))
            tasks.append(ConfigurableTask(config=config))
            asked[name] = (benchmark.name, {one.id: one for one in examples})
        start = Took.now(server)
        result = lm_eval.simple_evaluate(
            model="local-completions",
            model_args={"model": model, "base_url": address, "timeout": 3000},
            tasks=tasks,
            task_manager=manager,
            batch_size=batch,
            log_samples=True,
            bootstrap_iters=0,
            verbosity="ERROR",
        )
        seconds = Took.now(server).since(start)
    found: Answers = {}
    for task, samples in result["samples"].items():
        benchmark_name, examples_by_id = asked[task]
        for one in samples:
            values = [float(response[0]) for response in one["filtered_resps"]]
            example = examples_by_id[one["doc"]["id"]]
            labels = list(example.options)
            found[benchmark_name, example.id] = Answer(dict(zip(labels, values, strict=True)))
    return found, seconds


def report(ours: Answers, theirs: Answers, fast: Took, slow: Took, head: list[str]) -> str:
    """The table and every difference."""
    lines = [
        *head,
        "",
        "| set | questions | same answer | largest difference, nats |",
        "|---|---|---|---|",
    ]
    for name in (*SETS, "all"):
        keys = [key for key in ours if name in (key[0], "all")]
        same = sum(ours[key].label == theirs[key].label for key in keys)
        apart = max(
            abs(ours[key].values[label] - theirs[key].values[label])
            for key in keys
            for label in ours[key].values
        )
        lines.append(f"| {name} | {len(keys)} | {same} ({same / len(keys):.2%}) | {apart:.1e} |")
    lines += [
        "",
        f"Processor seconds: in process {fast.computing:.0f}, harness and server "
        f"{slow.computing:.0f}: {slow.computing / fast.computing:.2f} x. By the clock "
        f"{fast.clock:.0f} and {slow.clock:.0f}: {slow.clock / fast.clock:.2f} x.",
        "",
    ]
    for key in ours:
        if ours[key].label != theirs[key].label:
            lines.append(
                f"- {key[0]} {key[1]}: {ours[key].label} in process, {theirs[key].label} by the "
                f"harness; the two likeliest are {ours[key].lead:.1e} and {theirs[key].lead:.1e} "
                "nats apart"
            )
    return "\n".join(lines) + "\n"


def _measure(given: argparse.Namespace, lane: Lane) -> dict[str, Any]:
    """What both sides say to one set, as it is noted."""
    ours, fast, engine = run_galenic(given.model, [lane], given.scoring, given.threads)
    theirs, slow = run_harness(given.model, [lane], given.scoring, given.threads, given.batch)
    row = {"of": _of(given, lane[0].name), "engine": engine}
    row |= {"fast": asdict(fast), "slow": asdict(slow)}
    for side, answers in (("ours", ours), ("theirs", theirs)):
        row[side] = {key: answer.values for (_, key), answer in answers.items()}
    if given.output:
        with given.output.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


def _noted(given: argparse.Namespace, name: str) -> dict[str, Any] | None:
    """What a run before this one has noted of a set."""
    path = given.output and given.output.with_suffix(".jsonl")
    rows = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
    found: list[dict[str, Any]] = [json.loads(row) for row in rows]
    return next((row for row in found if row["of"] == _of(given, name)), None)


def _of(given: argparse.Namespace, name: str) -> list[Any]:
    return [name, given.model, given.items, given.scoring, given.threads, given.batch]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--items", type=int, default=134)
    parser.add_argument("--scoring", default="letter")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    source = open_source(given.data)
    ours: Answers = {}
    theirs: Answers = {}
    fast = slow = Took(0.0, 0.0)
    engine = ""
    for name in SETS:
        row = _noted(given, name)
        if row is None:
            benchmark = BENCHMARKS.load(name)
            lane = (benchmark, sample(source.load(benchmark).examples, given.items, 0))
            row = _measure(given, lane)
        for side, known in (("ours", ours), ("theirs", theirs)):
            known |= {(name, key): Answer(values) for key, values in row[side].items()}
        fast, slow, engine = fast + Took(**row["fast"]), slow + Took(**row["slow"]), row["engine"]
    head = [
        f"{given.model}, {given.items} questions a set, scoring {given.scoring}, "
        f"{given.threads} thread(s), lm-eval {version('lm-eval')} local-completions, batches of "
        f"{given.batch}, {engine}, Python {platform.python_version()}.",
    ]
    text = report(ours, theirs, fast, slow, head)
    print(text)
    if given.output:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
