"""Synthetic study folders in the format of ``galenic study``, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.evaluation.config import EvaluateConfig
from galenic.study.graph import Cell, Graph, Node
from galenic.study.store import NodeFailure, StudyFolder
from runs import write_run

__all__ = ["BENCHMARKS", "SCORINGS", "write_study"]

BENCHMARKS = ("pubmedqa", "medmcqa")
SCORINGS = ("letter", "text_per_byte")
SKILLS = {"dense": 1.0, "pruned": 0.2, "small": 0.3}
SIZES = {"dense": 500_000_000, "pruned": 400_000_000, "small": 70_000_000}
RECIPE = "name: {}\ndescription: d\nstages:\n- {{stage: prune, method: wanda}}\n"


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value * 0.9, "high": value * 1.1}


def spread(value: float) -> dict[str, float]:
    return {"median": value, "low": value * 0.9, "high": value * 1.1}


def perplexity(value: float, kl: float | None) -> dict[str, Any]:
    return {
        "model": {"perplexity": estimate(value)},
        "perplexity_per_reference_token": None if kl is None else estimate(value),
        "perplexity_ratio": None if kl is None else estimate(value / 10),
        "kl": None if kl is None else {"mean": estimate(kl)},
    }


def speed(tokens: float) -> dict[str, Any]:
    names = ("prefill", "decode", "first_token_ms", "peak_rss")

    def measured(value: float) -> dict[str, Any]:
        found = {name: spread(value * (1e6 if name == "peak_rss" else 1)) for name in names}
        return {"measures": found, "runtime": "llama"}

    ratios = {name: spread(1.25) for name in names}
    return {"model": measured(tokens), "reference": measured(tokens / 1.25), "ratios": ratios}


def size(name: str) -> dict[str, Any]:
    return {"file_bytes": SIZES[name], "bits_per_weight": 4.5, "parameters": {"total": 10**8}}


def write_study(
    folder: Path,
    *,
    failing: str | None = None,
    question: str = "Which drug is not given for {benchmark} case {number}?",
    titles: Mapping[str, str] | None = None,
    num_items: int = 40,
) -> StudyFolder:
    """Write a study of a dense model, a pruned one, and that quantized.

    Args:
        folder: made if missing.
        failing: name of a row whose answers are not there and whose first node failed.
        question: of every item.
        titles: of rows, by name.
        num_items: questions a benchmark.
    """
    store = StudyFolder(folder)
    nodes: dict[str, Node] = {}
    cells = []
    before: tuple[str, ...] = ()
    for name in SKILLS:
        made = None
        if name != "dense":
            node = Node("stage", name, f"make {name}", before, {}, 10)
            nodes[node.id] = node
            store.node(node.id).begin(node)
            store.node(node.id).finish({"model": "m", **size(name)})
            made, before = node.id, (node.id,)
        cells.append(_cell(store, nodes, name, made, (titles or {}).get(name, name)))
        _answer(store, cells[-1], name, failing == name, question, num_items)
    baseline = {
        "benchmark": "pubmedqa", "title": "PubMedQA", "split": "test", "n": 500, "majority": "yes",
        "accuracy": 0.552, "weighted_precision": 0.3047, "weighted_recall": 0.552,
        "weighted_f1": 0.3927, "macro_f1": 0.2371, "uniform": 0.3333, "file": "f", "sha256": "0",
    }  # fmt: skip
    config = EvaluateConfig.model_validate({"model": "-", "scoring": SCORINGS})
    facts = {
        "name": "synthetic",
        "description": "Made by a test.",
        "command": "galenic study synthetic -o out",
        "evaluate": config.model_dump(mode="json", exclude={"model", "data", "threads"}),
        "versions": {"galenic": "0"},
    }
    store.write(facts, Graph(nodes, tuple(cells), {"org/model": size("dense")}, [baseline]))
    return store


def _cell(
    store: StudyFolder, nodes: dict[str, Node], name: str, made: str | None, title: str
) -> Cell:
    needs = () if made is None else (made,)
    answers: dict[str, dict[str, str]] = {}
    for benchmark in BENCHMARKS:
        for scoring in SCORINGS:
            key = f"{name[0]}{benchmark[0]}{scoring[0]}"
            node = Node("answers", key, f"{name}: {benchmark} {scoring}", needs, {}, 10)
            nodes[node.id] = node
            answers.setdefault(benchmark, {})[scoring] = node.id
    judged: dict[str, str | None] = {"speed": None}  # the dense model is timed beside others
    for kind in ("perplexity", "speed") if made else ("perplexity",):
        node = Node(kind, name, f"{name}: {kind}", needs, {}, 10)
        nodes[node.id] = node
        store.node(node.id).begin(node)
        judged[kind] = node.id
    recipe = "" if made is None else RECIPE.format(name)
    measured = (judged["perplexity"], judged["speed"])
    words = Node("answers", f"{name[0]}words", f"{name}: words", needs, {}, 10)
    nodes[words.id] = words
    return Cell(name, title, "org/model", made, answers, *measured, {"medmcqa": words.id}, recipe)


def _answer(
    store: StudyFolder, cell: Cell, name: str, fails: bool, question: str, num_items: int
) -> None:
    for benchmark, by_scoring in cell.answers.items():
        for number, (scoring, node_id) in enumerate(by_scoring.items()):
            folder = store.node(node_id)
            if fails:
                if not number:
                    folder.fail(NodeFailure("user", f"{name} cannot <answer>"))
                continue
            write_run(
                folder.path / "run",
                benchmarks=[benchmark],
                scorings=[scoring],
                num_items=num_items,
                skill=SKILLS[name],
                position_bias=30 if name == "pruned" and scoring == "letter" else 0.5,
                seed=len(name) + number,
                question=question,
            )
            folder.finish({"run": "run", "records": num_items})
    words = store.node(cell.explanations["medmcqa"])
    write_run(words.path / "run", scorings=["generate"], num_items=3)
    words.finish({"run": "run", "records": 3})
    store.node(cell.perplexity or "").finish(
        {"perplexity": perplexity(10 + 5 * SKILLS[name], None if name == "dense" else 0.25)}
    )
    if cell.speed is not None:
        store.node(cell.speed).finish({"speed": speed(100 * SKILLS[name])})
