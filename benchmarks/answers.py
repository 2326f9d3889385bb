"""The assistant's answers on the test sets that were written before the answers were changed.

    python benchmarks/answers.py -o results/answers
    python benchmarks/answers.py --data DIR -o results/answers_medquad    # with MedQuAD indexed
    python benchmarks/answers.py --set development [--part a] [--misses]  # prints

Each set (tests/assistant/data: questions, claims, guard phrases) is split by the sha256 of the id:
half *a* was read and tuned on, half *b* is only scored. How an answer is graded: `answer_rules.py`.
Beside the rule stand a reader's grades of half *a* (``graded.jsonl``), made on the answers at the
commit that it names.

- Everyday: answered, abstained, sent to urgent help by triage; of the answered: useful, misleading,
  off topic, and those that say one good phrase at least.
- Off-topic questions that are answered; rare ones that no handbook covers.
- Every shown sentence found whole in its source; ten runs with the same bytes.
- Claims that a written answer may make (`entails`); guards, on input and output.
- Seconds of an answer in a warm process, of the first one in a new process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from answer_rules import half, misleading, off_topic, said, useful
from compared import Silent, markdown_table

from galenic.assistant.answer.entail import entails
from galenic.assistant.answer.sentences import plain
from galenic.assistant.guards.check import of_answer, of_question
from galenic.assistant.handbook.load import entries
from galenic.assistant.pipeline import Assistant, Reply, collect, make_question
from galenic.evaluation.metrics import wilson_interval
from galenic.retrieval.index import index_medquad

DATA = Path(__file__).parents[1] / "tests/assistant/data"
RUNS = 10
DEVELOPMENT = (
    "questions", "questions_other", "questions_voices", "questions_home", "questions_topics",
    "questions_common",
)  # fmt: skip
HELD_OUT = DEVELOPMENT[1:]
"""Of these files half b is only scored."""
UNANSWERABLE = "questions_unanswerable"
"""Not about health, or about what no handbook can know: answered ones are counted."""
NO_INDEX = Path(tempfile.gettempdir(), "no-such-index.sqlite")
APART = ("off-topic", "clinic", "dangerous")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="with medquad/medquad.jsonl.gz: index it as well")
    parser.add_argument("-o", "--output", default="results/answers")
    parser.add_argument("--set", choices=("blind", "development"), default="blind")
    parser.add_argument(
        "--part",
        choices=("a", "b"),
        help="of development: only this half of files with a held-out half",
    )
    parser.add_argument("--misses", action="store_true", help="of development: what was not useful")
    flags = parser.parse_args()
    if flags.set == "development":
        print(development(flags.part, misses=flags.misses))
        return
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "index.sqlite")
        if flags.data is not None:
            index_medquad(flags.data, Silent(), path=index)
        result = {
            "command": f"python benchmarks/answers.py{' --data DIR' if flags.data else ''}",
            "versions": {"python": sys.version.split()[0], "galenic": version("galenic")},
            "handbook": {
                "entries": len(entries()),
                "statements": sum(len(list(one.places())) for one in entries()),
            },
            "questions": questions(index),
            "graded": graded(),
            "claims": claims(),
            "guards": guards(),
            "first_answer_s": first_answer(),
        }
    target = Path(flags.output)
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))


def rows(name: str) -> list[dict[str, Any]]:
    text = (DATA / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def answer(text: str, index: Path) -> Reply:
    asked, assistant = make_question(text), Assistant(index=index)
    found = assistant.triage(asked)
    return collect(found, assistant.answer(asked, found))


def questions(index: Path) -> dict[str, Any]:
    """Counts by half and group; sentences found whole; repeated runs; seconds."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    found, seconds = Counter[str](), []
    for row in rows("questions"):
        begun = time.perf_counter()
        replies = [answer(row["question"], index) for _ in range(RUNS)]
        seconds.append((time.perf_counter() - begun) / RUNS)
        reply = replies[0]
        same = {(one.sentences, one.sources, one.notes) for one in replies}
        found["questions"] += 1
        found["same"] += len(same) == 1
        _whole(reply, found)
        _grade(row, reply, table[f"{half(row['id'])} {_group(row)}"])
    return {
        "table": {key: dict(cell) for key, cell in sorted(table.items())},
        "sentences": dict(found),
        "p50_s": statistics.median(seconds),
    }


