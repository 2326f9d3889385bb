"""Triage on vignettes that we wrote ourselves: how often is it too low, how often too high?

    python benchmarks/triage_vignettes.py

The vignettes (tests/assistant/triage/data/vignettes.jsonl) were written by developers, not
clinicians, and
so were their expected tiers. Splits: ``development`` was there while the rules were written;
``held-out`` was written after the rules were frozen; ``fresh`` after they had been widened on
account of its misses; ``unseen`` after those of ``fresh``. The first result of these three, before
their misses were read, is kept (``--keep-first``, results/triage.first.json): it says what to
expect of new texts. What stands beside it now does not, for the rules were widened since.

First contact (tests/assistant/triage/data/first_contact, and the public texts whose folder
``--public`` names): written by others before the layers were; only counts are printed, no text is.
Their totals were seen while a limit of the classifier was set: no longer pure first contact.
``general`` counts as right with ``unknown`` and ``self-care``. The ablation adds layer by layer.
Development texts (tests/assistant/triage/data/development) are those that the rules were written
from, save for ``check`` and the halves ``held-out`` and ``test``. "Answered" is what the questions
can bring at best: a rule that knows the tier of the text answers "no" to every question that leads
above it, and "yes" to one that leads to it, if there is one.

Too low: a tier below the expected one, ``unknown`` counting as the lowest; of these, "reassured"
had a rule that fired with a tier that is too low, the others fired none and say so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import markdown_table

from galenic.assistant.triage.tiers import TIERS, Tier, rank
from galenic.assistant.triage.triage import Answer, triage
from galenic.evaluation.metrics import wilson_interval

ROOT = Path(__file__).parents[1]
VIGNETTES = ROOT / "tests/assistant/triage/data/vignettes.jsonl"
RESULTS = ROOT / "results"
FIRST = RESULTS / "triage.first.json"
FIRST_CONTACT = ROOT / "tests/assistant/triage/data/first_contact"
SETS = (
    "emergencies", "selfharm", "infant_fever", "lookalike", "worried_well", "others", "languages",
)  # fmt: skip
RECOGNISED = ("es", "fr", "de")
"""Languages in which emergencies are recognised; of others, only the language is."""
DEVELOPMENT = ("emergencies", "cries_and_poison", "lookalikes", "others", "check")
DEALT = ("emergency", "lookalike", "worried")
"""Dealt into halves before a result was seen: mechanisms were found on `tune`."""
STEPS: dict[str, tuple[str, ...]] = {
    "concepts": (),
    "+ values": ("values",),
    "+ poisoning": ("values", "poisoning"),
    "+ self-harm": ("values", "poisoning", "self-harm"),
    "+ languages": ("values", "poisoning", "self-harm", "languages"),
    "+ classifier": ("values", "poisoning", "self-harm", "languages", "classifier"),
}
"""Layers on top of the one that decides."""
ANSWERED = "answered"
"""The step after all layers: the questions are answered."""
ROUNDS = 5
COMMAND = "python benchmarks/triage_vignettes.py --public DIR"
WRITTEN_BY = (
    "Vignettes and expected tiers were written by developers, not clinicians, by the authors of "
    "the rules; they say nothing of how safe this is for patients."
)


@dataclass(frozen=True)
class Vignette:
    id: str
    split: str
    text: str
    expected: Tier
    why: str


@dataclass(frozen=True)
class Outcome:
    vignette: Vignette
    tier: Tier
    rules: tuple[str, ...]
    microseconds: float

    @property
    def off(self) -> int:
        """How many tiers too high; below 0 = too low."""
        return rank(self.tier) - rank(self.vignette.expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep-first", action="store_true", help="keep the result of new splits")
    parser.add_argument("--public", type=Path, help="folder with public.jsonl (see its README)")
    flags = parser.parse_args()
    triage("warm up")
    outcomes = [judge(vignette) for vignette in read_vignettes()]
    splits = list(dict.fromkeys(outcome.vignette.split for outcome in outcomes))
    measured = {
        split: measure([o for o in outcomes if o.vignette.split == split]) for split in splits
    }
    about = {
        "command": COMMAND + (" --keep-first" if flags.keep_first else ""),
        "written_by": WRITTEN_BY,
        "versions": {"python": sys.version.split()[0], "galenic": version("galenic")},
    }
    if flags.keep_first:
        measured = {**{s: m for s, m in measured.items() if s != "development"}, **first_results()}
    result = {**about, "splits": measured}
    if not flags.keep_first:
        result["first_contact"] = ablation(read_sets(flags.public))
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    (FIRST if flags.keep_first else RESULTS / "triage.json").write_text(text, encoding="utf-8")
    page = markdown(result)
    if not flags.keep_first:
        (RESULTS / "triage.md").write_text(page, encoding="utf-8")
    print(page)


def first_results() -> dict[str, Any]:
    """By split, as kept when it was new."""
    if not FIRST.is_file():
        return {}
    kept: dict[str, Any] = json.loads(FIRST.read_text(encoding="utf-8"))["splits"]
    return {split: one for split, one in kept.items() if split != "development"}


def read_vignettes() -> list[Vignette]:
    lines = VIGNETTES.read_text(encoding="utf-8").splitlines()
    return [Vignette(**json.loads(line)) for line in lines]


def read_sets(public: Path | None) -> dict[str, list[tuple[list[str], str]]]:
    """By set, the accepted tiers and the text of each line; public texts in two halves by id."""
    found: dict[str, list[tuple[list[str], str]]] = {}
    for name in SETS:
        lines = (FIRST_CONTACT / f"{name}.jsonl").read_text("utf-8").splitlines()
        for row in map(json.loads, lines):
            language = row.get("language")
            known = language if language in RECOGNISED else "others" if language else ""
            kept = found.setdefault(f"{name} {known}".strip(), [])
            kept.append((accepted(row["tier"]), row["text"]))
    for name in DEVELOPMENT:
        lines = (FIRST_CONTACT.parent / f"development/{name}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        found[f"development {name}"] = [(accepted(row["tier"]), row["text"]) for row in rows]
    for halves in ("fourth", "fifth", "sixth", "seventh"):
        path = FIRST_CONTACT.parent / f"development/{halves}.jsonl"
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            name = f"development {halves} {row['set']} {row['half']}"
            found.setdefault(name, []).append((accepted(row["tier"]), row["text"]))
    for name in DEALT:
        path = FIRST_CONTACT.parent / f"development/dealt_{name}.jsonl"
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            half = f"development {name} {row['half']}"
            found.setdefault(half, []).append((accepted(row["tier"]), row["text"]))
    if public is None or not (public / "public.jsonl").is_file():
        print("public.jsonl is missing (--public DIR): its rows are left out", file=sys.stderr)
        return found
    for line in (public / "public.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        half = "ab"[int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % 2]
        found.setdefault(f"public {half}", []).append((row["gold"], row["text"]))
    return found


def accepted(tier: str) -> list[str]:
    return ["unknown", "self-care"] if tier == "general" else [tier]


def ablation(sets: dict[str, list[tuple[list[str], str]]]) -> dict[str, Any]:
    """By set and step: counts, shares and Wilson intervals; layer by layer at first contact."""
    found = {}
    for name, rows in sets.items():
        steps = list(STEPS)[-1:] if name.startswith("development") else list(STEPS)
        found[name] = {step: score(rows, STEPS[step]) for step in steps}
        found[name][ANSWERED] = score(rows, None)
    return found


def answered(text: str, gold: Sequence[str]) -> Tier:
    """The tier after the questions were answered by a rule that knows the right one."""
    right = max(rank(tier) for tier in gold)
    replies: dict[str, Answer] = {}
    found = triage(text)
    for _ in range(ROUNDS):
        if not found.questions:
            break
        said_yes = "yes" in replies.values()
        for question in found.questions:
            fits = rank(question.tier) == right and not said_yes
            replies[question.id] = "yes" if fits else "no"
            said_yes = said_yes or fits
        found = triage(text, answers=replies)
    return found.tier


def score(rows: Sequence[tuple[list[str], str]], layers: tuple[str, ...] | None) -> dict[str, Any]:
    """Counts and shares with these layers; None = all of them, questions answered."""
    outcomes, times = [], []
    for gold, text in rows:
        began = time.perf_counter()
        tier = answered(text, gold) if layers is None else triage(text, layers=layers).tier
        outcomes.append((gold, tier))
        times.append(1e3 * (time.perf_counter() - began))
    urgent = [tier for gold, tier in outcomes if gold == ["emergency"]]
    benign = [tier for gold, tier in outcomes if not {"emergency", "today"} & set(gold)]
    near = [min(abs(rank(tier) - rank(one)) for one in gold) <= 1 for gold, tier in outcomes]
    found: dict[str, Any] = {"n": len(rows), "within_one": share(near)}
    if urgent:
        found["called"] = share([tier == "emergency" for tier in urgent])
        found["below_today"] = share([rank(tier) < rank("today") for tier in urgent])
    if benign:
        found["alarm"] = share([tier == "emergency" for tier in benign])
    return {**found, "ms_p50": statistics.median(times)}


def contact_page(found: dict[str, Any]) -> list[str]:
    """Two tables: all layers, and what each adds."""
    names = {"called": "emergency called so", "below_today": "emergency below today",
             "alarm": "benign called emergency", "within_one": "within one tier"}  # fmt: skip
    last = list(STEPS)[-1]
    lines = []
    for title, step in (("all layers", last), ("questions answered", ANSWERED)):
        rows = [
            [name, *(shown(one[step][key]) if key in one[step] else "" for key in names),
             f"{one[step]['ms_p50']:.1f}"]
            for name, one in found.items()
        ]  # fmt: skip
        table = markdown_table(["set", *names.values(), "ms p50"], rows)
        lines += [f"## First contact and development, {title}", "", table, ""]
    for key in ("called", "alarm"):
        steps = [
            [name, *(f"{one[step][key][0]:.0f}" for step in STEPS), f"{one[last][key][1]:.0f}"]
            for name, one in found.items()
            if key in one[last] and set(STEPS) <= set(one)
        ]
        lines += [f"### By layer, first contact: {names[key]} (counts)", ""]
        lines += [markdown_table(["set", *STEPS, "of"], steps), ""]
    return lines


def judge(vignette: Vignette) -> Outcome:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = triage(vignette.text)
        times.append(1e6 * (time.perf_counter() - began))
    rules = tuple(finding.id for finding in result.leading)
    return Outcome(vignette, result.tier, rules, statistics.median(times))


def measure(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    n = len(outcomes)
    counts = Counter((o.vignette.expected, o.tier) for o in outcomes)
    urgent = [o for o in outcomes if o.vignette.expected in ("emergency", "today")]
    times = sorted(o.microseconds for o in outcomes)
    return {
        "n": n,
        "right": share([o.off == 0 for o in outcomes]),
        "too_low": share([o.off < 0 for o in outcomes]),
        "too_low_reassured": share([o.off < 0 and o.tier != "unknown" for o in outcomes]),
        "too_low_of_urgent": share([o.off < 0 for o in urgent]),
        "too_high": share([o.off > 0 for o in outcomes]),
        "confusion": {e: {t: counts[e, t] for t in TIERS} for e in TIERS},
        "microseconds": {"p50": statistics.median(times), "p95": times[int(0.95 * (n - 1))]},
        "misses": [
            {**asdict(o.vignette), "tier": o.tier, "rules": list(o.rules)}
            for o in outcomes
            if o.off
        ],
    }


def share(flags: Sequence[bool]) -> list[float]:
    """Count, number, share and its 95 % Wilson interval."""
    hits, n = sum(flags), len(flags)
    return [hits, n, hits / n, *wilson_interval(hits, n)]


def shown(value: Sequence[float]) -> str:
    hits, n, rate, low, high = value
    return f"{hits:.0f}/{n:.0f} = {rate:.3f} ({low:.3f}-{high:.3f})"


KEYS = ("right", "too_low", "too_low_reassured", "too_low_of_urgent", "too_high")


def markdown(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = ["# Triage", "", f"`{result['command']}` ({versions}).", ""]
    lines += [f"**{WRITTEN_BY}**", "", *__doc__.split("\n\n")[2].split("\n"), ""]
    lines += [*__doc__.split("\n\n")[3].split("\n"), ""]
    lines += [*__doc__.split("\n\n")[4].strip().split("\n"), "95 % Wilson intervals.", ""]
    first = first_results()
    rows = [rates(f"{name}, first result", one) for name, one in first.items()]
    rows += [
        rates(f"{name}, rules widened since" if name in first else name, one)
        for name, one in result["splits"].items()
    ]
    head = ["split", "right", "too low", "of these reassured", "too low of today and emergency",
            "too high", "µs p50", "p95"]  # fmt: skip
    lines += [markdown_table(head, rows), ""]
    lines += ["Times: medians of 5 on two cores busy with other work.", ""]
    lines += contact_page(result.get("first_contact", {})) if "first_contact" in result else []
    for name, one in result["splits"].items():
        lines += [f"## {name}, now", "", "Rows: expected; columns: given.", ""]
        table = [[e, *(str(one["confusion"][e][t]) for t in TIERS)] for e in TIERS]
        lines += [markdown_table(["", *TIERS], table), ""]
        lines += [
            f"- {m['id']} {m['expected']}, given {m['tier']}"
            f"{' (' + ', '.join(m['rules']) + ')' if m['rules'] else ''}: {m['text']}"
            for m in one["misses"]
        ] or ["No misses."]
        lines.append("")
    return "\n".join(lines)


def rates(name: str, one: dict[str, Any]) -> list[str]:
    times = one["microseconds"]
    return [name, *(shown(one[key]) for key in KEYS), f"{times['p50']:.0f}", f"{times['p95']:.0f}"]


if __name__ == "__main__":
    main()
