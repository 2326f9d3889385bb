"""Pair the answers of two models over several runs; a question that was asked twice counts once.

    python benchmarks/pooled.py --before A1.jsonl.gz A2.jsonl.gz --after B1.jsonl.gz B2.jsonl.gz

The files are ``records.jsonl`` of `galenic evaluate`, plain or gzip. Printed for each benchmark,
and for all together: n, majority, accuracy of both, paired difference with its 95 % interval
(Newcombe), exact McNemar test, answers that differ, macro-F1 and the predictions.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Sequence
from pathlib import Path

from compared import markdown_table

from galenic.evaluation.compare import ALL, compare_pairs, pair_records, pool_groups
from galenic.evaluation.metrics import accuracy, classification, majority_baseline
from galenic.evaluation.records import Record

HEAD = [
    "benchmark", "n", "majority", "before", "after", "difference (95 %)", "McNemar p", "lost/won",
    "flipped", "macro-F1", "predictions before", "predictions after",
]  # fmt: skip


def read(files: Sequence[Path]) -> list[Record]:
    """The records of all files; of a question that is there twice, the first."""
    found: dict[tuple[str, str, str], Record] = {}
    for file in files:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = Record.model_validate_json(line)
                found.setdefault(record.key, record)
    return list(found.values())


def table(before: list[Record], after: list[Record]) -> list[list[str]]:
    """A row for each benchmark, and one for all."""
    groups = pair_records(before, after).groups
    rows = [_row(pairs) for pairs in groups.values()]
    if len(groups) > 1:
        rows += [_row(pairs, pooled=True) for pairs in pool_groups(groups).values()]
    return rows


def _row(pairs: Sequence[tuple[Record, Record]], *, pooled: bool = False) -> list[str]:
    found = compare_pairs(pairs, ALL if pooled else None)
    low, high = found.interval
    labels = sorted({label for one, _ in pairs for label in one.probabilities})
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    scores = [classification(side, labels) for side in sides]
    counts = [
        " / ".join(f"{label} {sum(one.prediction == label for one in side)}" for label in labels)
        for side in sides
    ]
    return [
        found.benchmark,
        str(found.n),
        "–" if pooled else f"{accuracy(majority_baseline(sides[0], labels)):.3f}",
        f"{found.accuracy_a:.3f}",
        f"{found.accuracy_b:.3f}",
        f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f})",
        f"{found.p_value:.2g}",
        f"{len(found.a_wins)}/{len(found.b_wins)}",
        f"{found.flipped:.3f}",
        "–" if pooled else f"{scores[0].macro_f1:.3f} to {scores[1].macro_f1:.3f}",
        *(["", ""] if pooled else counts),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", nargs="+", type=Path, required=True)
    parser.add_argument("--after", nargs="+", type=Path, required=True)
    options = parser.parse_args()
    print(markdown_table(HEAD, table(read(options.before), read(options.after))))


if __name__ == "__main__":
    main()