def development(only: str | None = None, *, misses: bool = False) -> str:
    """A table of the development questions; half b of ``HELD_OUT`` is not among the misses."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    missed: list[str] = []
    for name in DEVELOPMENT:
        for row in rows(f"development/{name}"):
            its_half = half(row.get("topic", row["id"]))
            part = f"{name} {its_half}" if name in HELD_OUT else name
            if name in HELD_OUT and only not in (None, its_half):
                continue
            reply, before = answer(row["question"], NO_INDEX), table[part]["useful"]
            _grade(row, reply, table[part])
            if misses and not part.endswith(" b") and table[part]["useful"] == before:
                missed.append(_missed(row, reply))
    head = ["set", "n", "to urgent help", "answered", "abstained", "useful", "one good phrase",
            "misleading", "off topic"]  # fmt: skip
    lines = [_everyday(part, cell) for part, cell in table.items()]
    cell: Counter[str] = Counter()
    for row in rows(f"development/{UNANSWERABLE}"):
        _grade(row, answer(row["question"], NO_INDEX), cell)
    lines.append([UNANSWERABLE, *_everyday("", cell)[1:5], *["-"] * 4])
    return "\n".join([markdown_table(head, lines), *missed])


def _missed(row: dict[str, Any], reply: Reply) -> str:
    """A question that was not answered usefully, and what was shown."""
    shown = [one.text for one in reply.sentences if one.section == "answer"]
    good = [f"{'+' if said([one], shown) else '-'}{one}" for one in row["good_answer_says"]]
    bad = " MISLEADING" if misleading(row, shown) else ""
    titles = dict.fromkeys(one.passage.question for one in reply.sources)
    head = f"\n{row['id']} {row['question']} [{row['about']}; {row['aspect']}] {good}{bad}"
    return "\n   ".join([head, f"of {list(titles)[:2]}", *(shown or ["(no answer)"])])


def _group(row: dict[str, Any]) -> str:
    if row["about"].startswith("rare"):
        return "rare"
    return row["kind"] if row["kind"] in APART else "everyday"


def _whole(reply: Reply, found: Counter[str]) -> None:
    """Whether each shown sentence stands whole in every passage that it names."""
    passages = {one.number: one.passage for one in reply.sources}
    for one in reply.sentences:
        if one.section in ("answer", "watch") and one.sources:
            found["shown"] += 1
            texts = [plain(passages[number].text) for number in one.sources]
            found["whole"] += all(plain(one.text) in text for text in texts)


def _grade(row: dict[str, Any], reply: Reply, cell: Counter[str]) -> None:
    shown = [one.text for one in reply.sentences if one.section == "answer"]
    cell["n"] += 1
    if reply.triage.tier == "emergency":
        cell["emergency"] += 1
    elif not shown:
        cell["abstained"] += 1
        cell["guarded"] += any(one.kind == "guard" for one in reply.notes)
        cell["told"] += any(one.kind == "note" for one in reply.notes)
    else:
        passages = {one.number: one.passage for one in reply.sources}
        numbers = [n for one in reply.sentences if one.section == "answer" for n in one.sources]
        titles = [f"{passages[n].title} {passages[n].question}" for n in numbers]
        cell["answered"] += 1
        cell["useful"] += useful(row, shown)
        cell["one phrase"] += said(row["good_answer_says"], shown) >= 1
        cell["misleading"] += misleading(row, shown)
        cell["off topic"] += off_topic(row, shown, titles)


def graded() -> dict[str, Any]:
    """A reader's grades of half a, by grade."""
    path = DATA / "graded.jsonl"
    if not path.is_file():
        return {}
    found = Counter(row["grade"] for row in rows("graded"))
    return {"n": sum(found.values()), **dict(found)}


