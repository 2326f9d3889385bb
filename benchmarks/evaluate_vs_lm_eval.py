"""Galenic against lm-evaluation-harness: same weights, same prompts, same items, in turns.

    pip install -e '.[train,benchmark]' -c constraints.txt
    python benchmarks/evaluate_vs_lm_eval.py --data DIR --items 24 --rounds 2

The harness runs its own `hf` model, float32 on the CPU, batch 8, and its own multiple-choice tasks
as `galenic export --to lm-eval` writes them, with the same prompts. Galenic runs its torch runtime
on the same folder. Loading is left out on both sides, tokenizing is in. What it prints: seconds,
the ratio, the share of items where both predict the same, and what part of the machine's
matrix-product speed was reached.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import yaml

from galenic.data.benchmarks.base import Benchmark, original_label, rotate
from galenic.data.example import Example
from galenic.data.sources import open_source
from galenic.evaluation.choice import run_chunk
from galenic.evaluation.plan import make_plan, sample
from galenic.evaluation.prompts import Prompter
from galenic.exporters.lm_eval import write_task
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.registry import BENCHMARKS, SCORINGS
from galenic.runtimes.torch import TorchRuntime

Lane = tuple[Benchmark, list[Example]]
Predictions = dict[tuple[str, str, int], str]


@dataclass(frozen=True)
class Case:
    name: str
    benchmarks: tuple[str, ...]
    scoring: str
    debias: str
    target: float


CASES = (
    Case(
        "letters, three sets",
        ("pubmedqa", "medqa_4options", "medqa_5options", "medmcqa"),
        "letter",
        "none",
        1.8,
    ),
    Case("option texts, MedQA-5", ("medqa_5options",), "text", "none", 4.0),
    Case("letters, 5 permutations, MedQA-5", ("medqa_5options",), "letter", "permutations", 5.0),
)


def turns(case: Case, benchmark: Benchmark, example: Example) -> list[Example]:
    count = benchmark.num_rotations(example) if case.debias == "permutations" else 1
    return [rotate(example, r) for r in range(count)]


def run_galenic(
    runtime: TorchRuntime, case: Case, lanes: list[Lane]
) -> tuple[Predictions, float, int, int]:
    start = time.perf_counter()
    scoring = SCORINGS.load(case.scoring)()
    asked = [(Prompter(benchmark, scoring), examples) for benchmark, examples in lanes]
    plan = make_plan(runtime, asked, case.debias, max_tokens=1)
    predictions: Predictions = {}
    tokens_asked = computed = 0
    for chunk in plan.chunks:
        records, work = run_chunk(runtime, chunk, debias=case.debias, max_tokens=1, seed=0)
        tokens_asked, computed = tokens_asked + work.tokens_asked, computed + work.tokens_computed
        for record in records:
            for r, shares in enumerate(record.rotations or [record.probabilities]):
                predictions[record.benchmark, record.id, r] = max(shares, key=shares.__getitem__)
    return predictions, time.perf_counter() - start, tokens_asked, computed


def run_harness(model: Any, case: Case, lanes: list[Lane], room: Path) -> tuple[Predictions, float]:
    """The harness's own multiple-choice task over the same prompts."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    tasks, asked = [], {}
    for benchmark, examples in lanes:
        turned = {}
        for example in examples:
            for r, turn in enumerate(turns(case, benchmark, example)):
                turned[f"{example.id}, turn {r}"] = (example, r, turn)
        questions = tuple(replace(turn, id=name) for name, (_, _, turn) in turned.items())
        task = write_task(room, benchmark, case.scoring, questions)
        config = yaml.safe_load((room / f"{task}.yaml").read_text(encoding="utf-8"))
        tasks.append(ConfigurableTask(config=config))
        asked[task] = (benchmark.name, turned)
    start = time.perf_counter()
    result = lm_eval.simple_evaluate(
        model=model, tasks=tasks, log_samples=True, bootstrap_iters=0, verbosity="ERROR"
    )
    seconds = time.perf_counter() - start
    predictions: Predictions = {}
    for task, samples in result["samples"].items():
        name, turned = asked[task]
        for one in samples:
            values = [float(response[0]) for response in one["filtered_resps"]]
            example, r, turn = turned[one["doc"]["id"]]
            label = list(turn.options)[values.index(max(values))]
            predictions[name, example.id, r] = original_label(list(example.options), label, r)
    return predictions, seconds


def matrix_peak(rows: int = 768, width: int = 2048) -> float:
    """Best float32 matrix product of this machine in GFLOP/s, through the same library."""
    x, w = torch.randn(rows, width), torch.randn(width, width)
    best = 0.0
    for _ in range(20):
        start = time.perf_counter()
        torch.nn.functional.linear(x, w)
        best = max(best, 2 * rows * width * width / (time.perf_counter() - start) / 1e9)
    return best


def measure(
    case: Case, lanes: list[Lane], runtime: TorchRuntime, harness: Any, rounds: int
) -> None:
    """Run both in turns and print what each round took."""
    body = runtime.info.num_parameters - runtime._model.get_input_embeddings().weight.numel()
    ratios, reached = [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as room:
            theirs, slow = run_harness(harness, case, lanes, Path(room))
        peak = matrix_peak()
        ours, fast, asked, computed = run_galenic(runtime, case, lanes)
        same = sum(ours[key] == theirs[key] for key in theirs) / len(theirs)
        ratios.append(slow / fast)
        reached.append(2 * body * computed / fast / 1e9 / peak)
        print(
            f"  {case.name}, round {number + 1}: lm-eval {slow:.1f} s, galenic {fast:.1f} s "
            f"({slow / fast:.2f} x), {asked:,} tokens asked, {computed:,} computed, "
            f"{computed / fast:.0f} tokens/s = {reached[-1]:.0%} of the measured peak of "
            f"{peak:.0f} GFLOP/s; same prediction {same:.1%} of {len(theirs)}"
        )
    print(
        f"{case.name}: {statistics.median(ratios):.2f} x (target {case.target} x), "
        f"{statistics.median(reached):.0%} of the matrix peak"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=24, help="items a benchmark")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)

    from lm_eval.models.huggingface import HFLM

    files = resolve_model(options.model)
    folder = files.path
    if files.kind == "gguf":
        from galenic.models.gguf.dequantize import dequantized_folder

        folder = dequantized_folder(files)
    runtime = TorchRuntime(
        ModelFiles(files.name, "folder", folder, files.sha256), threads=options.threads
    )
    harness = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=8)
    source = open_source(options.data)
    print(
        f"{files.name} float32, {options.items} items a benchmark, {options.threads} threads, "
        f"lm-eval {version('lm-eval')} batch 8, torch {torch.__version__}, "
        f"transformers {version('transformers')}, {torch.backends.cpu.get_cpu_capability()}, "
        f"python {platform.python_version()}"
    )
    for case in CASES:
        lanes: list[Lane] = []
        for name in case.benchmarks:
            benchmark = BENCHMARKS.load(name)
            lanes.append((benchmark, sample(source.load(benchmark).examples, options.items, 0)))
        measure(case, lanes, runtime, harness, options.rounds)


if __name__ == "__main__":
    main()
