"""Synthetic run folders in the format of ``galenic evaluate``, for tests of what reads them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galenic.evaluation.records import Record, Timing

__all__ = ["OPTIONS", "write_run"]

OPTIONS = {
    "pubmedqa": ("yes", "no", "maybe"),
    "medqa_4options": tuple("ABCD"),
    "medqa_5options": tuple("ABCDE"),
    "medmcqa": tuple("ABCD"),
}
TITLES = {
    "pubmedqa": "PubMedQA",
    "medqa_4options": "MedQA (4 options)",
    "medqa_5options": "MedQA (5 options)",
    "medmcqa": "MedMCQA",
}
SPLITS = {"pubmedqa": "test", "medqa_4options": "test", "medqa_5options": "test"}


def write_run(
    folder: Path,
    *,
    benchmarks: Sequence[str] = ("medmcqa",),
    scorings: Sequence[str] = ("letter",),
    debias: str = "none",
    num_items: int = 40,
    skill: float = 1.0,
    position_bias: float = 0.5,
    seed: int = 0,
    keep: int | None = None,
    compress: bool = False,
    question: str = "Which drug is given for {benchmark} case {number}?",
    model: str = "tiny-model",
) -> Path:
    """Write a run folder and return it.

    Args:
        folder: made if missing.
        benchmarks: names from `OPTIONS`.
        scorings: ``generate`` gives records with text and without probabilities.
        debias: ``permutations`` adds rotations to the records of shown options.
        num_items: questions per benchmark; the same for every run, whatever the seed.
        skill: how far the right option's score is raised; 0 = chance.
        position_bias: how far the first shown option's score is raised; 20 = collapsed.
        seed: of the model's noise.
        keep: write only so many records, as a stopped run would.
        compress: write ``records.jsonl.gz``.
        question: template of the question text.
        model: name of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = [item for name in benchmarks for item in _items(name, num_items, question)]
    rng = np.random.default_rng(seed)
    records = [
        _record(item, scoring, debias, (skill, position_bias), rng)
        for item in items
        for scoring in scorings
    ]
    lines = [record.model_dump_json() for record in records[:keep]]
    _write_lines(folder / "records.jsonl", lines, compress)
    _write_lines(folder / "items.jsonl", [json.dumps(item) for item in items])
    timing = Timing(
        chunk=0,
        items=len(items),
        tokens_asked=9000,
        tokens_computed=3000,
        seconds=12.0,
        seconds_per_item=12.0 / len(items),
    )
    _write_lines(folder / "timings.jsonl", [timing.model_dump_json()])
    manifest = _manifest(benchmarks, scorings, debias, num_items, model)
    (folder / "run.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    return folder


def _items(benchmark: str, count: int, question: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(zlib.crc32(benchmark.encode()))
    labels = OPTIONS[benchmark]
    weights = np.arange(len(labels) + 2, 2, -1, dtype=np.float64)
    return [
        {
            "benchmark": benchmark,
            "id": f"{benchmark}-{number}",
            "question": question.format(benchmark=benchmark, number=number),
            "options": {
                label: label if benchmark == "pubmedqa" else f"option text {label}{number}"
                for label in labels
            },
            "answer": str(rng.choice(labels, p=weights / weights.sum())),
            "meta": {"topic": "pharmacology"},
        }
        for number in range(count)
    ]


def _record(
    item: dict[str, Any],
    scoring: str,
    debias: str,
    model: tuple[float, float],
    rng: np.random.Generator,
) -> Record:
    skill, position_bias = model
    labels = list(item["options"])
    gold = labels.index(item["answer"])
    content = rng.normal(size=len(labels)) + skill * (np.arange(len(labels)) == gold)
    base = {"benchmark": item["benchmark"], "id": item["id"], "scoring": scoring}
    if scoring == "generate":
        chosen = labels[int(content.argmax())] if rng.random() > 0.1 else None
        text = f"The answer is {chosen}." if chosen else "I cannot say."
        return Record(**base, gold=item["answer"], prediction=chosen, text=text)
    shown = debias == "permutations" and item["benchmark"] != "pubmedqa"
    turns = len(labels) if shown else 1
    rotations = []
    for r in range(turns):
        # Original option j stands at position (j - r) mod k.
        positions = (np.arange(len(labels)) - r) % len(labels)
        scores = content + position_bias * (positions == 0)
        rotations.append(_softmax(scores, labels))
    mean = {label: float(np.mean([row[label] for row in rotations])) for label in labels}
    return Record(
        **base,
        debias="permutations" if turns > 1 else "none",
        gold=item["answer"],
        prediction=max(mean, key=lambda label: mean[label]),
        probabilities=mean,
        loglikelihoods={label: float(np.log(value)) for label, value in rotations[0].items()},
        rotations=rotations if turns > 1 else [],
        truncated=bool(item["benchmark"] == "pubmedqa" and rng.random() < 0.05),
    )


def _softmax(scores: np.ndarray, labels: list[str]) -> dict[str, float]:
    weights = np.exp(scores - scores.max())
    return dict(zip(labels, map(float, weights / weights.sum()), strict=True))


def _manifest(
    benchmarks: Sequence[str], scorings: Sequence[str], debias: str, num_items: int, model: str
) -> dict[str, Any]:
    return {
        "format": 1,
        "command": f"galenic evaluate --model {model} --benchmarks {','.join(benchmarks)}",
        "config": {
            "model": model,
            "benchmarks": list(benchmarks),
            "scoring": list(scorings),
            "debias": debias,
            "num_fewshot": 0,
            "chat_template": False,
            "limit": num_items,
            "seed": 0,
        },
        "model": {
            "runtime": "echo",
            "engine": "echo 1.0",
            "model": model,
            "sha256": "ab" * 32,
            "architecture": "llama",
            "num_parameters": 134_515_008,
            "weights": "Q4_K_M",
            "context_length": 2048,
            "num_threads": 2,
        },
        "data": [
            {
                "benchmark": name,
                "title": TITLES[name],
                "split": SPLITS.get(name, "validation"),
                "num_items": num_items,
                "num_available": 1273,
                "file": f"{name}.jsonl.gz",
                "sha256": "cd" * 32,
                "version": 1,
            }
            for name in benchmarks
        ],
        "versions": {"galenic": "0.1.0", "python": "3.11.7", "numpy": "2.3.0"},
        "machine": {"processor": "test processor", "cores": 2},
        "created": "2026-01-02T03:04:05+00:00",
    }


def _write_lines(path: Path, lines: Sequence[str], compress: bool = False) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    if compress:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, mtime=0))
    else:
        path.write_bytes(content)