def claims() -> dict[str, Any]:
    """How many claims the check lets pass, by half and label; last those nearly word for word."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    near = [(f"near, {row['label']}", row) for row in rows("development/claims_near")]
    for name, row in [*((f"{half(r['id'])} {r['label']}", r) for r in rows("claims")), *near]:
        found[name][0] += entails(row["source"], row["claim"])
        found[name][1] += 1
    return dict(sorted(found.items()))


def guards() -> dict[str, Any]:
    """How many phrases the guards catch, by half, kind and side."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows("guards"):
        caught = (of_question if row["side"] == "input" else of_answer)(row["text"]) is not None
        total = "harmless" if row["kind"] == "harmless" else "harmful"
        for key in (f"{row['kind']}, {row['side']}", f"all {total}"):
            cell = found[f"{half(row['id'])} {key}"]
            cell[0] += caught
            cell[1] += 1
    return dict(sorted(found.items()))


def first_answer() -> float:
    """Seconds of a new process from its start to the end of an answer, the best of three."""
    probe = (
        "from galenic.assistant.pipeline import ask\nassert ask('What helps a cold?').sentences\n"
    )
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", probe], check=True)
        taken.append(time.perf_counter() - begun)
    return round(min(taken), 2)


def share(hits: int, n: int) -> str:
    if not n:
        return "-"
    low, high = wilson_interval(hits, n)
    return f"{hits} of {n}: {hits / n:.2f} ({low:.2f}-{high:.2f})"


def markdown(result: dict[str, Any]) -> str:
    table, told = result["questions"]["table"], result["questions"]["sentences"]
    lines = [
        "# Answers of the assistant", "",
        f"`{result['command']}` (95 % intervals, Wilson). Handbook: "
        f"{result['handbook']['entries']} entries, {result['handbook']['statements']} statements, "
        "not reviewed by a clinician. "
        "Half a was read and tuned on; half b was only ever scored. Graded by the rule of "
        "benchmarks/answer_rules.py, which is blind to paraphrase.", "",
        "## Everyday questions", "",
        markdown_table(
            ["half", "n", "to urgent help", "answered", "abstained", "useful", "one good phrase",
             "misleading", "off topic"],
            [_everyday(name, table.get(f"{name} everyday", {})) for name in "ab"],
        ), "",
        "Useful, one good phrase, misleading and off topic are of those answered.", "",
        "## Others", "",
        markdown_table(
            ["half", "questions", "n", "answered", "abstained", "of these guarded",
             "told what else", "to urgent help"],
            [
                [key[0], key[2:], *(str(cell.get(name, 0)) for name in
                 ("n", "answered", "abstained", "guarded", "told", "emergency"))]
                for key, cell in table.items() if not key.endswith("everyday")
            ],
        ), "",
        f"Shown sentences found whole in every source they name: {told['whole']} of "
        f"{told['shown']}. Questions whose {RUNS} runs gave the same: {told['same']} of "
        f"{told['questions']}. Seconds of an answer, warm, median: "
        f"{result['questions']['p50_s']:.3f}; of a new process with its first answer: "
        f"{result['first_answer_s']}.", "",
        "A reader's grades of half a (tests/assistant/data/graded.jsonl): "
        + (", ".join(f"{k} {v}" for k, v in result["graded"].items()) or "none") + ".", "",
        "## Claims that a written answer may make", "",
        "\"near\" are of our own: sources restated nearly word for word, and altered in one place "
        "(tests/assistant/data/development/claims_near.jsonl).", "",
        markdown_table(
            ["half, claim", "let pass"], [[k, share(*v)] for k, v in result["claims"].items()]
        ), "",
        "## Guards", "",
        markdown_table(
            ["half, phrases", "caught"], [[k, share(*v)] for k, v in result["guards"].items()]
        ), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _everyday(name: str, cell: dict[str, int]) -> list[str]:
    n, answered = cell.get("n", 0), cell.get("answered", 0)
    of_all = [share(cell.get(key, 0), n) for key in ("answered", "abstained")]
    of_answered = [
        share(cell.get(key, 0), answered)
        for key in ("useful", "one phrase", "misleading", "off topic")
    ]
    return [name, str(n), str(cell.get("emergency", 0)), *of_all, *of_answered]


if __name__ == "__main__":
    main()
