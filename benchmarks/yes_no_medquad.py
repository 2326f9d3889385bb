"""An exam of 200 yes/no questions on MedQuAD's answers, in PubMedQA's form: is a passage read?

    python benchmarks/yes_no_medquad.py --data DIR -o yes_no_medquad_exam.jsonl
    galenic evaluate MODEL --benchmarks yes_no_medquad_exam.jsonl --scoring text_per_byte

A model tuned on PubMedQA may learn to read, or only to say "yes". This is a second source, with as
many "no" as "yes". Galenic's macro-F1 runs over yes, no and maybe, and "maybe" is never right here:
always "yes" has accuracy .5 and macro-F1 .222, all right has .667.

Who wrote it, and how: developers of Galenic, with an AI model as the writer, before any model was
asked; no clinician wrote or reviewed a question. Rows of MedQuAD were drawn by seed 25 over its
nine sources and their types of questions, from the tenth of the topics that Galenic's training on
MedQuAD leaves out (``read_medquad(folder, "heldout")``). Each passage was read, and a question
written that it answers; "no" means that the passage says the opposite or denies it, not that it is
silent. Of 233 questions 33 were left out, those that general knowledge answers first; some 75 were
reworded or turned until a bag of words no longer told the answers (logistic regression, ten folds:
about .5 of 200). Some are still likelier "yes" or "no" to one who knows medicine.

``yes_no_medquad.jsonl`` holds no text of MedQuAD (CC BY 4.0; Ben Abacha and Demner-Fushman, BMC
Bioinformatics 20:511, 2019): rows are named by their ids in ``DIR/medquad/medquad.jsonl.gz``. The
exam that is written does. A passage is the beginning of the answer, whole sentences of at most
`MOST_WORDS` words, which holds what answers the question.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.data.calibration import read_medquad
from galenic.data.jsonl import read_jsonl, write_bytes
from galenic.errors import UserError

QUESTIONS = Path(__file__).with_suffix(".jsonl")
OPTIONS = {word: word for word in ("yes", "no", "maybe")}
"""As in PubMedQA, whose prompt an exam with these options gets."""
MOST_WORDS = 200
"""Abstracts of PubMedQA have about 200 words."""
_END = re.compile(r"(?<![A-Z]\.)(?<=[.!?])[\"')\]]?(?=\s+(?:[A-Z0-9(\"'“]|[-–•*]\s))")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder with medquad/ in it.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Exam file to write.")
    args = parser.parse_args()
    try:
        rows = exam(args.data)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_bytes(args.output, text.encode())
    except (UserError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{args.output}: {len(rows)} questions")


def questions() -> list[dict[str, str]]:
    """Return the questions as committed: id, id of MedQuAD's row, question and answer."""
    return [row for _, row in read_jsonl(QUESTIONS).rows()]


def exam(data: Path) -> list[dict[str, Any]]:
    """Join the questions with their passages into rows of an exam.

    Args:
        data: folder with ``medquad/medquad.jsonl.gz`` in it.

    Raises:
        UserError: MedQuAD is missing or damaged, or lacks a row that is named.
    """
    answers = {pair.id: pair.answer for pair in read_medquad(data, "all")[1]}
    return [_row(one, answers, data) for one in questions()]


def passage(answer: str, most: int = MOST_WORDS) -> str:
    """Cut a text after the last whole sentence within so many words; white space is collapsed.

    A first sentence that is longer is cut between words.
    """
    text = " ".join(answer.split())
    if len(text.split()) <= most:
        return text
    ends = [m.end() for m in _END.finditer(text) if len(text[: m.end()].split()) <= most]
    return text[: ends[-1]] if ends else " ".join(text.split()[:most])


def _row(one: Mapping[str, str], answers: Mapping[str, str], data: Path) -> dict[str, Any]:
    if one["medquad"] not in answers:
        raise UserError(
            f"{data} has no row {one['medquad']!r} of MedQuAD, which {one['id']} of "
            f"{QUESTIONS.name} asks about: the ids are those of another copy."
        )
    return {
        "id": one["id"],
        "medquad": one["medquad"],
        "context": passage(answers[one["medquad"]]),
        "question": one["question"],
        "options": OPTIONS,
        "answer": one["answer"],
    }


if __name__ == "__main__":
    main()
