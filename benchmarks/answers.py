"""The assistant's answers: when it abstains, from where it answers, and what the model adds.

    python benchmarks/answers.py --data DIR --model smollm2-135m -o results/answers

- Off topic: questions that no health text answers, written for this script after the threshold
  was set: the assistant should abstain. On topic: the vignettes of triage that are no emergency.
- From where: questions of MedQuAD (rows drawn by seed), none of which is in the index, only topic,
  other names and answers. Right when a sentence of the answer, or the first one, is from an answer
  on the same topic; with the model ordering, and without a model.
- Second opinion: the share of texts that the model would raise to `today`, among the vignettes that
  are for today or an emergency and among those that are not, by split. The threshold was set on
  ``development``.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import Silent, markdown_table
from galenic.assistant.answer.order import NEAR
from galenic.assistant.consult import LEAST_SUPPORT, Assistant, Reply, collect, make_question

from galenic.assistant.model import load_runtime
from galenic.assistant.search.documents.medquad import Answer, passages, read_answers
from galenic.assistant.search.index import index_medquad
from galenic.assistant.search.store import FileState, open_store
from galenic.assistant.triage.opinion import THRESHOLD, ambulance_share
from galenic.assistant.triage.tiers import rank
from galenic.evaluation.metrics import wilson_interval
from galenic.runtimes.base import Runtime

VIGNETTES = Path(__file__).parents[1] / "tests/assistant/triage/data/vignettes.jsonl"
OFF_TOPIC = (
    "How do I replace the battery of a laptop?",
    "What is the capital of Mongolia?",
    "Which train goes from Leeds to York in the morning?",
    "How many players does a cricket team have?",
    "Write me a poem about autumn leaves",
    "What is the exchange rate of the yen?",
    "How do I train a puppy to sit?",
    "Who painted the Night Watch?",
    "How tall is the Eiffel Tower?",
    "Can you recommend a hotel in Lisbon?",
    "How do I fix a leaking tap in the kitchen?",
    "When was the printing press invented?",
    "How do I declare capital gains on my tax return?",
    "What is the best opening move in chess?",
    "How do I merge two branches in git?",
    "Which guitar strings should a beginner buy?",
    "How long should I boil spaghetti?",
    "What is the plot of Hamlet?",
    "How do I grow tomatoes on a balcony?",
    "Which planets have rings?",
    "How do I descale a coffee machine?",
    "What does a notary do?",
    "How can I get a refund for a cancelled flight?",
    "What is the difference between a viola and a violin?",
    "Who discovered the element radium?",
    "How do I knit a scarf?",
    "What is the speed limit on motorways in Germany?",
    "How do I reset the password of my router?",
    "Why is the sky blue?",
    "What are the rules of offside in football?",
    "How do I apply for a passport?",
    "Which wood is best for a garden fence?",
    "What is a good name for a black cat?",
    "How does a diesel engine work?",
    "When do the clocks go back?",
    "How do I remove a red wine stain from a carpet?",
    "What is the square root of 1764?",
    "Who wrote the opera Carmen?",
    "How do I set up a savings account for a child?",
    "Which bus stops near the museum?",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("-o", "--output", default="results/answers")
    flags = parser.parse_args()
    vignettes = [json.loads(line) for line in VIGNETTES.read_text("utf-8").splitlines()]
    with (
        load_runtime(flags.model, threads=1) as runtime,
        tempfile.TemporaryDirectory() as folder,
    ):
        whole, blind = Path(folder, "whole.sqlite"), Path(folder, "blind.sqlite")
        index_medquad(flags.data, Silent(), path=whole)
        result = {
            "abstention": abstention(whole, vignettes),
            "origin": origin(flags, blind, runtime),
            "opinion": opinions(runtime, vignettes),
        }
    write(flags, result)


def answer(text: str, index: Path, runtime: Runtime | None = None) -> Reply:
    asked = make_question(text)
    assistant = Assistant(runtime, "extractive", index)
    found = assistant.triage(asked)
    return collect(found, assistant.answer(asked, found))


def abstention(index: Path, vignettes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares of questions that get no answer."""
    on = [one["text"] for one in vignettes if one["expected"] not in ("emergency", None)]
    found = {}
    for name, texts in (("off topic", OFF_TOPIC), ("on topic", on)):
        replies = [answer(text, index) for text in texts]
        asked = [one for one in replies if one.triage.tier != "emergency"]
        none = [one for one in asked if not _said(one)]
        found[name] = {"n": len(asked), "abstained": len(none)}
    return found


