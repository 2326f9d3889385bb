"""Write training questions with their answers as calibration text, for `galenic quantize --text`.

    python benchmarks/exam_text.py --data DIR -o exams.txt
    python benchmarks/exam_text.py --data DIR --letters medmcqa=600,medqa_4options=150 -o exams.txt

450 of PubMedQA's training folds (the tenth is held out, as in `galenic finetune`), 150 of MedMCQA's
training set and 100 of MedQA's, each the prompt that `galenic evaluate` asks and the right option's
text, in random order (seed 0). With --letters as many as it says, each answered by its letter. No
test question is among them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

from galenic.data.example import Example
from galenic.errors import UserError
from galenic.training.sources import read_training

COUNTS = {"pubmedqa": 450, "medmcqa": 150, "medqa_4options": 100}


def exam_text(data: Path, counts: Mapping[str, int], *, letters: bool = False) -> str:
    """Return the questions as paragraphs, separated by empty lines.

    Args:
        data: folder with the data sets.
        counts: number of questions by benchmark.
        letters: answer by the option's letter instead of its text.

    Raises:
        UserError: a file is missing, damaged or invalid.
    """
    found = []
    for one in read_training(",".join(f"{name}:options" for name in counts), data):
        benchmark = one.benchmark
        if benchmark is None:
            raise UserError(f"{one.name} has no prompt.")
        found += [
            f"{benchmark.prompt(row)} {row.answer if letters else row.options[row.answer]}".replace(
                "\n\n", "\n"
            )
            for row in one.train[: counts[benchmark.name]]
            if isinstance(row, Example)
        ]
    random.Random(0).shuffle(found)
    return "\n\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--letters", metavar="NAME=COUNT,...", help="answer by letter")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    letters = dict(part.split("=") for part in (arguments.letters or "").split(",") if part)
    counts = {name: int(count) for name, count in letters.items()} or COUNTS
    try:
        text = exam_text(arguments.data, counts, letters=bool(letters))
    except UserError as error:
        parser.error(str(error))
    arguments.output.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
