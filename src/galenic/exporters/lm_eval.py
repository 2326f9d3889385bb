"""Exporter for lm-evaluation-harness: a folder for its ``hf`` model, and our benchmarks as tasks.

The harness's own tasks for these benchmarks use other prompts or fail on current datasets (its
issues 3645 and 4158). The tasks written here contain our exact prompts, so that both programs can
be compared on the same questions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import yaml

from galenic.data.benchmarks.base import Benchmark
from galenic.data.benchmarks.select import resolve_benchmarks
from galenic.data.example import Example
from galenic.data.sources import open_source
from galenic.exporters.base import Exporter, ExportJob, as_folder
from galenic.registry import SCORINGS

__all__ = ["LmEval", "write_task"]

MODEL, TASKS = "model", "tasks"
SCORED = ("letter", "text")
"""Scorings that the harness supports; it cannot normalise by bytes without the leading space."""


class LmEval(Exporter):
    """Writes a model folder, and a task with its questions for each benchmark and scoring."""

    name = "lm-eval"
    title = "folder and tasks for lm-evaluation-harness"
    reference_url = "https://github.com/EleutherAI/lm-evaluation-harness"

    def write(self, job: ExportJob, folder: Path) -> str:
        (folder / MODEL).mkdir()
        (folder / TASKS).mkdir()
        as_folder(job, folder / MODEL)
        source = open_source(_source(job.data))
        names = []
        for benchmark in resolve_benchmarks(["all"]):
            dataset = source.load(benchmark)
            for scoring in SCORED:
                names.append(
                    write_task(folder / TASKS, dataset.benchmark, scoring, dataset.examples)
                )
        return (
            "lm_eval --model hf --model_args pretrained=FOLDER/model,dtype=float32 "
            f"--include_path FOLDER/tasks --tasks {','.join(names)}"
        )


def _source(data: str | None) -> Path | Literal["sample"] | None:
    if data is None or data == "sample":
        return data  # type: ignore[return-value]
    return Path(data)


def write_task(
    folder: Path, benchmark: Benchmark, scoring: str, examples: tuple[Example, ...]
) -> str:
    """Write one task, ``NAME.yaml``, with its questions in ``NAME.jsonl``.

    Args:
        folder: folder to write to.
        benchmark: defines the prompts.
        scoring: one of `SCORED`.
        examples: the questions; their ids appear in the harness's output.

    Returns:
        Name of the task.
    """
    name = f"galenic_{benchmark.name}_{scoring}"
    continuation = SCORINGS.load(scoring)().continuation
    file = folder / f"{name}.jsonl"
    rows = (
        {
            "id": example.id,
            "prompt": benchmark.prompt(example),
            "choices": [continuation(example, label) for label in example.options],
            "gold": list(example.options).index(example.answer),
        }
        for example in examples
    )
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
        "metadata": {"version": benchmark.version},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
    return name
