"""What vectors add to the assistant's search, on the rows and by the metrics of `retrieval.py`.

    pip install -e '.[train,benchmark]' -c constraints.txt
    python benchmarks/retrieval_embeddings.py --data DIR --documents 5000

The index has all answers on the topics of the drawn rows, since these are what a row is easily
taken for, and others drawn at random. Nothing was chosen on any row: the 60 of the fusion is the
paper's, both rankings count alike, and title and text are embedded as they are.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from compared import Silent, markdown_table

from galenic.retrieval.documents.medquad import MedQuadRow, read_answers
from galenic.retrieval.embed import embed_index, find_encoder
from galenic.retrieval.retrieve import Retriever, open_retriever
from galenic.retrieval.store import FileState, NewPassage, open_store
from galenic.retrieval.vectors import Remembered, Vectors
from retrieval import (
    DEPTH,
    RESULTS,
    blind_index,
    found_rows,
    places,
    summarized,
    take_turns,
    timed,
    word_lanes,
)

BOTH = "galenic, with vectors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--embed", default="minilm", help="encoder")
    parser.add_argument("--documents", type=int, help="answers in the index; all by default")
    flags = parser.parse_args()
    answers = read_answers(flags.data)
    rng = random.Random(flags.seed)
    drawn = rng.sample(answers, flags.items)  # as `retrieval.py` draws them
    some = chosen(answers, drawn, flags.documents or len(answers), rng)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(some, drawn, Path(folder, "blind.sqlite"), flags.embed)
    write(flags, {"documents": len(some), **result, "nearest_50k_ms": time_nearest(50_000)})


def chosen(
    answers: Sequence[MedQuadRow], drawn: Sequence[MedQuadRow], number: int, rng: random.Random
) -> list[MedQuadRow]:
    """All on the topics of the drawn rows, and others, so many together if that is possible."""
    topics = {answer.topic for answer in drawn}
    others = [answer for answer in answers if answer.topic not in topics]
    left = max(0, number - (len(answers) - len(others)))
    kept = {answer.id for answer in rng.sample(others, min(left, len(others)))}
    return [answer for answer in answers if answer.topic in topics or answer.id in kept]


def measure(
    answers: Sequence[MedQuadRow], drawn: Sequence[MedQuadRow], path: Path, encoder: str
) -> dict[str, Any]:
    units = blind_index(answers, path)
    cost = embedded(path, encoder)
    owners = {answer.id: answer for answer in answers}
    with open_retriever(path, embeddings=False) as words, open_retriever(path) as both:
        both.search("zorb")  # loads the encoder
        lanes = word_lanes(words, units)
        lanes[BOTH] = lambda q, k: [owners[at] for at in places(both, q, k)]
        lanes["vectors alone"] = lambda q, k: [owners[at] for at in by_vectors(both, q, k)]
        ranks, seconds = take_turns(lanes, drawn)
    gained = {
        what: gain([pair[at] for pair in ranks[BOTH]], [pair[at] for pair in ranks["galenic"]])
        for at, what in enumerate(("row", "topic"))
    }
    return {"found": summarized(ranks, seconds), "gain": gained, **cost}


def embedded(path: Path, name: str) -> dict[str, Any]:
    """Give the passages vectors; how long that took."""
    encoder = find_encoder(name, Silent())
    before = path.stat().st_size
    began = time.perf_counter()
    number = embed_index(encoder, Silent(), path=path)
    seconds = time.perf_counter() - began
    more = path.stat().st_size - before
    return {"embedded": number, "embed_s": seconds, "bytes_a_passage": more / number}


def by_vectors(retriever: Retriever, question: str, k: int) -> list[str]:
    vector = retriever._vector(question)
    assert vector is not None
    query = "SELECT place FROM passages WHERE id = ?"
    rows = [row for row, _ in Vectors(retriever.connection).nearest(vector, k)]
    found = [retriever.connection.execute(query, (row,)).fetchone()[0] for row in rows]
    return [place.partition(",")[0] for place in found]


def time_nearest(number: int) -> float:
    """Median milliseconds of a look through so many vectors in an index file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with open_store(Path(folder, "many.sqlite"), write=True) as store, store.batch():
            texts = (NewPassage("", f"text {n}", "", "") for n in range(number))
            store.put_file(store.collection("c", "", ""), FileState("f", 0, 0, ""), texts)
            vectors = Vectors(store.connection)
            vectors.remember(Remembered("random", "", "", 384))
            made = rng.normal(size=(number, 384)).astype(np.float32) / 384**0.5
            vectors.put(vectors.missing(), made)
        with open_store(Path(folder, "many.sqlite")) as store:
            look = partial(Vectors(store.connection).nearest, made[0], DEPTH)
            return statistics.median(1000 * timed(look)[1] for _ in range(21))


def gain(ours: Sequence[int | None], before: Sequence[int | None]) -> list[float]:
    """Difference in MRR, question by question, with its 95 % interval (bootstrap)."""
    pairs = zip(ours, before, strict=True)
    differences = np.array([(1 / a if a else 0.0) - (1 / b if b else 0.0) for a, b in pairs])
    drawn = np.random.default_rng(0).choice(differences, (10_000, len(differences))).mean(1)
    return [float(differences.mean()), *map(float, np.percentile(drawn, [2.5, 97.5]))]


def write(flags: argparse.Namespace, result: dict[str, Any]) -> None:
    command = (
        f"python benchmarks/retrieval_embeddings.py --data DIR --items {flags.items} --seed "
        f"{flags.seed} --embed {flags.embed}"
        + (f" --documents {flags.documents}" if flags.documents else "")
    )
    packages = ("galenic", "bm25s", "numpy", "torch", "transformers")
    versions = {name: version(name) for name in packages}
    about = {"command": command, "n": flags.items, "seed": flags.seed, "versions": versions}
    text = json.dumps({**about, **result}, indent=1) + "\n"
    (RESULTS / "retrieval_embeddings.json").write_text(text, encoding="utf-8")
    page = markdown(about, result)
    (RESULTS / "retrieval_embeddings.md").write_text(page, encoding="utf-8")
    print(page)


def markdown(about: dict[str, Any], result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    row, topic = (
        "{:+.3f} ({:+.3f} to {:+.3f})".format(*result["gain"][what]) for what in ("row", "topic")
    )
    times = ", ".join(f"{name} {lane['p50_ms']:.0f} ms" for name, lane in result["found"].items())
    return "\n".join([
        "# Search with vectors", "",
        f"`{about['command']}` ({versions}), one thread.", "",
        f"As [retrieval.md](retrieval.md): {about['n']} rows of MedQuAD drawn with seed "
        f"{about['seed']}, no question in the index. The index has {result['documents']:,} answers "
        f"({result['embedded']:,} passages): all on the topics of the rows, and others drawn at "
        "random. Where it is not the whole of MedQuAD more is found than there would be, so lines "
        "of this table compare with each other only. Nothing was chosen on any row.", "",
        markdown_table(["search", "found", "recall@1", "recall@5", "recall@10", "MRR"],
                       found_rows(result["found"])),
        "", f"What vectors add to MRR, question by question: row {row}, topic {topic}. Questions "
        "of MedQuAD name their topic and are made from templates; of questions in everyday words "
        "this says little.",
        "", f"{1000 * result['embed_s'] / result['embedded']:.0f} ms to embed a passage, "
        f"{result['bytes_a_passage']:.0f} bytes of the file each. Median query for 5 passages: "
        f"{times}. A look through 50,000 vectors alone: {result['nearest_50k_ms']:.0f} ms. Another "
        "job ran beside it: ratios count.", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