def origin(flags: argparse.Namespace, index: Path, runtime: Runtime) -> dict[str, Any]:
    """From where answers are, with the model and without, question by question in turns."""
    answers = read_answers(flags.data)
    owners = {one.id: one for one in answers}
    with open_store(index, write=True) as store, store.batch():
        number = store.collection("blind", "", "")
        units = (
            replace(unit, question="") for one in answers for unit in passages(one)
        )  # no question, so that nothing is found by its wording
        store.put_file(number, FileState("rows", 0, 0, ""), units)
    drawn = random.Random(flags.seed).sample(answers, flags.items)
    lanes: dict[str, dict[str, Any]] = {
        name: {"n": 0, "abstained": 0, "first": 0, "any": 0, "seconds": []}
        for name in ("with model", "no model")
    }
    for at, wanted in enumerate(drawn):
        for name in list(lanes)[:: 1 if at % 2 else -1]:
            began = time.perf_counter()
            reply = answer(wanted.question, index, runtime if name == "with model" else None)
            lanes[name]["seconds"].append(time.perf_counter() - began)
            count(lanes[name], wanted, reply, owners)
    for lane in lanes.values():
        lane["p50_s"] = statistics.median(lane.pop("seconds"))
    return lanes


def count(lane: dict[str, Any], wanted: Answer, reply: Reply, owners: dict[str, Answer]) -> None:
    said = _said(reply)
    places = {one.number: one.passage.place.partition(",")[0] for one in reply.sources}
    topics = [owners[places[one.sources[0]]].topic for one in said]
    lane["n"] += 1
    lane["abstained"] += not said
    lane["first"] += topics[:1] == [wanted.topic]
    lane["any"] += wanted.topic in topics


def opinions(runtime: Runtime, vignettes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in vignettes:
        if one["expected"] is None:
            continue
        urgent = rank(one["expected"]) >= rank("today")
        group = found.setdefault(one["split"], {"urgent": [0, 0], "other": [0, 0]})
        cell = group["urgent" if urgent else "other"]
        cell[0] += ambulance_share(runtime, one["text"]) > THRESHOLD
        cell[1] += 1
    return found


def _said(reply: Reply) -> list[Any]:
    return [one for one in reply.sentences if one.section == "answer"]


def shown(hits: int, n: int) -> str:
    low, high = wilson_interval(hits, n)
    return f"{hits} of {n}: {hits / n:.3f} ({low:.3f}-{high:.3f})"


def write(flags: argparse.Namespace, result: dict[str, Any]) -> None:
    command = (
        f"python benchmarks/answers.py --data DIR --model {Path(flags.model).name} "
        f"--items {flags.items} --seed {flags.seed}"
    )
    about = {
        "command": command,
        "least_support": LEAST_SUPPORT,
        "threshold": THRESHOLD,
        "versions": {"python": sys.version.split()[0], "galenic": version("galenic")},
    }
    target = Path(flags.output)
    text = json.dumps({**about, **result}, indent=1) + "\n"
    target.with_suffix(".json").write_text(text, encoding="utf-8")
    page = markdown(about, result)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def markdown(about: dict[str, Any], result: dict[str, Any]) -> str:
    abstained = [
        [name, shown(cell["abstained"], cell["n"])] for name, cell in result["abstention"].items()
    ]
    origins = [
        [name, shown(lane["first"], lane["n"]), shown(lane["any"], lane["n"]),
         str(lane["abstained"]), f"{lane['p50_s']:.2f}"]
        for name, lane in result["origin"].items()
    ]  # fmt: skip
    opinion = [
        [split, shown(*group["urgent"]), shown(*group["other"])]
        for split, group in result["opinion"].items()
    ]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return "\n".join([
        "# Answers of the assistant", "",
        f"`{about['command']}` ({versions}; 95 % intervals, Wilson). Questions and vignettes were "
        "written by developers.", "",
        "## When it abstains", "",
        "Abstaining is right off topic. On topic (vignettes of triage that are no emergency, in "
        "everyday words, most of them no questions) it means that no passage of MedQuAD has "
        f"{about['least_support']:.0%} of the words, by weight: passages are listed instead.", "",
        markdown_table(["questions", "abstained"], abstained), "",
        "## From where it answers", "",
        "Questions of MedQuAD, which name their topic; only topic, names and answers are in the "
        "index. First: the first sentence is from an answer on the same topic; any: one of them. "
        f"The model orders passages within {1 - NEAR:.0%} of the best by words (`order`).",
        "", markdown_table(["order", "first", "any", "abstained", "seconds p50"], origins), "",
        "## The second opinion", "",
        f"`--second-opinion` raises to `today` from a share of {about['threshold']} on, which was "
        "set on `development`. Of texts that are for today or an emergency it should raise all, of "
        "others none.", "",
        markdown_table(["vignettes", "urgent: raised", "others: raised"], opinion), "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
