"""The assistant's search on MedQuAD and ten times as much: speed, and what it finds beside bm25s.

    pip install -e '.[benchmark]' -c constraints.txt
    python benchmarks/retrieval.py --data DIR

Speed: the whole of MedQuAD is indexed; then ten times as much, the copies with other ids and with
the words of each line shuffled, so that none repeats another. Queries are questions of MedQuAD.

Found or not: the question of a row is the query, and no question is in the index, only topic, other
names and answer. bm25s (Lucene's BM25, English stemmer and stop words) gets the same passages,
title and names before the text, and the same questions, in turns. A row counts as found when a
passage of its answer, or of an answer with the same text, is there; a topic when a passage of any
answer on the same topic is. Columns are weighted by what did well on 500 other rows, seed 1.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from sqlite3 import sqlite_version
from typing import Any, TypeAlias

import bm25s
import numpy as np
import Stemmer
from compared import Silent, markdown_table

from galenic.data.jsonl import encode_gzip, read_jsonl, write_bytes
from galenic.evaluation.metrics import wilson_interval
from galenic.retrieval.documents.medquad import MedQuadRow, passages, read_answers
from galenic.retrieval.index import index_medquad
from galenic.retrieval.query import make_query
from galenic.retrieval.retrieve import WEIGHTS, Retriever, open_retriever
from galenic.retrieval.store import FileState, NewPassage, open_store

TIMES = 10
KEYS = ("recall@1", "recall@5", "recall@10", "mrr")
DEPTH = 100
"""Passages looked at for each question; times are for 5."""
RESULTS = Path(__file__).parents[1] / "results"
Units: TypeAlias = list[tuple[MedQuadRow, NewPassage]]
Lanes: TypeAlias = dict[str, Callable[[str, int], list[MedQuadRow]]]
Ranks: TypeAlias = dict[str, list[tuple[int | None, int | None]]]


@dataclass(frozen=True)
class Speed:
    rows: int
    passages: int
    index_s: float
    again_s: float
    file_mb: float
    p50_ms: float
    p95_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    answers = read_answers(flags.data)
    rng = random.Random(flags.seed)
    drawn = rng.sample(answers, flags.items)
    with tempfile.TemporaryDirectory() as folder:
        found = measure_quality(answers, drawn, Path(folder))
        questions = [answer.question for answer in drawn]
        once = measure_speed(flags.data, questions, Path(folder, "once.sqlite"))
        grown = write_copies(flags.data, Path(folder, "grown"), rng)
        more = measure_speed(grown, questions, Path(folder, "more.sqlite"))
    lay = sum(bool(make_query(question).added) for question in questions)
    write(
        flags, {"found": found, "lay": lay, "speed": {"1": asdict(once), str(TIMES): asdict(more)}}
    )


def measure_speed(data: Path, questions: Sequence[str], path: Path) -> Speed:
    began = time.perf_counter()
    summary = index_medquad(data, Silent(), path=path)
    index_s = time.perf_counter() - began
    began = time.perf_counter()
    index_medquad(data, Silent(), path=path)
    again_s = time.perf_counter() - began
    with open_retriever(path) as retriever:
        times = [1000 * timed(partial(retriever.search, q, 5))[1] for q in questions]
    size = path.stat().st_size / 1e6
    p50, p95 = np.percentile(times, [50, 95])
    rows = len(read_answers(data))
    return Speed(rows, summary.passages, index_s, again_s, size, float(p50), float(p95))


def write_copies(data: Path, folder: Path, rng: random.Random) -> Path:
    """MedQuAD and nine copies with the words of each line in another order."""
    rows = [row for _, row in read_jsonl(data / "medquad/medquad.jsonl.gz").rows()]

    def all_rows() -> Iterator[dict[str, Any]]:
        yield from rows
        for copy in range(1, TIMES):
            for row in rows:
                text = "\n".join(shuffled(line, rng) for line in row["answer"].split("\n"))
                yield {**row, "id": f"{row['id']}-copy-{copy}", "answer": text}

    write_bytes(folder / "medquad/medquad.jsonl.gz", encode_gzip(all_rows()))
    write_bytes(folder / "manifest.json", b'{"files": {}}')
    return folder


def shuffled(line: str, rng: random.Random) -> str:
    words = line.split()
    return " ".join(rng.sample(words, len(words)))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def measure_quality(
    answers: Sequence[MedQuadRow], drawn: Sequence[MedQuadRow], folder: Path
) -> dict[str, Any]:
    """Recall and MRR of both, question by question in turns."""
    path = folder / "blind.sqlite"
    units = blind_index(answers, path)
    with open_retriever(path) as retriever:
        return summarized(*take_turns(word_lanes(retriever, units), drawn))


def blind_index(answers: Sequence[MedQuadRow], path: Path) -> Units:
    """Passages without questions, which go into an index; each with its answer."""
    units = [
        (answer, replace(passage, question=""))
        for answer in answers
        for passage in passages(answer)
    ]
    with open_store(path, write=True) as store, store.batch():
        collection = store.collection("blind", "", "")
        store.put_file(collection, FileState("rows", 0, 0, ""), (unit for _, unit in units))
    return units


def word_lanes(retriever: Retriever, units: Units) -> Lanes:
    """Ours and bm25s."""
    owners = {answer.id: answer for answer, _ in units}
    peer = Peer([unit for _, unit in units])
    return {
        "galenic": lambda q, k: [owners[place] for place in places(retriever, q, k)],
        "bm25s": lambda q, k: [units[at][0] for at in peer.search(q, k)],
    }


def take_turns(lanes: Lanes, drawn: Sequence[MedQuadRow]) -> tuple[Ranks, dict[str, list[float]]]:
    """Ranks of row and topic, and seconds for 5 passages, of every lane and question."""
    ranks: Ranks = {name: [] for name in lanes}
    seconds: dict[str, list[float]] = {name: [] for name in lanes}
    for number, wanted in enumerate(drawn):
        for name in list(lanes)[:: 1 if number % 2 else -1]:
            _, took = timed(partial(lanes[name], wanted.question, 5))
            seconds[name].append(took)
            ranks[name].append(rank_of(wanted, lanes[name](wanted.question, DEPTH)))
    return ranks, seconds


def summarized(ranks: Ranks, seconds: dict[str, list[float]]) -> dict[str, Any]:
    return {
        name: {
            "row": scores([row for row, _ in ranks[name]]),
            "topic": scores([topic for _, topic in ranks[name]]),
            "p50_ms": 1000 * statistics.median(seconds[name]),
        }
        for name in ranks
    }


def places(retriever: Retriever, question: str, k: int) -> list[str]:
    return [passage.place.partition(",")[0] for passage in retriever.search(question, k)]


def rank_of(wanted: MedQuadRow, got: Sequence[MedQuadRow]) -> tuple[int | None, int | None]:
    """From 1, over different answers; None = not among them."""
    unique = list({answer.answer: answer for answer in got}.values())
    row = next((at for at, a in enumerate(unique, 1) if a.answer == wanted.answer), None)
    topic = next((at for at, a in enumerate(unique, 1) if a.topic == wanted.topic), None)
    return row, topic


def scores(ranks: Sequence[int | None]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(ranks)}
    for k in (1, 5, 10):
        hits = sum(rank is not None and rank <= k for rank in ranks)
        found[f"recall@{k}"] = [hits / len(ranks), *wilson_interval(hits, len(ranks))]
    reciprocal = np.array([1 / rank if rank else 0.0 for rank in ranks])
    resampled = np.random.default_rng(0).choice(reciprocal, (10_000, len(ranks))).mean(1)
    found["mrr"] = [float(reciprocal.mean()), *map(float, np.percentile(resampled, [2.5, 97.5]))]
    return found


class Peer:
    """bm25s as its README shows it."""

    def __init__(self, units: Sequence[NewPassage]) -> None:
        self.stemmer = Stemmer.Stemmer("english")
        texts = [" ".join((unit.title, unit.names, unit.text)) for unit in units]
        self.index = bm25s.BM25(method="lucene")
        self.index.index(self.tokens(texts), show_progress=False)

    def tokens(self, texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False)

    def search(self, question: str, k: int) -> list[int]:
        found, _ = self.index.retrieve(self.tokens([question]), k=k, show_progress=False)
        return [int(at) for at in found[0]]


def write(flags: argparse.Namespace, result: dict[str, Any]) -> None:
    command = f"python benchmarks/retrieval.py --data DIR --items {flags.items} --seed {flags.seed}"
    about = {
        "command": command,
        "seed": flags.seed,
        "n": flags.items,
        "weights": WEIGHTS,
        "versions": {
            "python": sys.version.split()[0],
            "sqlite": sqlite_version,
            **{name: version(name) for name in ("galenic", "bm25s", "PyStemmer", "numpy")},
        },
    }
    text = json.dumps({**about, **result}, indent=1) + "\n"
    (RESULTS / "retrieval.json").write_text(text, encoding="utf-8")
    page = markdown(about, result)
    (RESULTS / "retrieval.md").write_text(page, encoding="utf-8")
    print(page)


def found_rows(found: dict[str, Any]) -> list[list[str]]:
    return [
        [name, what, *(shown(lane[what][key]) for key in KEYS)]
        for name, lane in found.items()
        for what in ("row", "topic")
    ]


def shown(value: Sequence[float]) -> str:
    return "{:.3f} ({:.3f}-{:.3f})".format(*value)


def markdown(about: dict[str, Any], result: dict[str, Any]) -> str:
    once, more = (Speed(**speed) for speed in result["speed"].values())
    speed = [
        [f"{name} x", f"{s.rows:,}", f"{s.passages:,}", f"{s.index_s:.1f}", f"{s.again_s:.2f}",
         f"{s.file_mb:.0f}", f"{s.p50_ms:.1f}", f"{s.p95_ms:.1f}"]
        for name, s in (("1", once), (str(TIMES), more))
    ]  # fmt: skip
    ratio = result["found"]["galenic"]["p50_ms"] / result["found"]["bm25s"]["p50_ms"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return "\n".join([
        "# Search of the assistant", "",
        f"`{about['command']}` ({versions}).", "",
        "## What is found", "",
        f"{about['n']} rows of MedQuAD drawn with seed {about['seed']}; the row's question is the "
        "query, and no question is in the index: topic, other names and answer only. 95 % "
        "intervals (Wilson; MRR: bootstrap). `row`: the row's own answer; `topic`: any answer on "
        "its topic.",
        "", markdown_table(["search", "found", "recall@1", "recall@5", "recall@10", "MRR"],
                           found_rows(result["found"])),
        "", "bm25s has no columns. The weights of ours were chosen on 500 other rows (seed 1): "
        "with all weights 1 the two were alike (row, MRR 0.481 and 0.470), with these 0.529. "
        "Questions of MedQuAD name their topic and are made from templates, so this says little "
        f"of questions in everyday words; the table of those adds to {result['lay']} of these.",
        "", "## How fast", "",
        "Timed on two cores that were busy with other measurements: ratios count, seconds hardly. "
        f"{TIMES} x: MedQuAD and {TIMES - 1} copies, other ids, words of each line shuffled.", "",
        markdown_table(["MedQuAD", "rows", "passages", "index s", "unchanged s", "file MB",
                        "query p50 ms", "p95 ms"], speed),
        "", f"{TIMES} x over 1 x: index {more.index_s / once.index_s:.1f} x, file "
        f"{more.file_mb / once.file_mb:.1f} x, query p50 {more.p50_ms / once.p50_ms:.1f} x, p95 "
        f"{more.p95_ms / once.p95_ms:.1f} x. In turns with bm25s, which holds its index in memory "
        f"and gives row numbers only, the median query for 5 passages (with texts, snippets and "
        f"rights, from the file) takes {ratio:.1f} x its time.", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
