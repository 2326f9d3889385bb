"""What every way of compressing does to a model: bytes, perplexity, KL, answers, speed, memory.

    python benchmarks/compress_table.py --data DIR --work /tmp/table -o results/compress

Each row is made by the printed commands of ``galenic`` itself and kept in the work folder, as are
its measurements: a stopped run goes on where it was, and rows can be measured one by one
(``--rows``, ``--measures``). What the output holds of the same commands is kept and not measured
again, so that another machine can go on. Held-out text is MedQuAD's held-out tenth; questions are
the same for every row. Quality is measured in the torch runtime on float32 activations, so that it
is that of the weights alone; speed in llama.cpp, which serves. A pruned model's speed is that of
its Q4_0 form beside the dense model's Q4_0 form, in turns: the same bits.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import GALENIC, inspected, markdown_table, paired_answers

BENCHMARKS = ("pubmedqa", "medqa_4options", "medmcqa")
SETTINGS = ("model", "limit", "num_samples", "scoring", "benchmarks")
MEASURES = ("perplexity", "speed", "accuracy")
ROUNDED = "--type Q4_0 --no-importance"


@dataclass(frozen=True)
class Row:
    """A model: what it is made from, and how."""

    name: str
    parent: str | None = None
    command: str = ""
    title: str = ""

    @property
    def pruned(self) -> bool:
        return self.command.startswith("prune")


def q(name: str, how: str, title: str, parent: str = "dense") -> Row:
    return Row(name, parent, f"quantize {{parent}} {how}", title)


def p(name: str, how: str, title: str, parent: str = "dense") -> Row:
    return Row(name, parent, f"prune {{parent}} {how}", title)


SMALL = [
    Row("dense", title="dense (dequantized from Q4_1)"),
    p("width-20", "--method width --sparsity 0.2", "width 20 %"),
    p("depth-20", "--method depth --sparsity 0.2", "depth 20 %"),
    p("vocab", "--method vocab", "vocab"),
    q("q4", "--bits 4 --exclude Q4_1", "4 bits, importance"),
    q("q4-plain", f"{ROUNDED}", "Q4_0, rounded to nearest"),
    q("gptq-4", "--method gptq --type Q4_0 --head-type Q8_0", "GPTQ, Q4_0, head Q8_0"),
    q("gptq-nl", "--method gptq --bits 4", "GPTQ, 4 bits, head too"),
    q("gptq-mixed", "--method gptq --target-bpw 4.5 --exclude Q4_1",
      "GPTQ, mixed, 4.5 bits a weight"),
    q("mixed-4.5", "--target-bpw 4.5 --exclude Q4_1", "mixed, 4.5 bits a weight"),
    q("nf4", "--method nf4", "nf4 (bitsandbytes)"),
    p("magnitude-20", "--method magnitude --sparsity 0.2", "magnitude 20 %"),
    p("wanda-20", "--method wanda --sparsity 0.2", "Wanda 20 %"),
    p("sparsegpt-20", "--method sparsegpt --sparsity 0.2", "SparseGPT 20 %"),
    p("neurons-20", "--method magnitude --neurons --sparsity 0.2", "whole neurons, magnitude 20 %"),
    p("width-magnitude-20", "--method width --score magnitude --sparsity 0.2",
      "width 20 %, plain weight magnitude"),
    p("width-vocab", "--method vocab", "width 20 % + vocab", "width-20"),
    p("depth-vocab", "--method vocab", "depth 20 % + vocab", "depth-20"),
    q("q8", "--bits 8", "8 bits, importance"),
    q("q8-plain", "--bits 8 --no-importance", "8 bits, rounded to nearest"),
    q("q6", "--bits 6", "6 bits, importance"),
    q("q6-plain", "--bits 6 --no-importance", "6 bits, rounded to nearest"),
    q("q5", "--bits 5 --exclude Q4_1", "5 bits, importance"),
    q("q5-plain", "--bits 5 --no-importance --exclude Q4_1", "5 bits, rounded to nearest"),
    q("int8", "--method int8", "int8 (bitsandbytes)"),
    q("width-20-q4", "--bits 4 --exclude Q4_1", "width 20 %, then 4 bits", "width-20"),
]  # fmt: skip
LARGE = [
    Row("dense", title="dense (dequantized from Q4_K_M)"),
    q("q4", "--bits 4", "4 bits, importance"),
    q("q3", "--bits 3", "3 bits, importance"),
    p("width-20", "--method width --sparsity 0.2", "width 20 %"),
    p("depth-20", "--method depth --sparsity 0.2", "depth 20 %"),
]
TABLES = {"small": SMALL, "large": LARGE}


class Table:
    """The rows of one model, their folders and their measurements."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = Path(options.work).absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        self.rows = {row.name: row for row in TABLES[options.table]}
        self.earlier = self.read_earlier(Path(options.output).with_suffix(".json"))

    def read_earlier(self, output: Path) -> dict[str, dict[str, Any]]:
        """Rows that were measured before with the same settings and commands, maybe elsewhere."""
        if not output.exists():
            return {}
        known = json.loads(output.read_text("utf-8"))
        if known["settings"] != settings_of(self.options):
            return {}
        made = {row.name: row.command.format(parent=row.parent) for row in self.rows.values()}
        return {fact["row"]: fact for fact in known["rows"] if fact["made"] == made[fact["row"]]}

    def folder(self, name: str) -> str:
        return self.options.model if name == "dense" else str(self.work / name)

    def galenic(self, name: str, line: str) -> bool:
        """Run a command, shown as a reader would type it."""
        shown = line.replace(str(self.work) + "/", "").replace(self.options.data, "DIR")
        print(f"$ galenic {shown}", flush=True)
        log = self.work / f"{name}.log"
        with log.open("a", encoding="utf-8") as handle:
            done = subprocess.run(
                [GALENIC, *shlex.split(line)],
                stdout=handle,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            print(f"  failed with status {done.returncode}, see {log}", flush=True)
        return done.returncode == 0

    def build(self, name: str) -> bool:
        row = self.rows[name]
        if row.parent is None or Path(self.folder(name)).exists():
            return True
        if not self.build(row.parent):
            return False
        command = row.command.format(parent=self.folder(row.parent))
        return self.galenic(name, f"{command} --data {self.options.data} -o {self.folder(name)}")

    def fast_form(self, name: str) -> str | None:
        """What is timed: the model itself where it is a GGUF, else its Q4_0 form."""
        folder = self.folder(name)
        if name != "dense" and not self.rows[name].pruned:
            return folder if list(Path(folder).glob("*.gguf")) else None
        timed = self.work / f"{name}-q4_0"
        if not timed.exists():
            self.galenic(name, f"quantize {folder} {ROUNDED} -o {timed}")
        return str(timed) if timed.exists() else None

    def measure(self, name: str, measures: list[str]) -> None:
        known = set(self.earlier.get(name, ())) - ({"accuracy"} if name == "dense" else set())
        measures = [what for what in measures if what not in known]  # others pair with dense
        if not measures or not self.build(name):
            return
        options, dense = self.options, self.options.model
        common = f"--data {options.data} --runtime torch"
        if "perplexity" in measures and not self.result(name, "perplexity").exists():
            against = "none" if name == "dense" else dense
            self.galenic(
                name,
                f"perplexity {self.folder(name)} --against {against} {common} "
                f"--num-samples {options.num_samples} -o {self.result(name, 'perplexity')}",
            )
        if "speed" in measures and not self.result(name, "speed").exists():
            timed, beside = self.fast_form(name), self.fast_form("dense")
            if timed and beside and timed != beside:
                self.galenic(
                    name,
                    f"evaluate {timed} --speed --against {beside} --runtime llama "
                    f"-o {self.result(name, 'speed')}",
                )
        if "accuracy" in measures:
            self.galenic(
                name,
                f"evaluate {self.folder(name)} --benchmarks {','.join(options.benchmarks)} "
                f"--limit {options.limit} --scoring {options.scoring} {common} "
                f"-o {self.work / 'runs' / name}",
            )

    def result(self, name: str, what: str) -> Path:
        return self.work / f"{name}.{what}.json"

    # what was found

    def facts(self) -> Iterator[dict[str, Any]]:
        for row in self.rows.values():
            found: dict[str, Any] = {"row": row.name, "title": row.title or row.name}
            found["made"] = row.command.format(parent=row.parent)
            for what in ("perplexity", "speed"):
                if self.result(row.name, what).exists():
                    found[what] = json.loads(self.result(row.name, what).read_text("utf-8"))
            found |= self.size(row.name)
            if found_answers := list(self.accuracy(row.name)):
                found["accuracy"] = found_answers
            found = self.earlier.get(row.name, {}) | found
            if len(found) > 3:
                yield found

    def size(self, name: str) -> dict[str, Any]:
        if not Path(self.folder(name)).exists() and name != "dense":
            return {}
        return inspected(self.folder(name), ("file_bytes", "bits_per_weight", "parameters"))

    def accuracy(self, name: str) -> Iterator[dict[str, Any]]:
        for row, compared in paired_answers(self.work / "runs", name):
            yield {
                "benchmark": row.benchmark,
                "scoring": row.scoring,
                "n": row.n,
                "accuracy": compared.accuracy_b,
                "difference": compared.difference,
                "interval": list(compared.interval),
                "p_value": compared.p_value,
                "flipped": compared.flipped,
                "macro_f1": row.macro_f1,
                "majority": row.baselines.majority,
                "predictions": row.counts.predicted,
            }


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What all rows share."""
    return {name: getattr(options, name) for name in SETTINGS}


def write(options: argparse.Namespace, facts: list[dict[str, Any]]) -> None:
    """The numbers as JSON, and as Markdown for people."""
    output = Path(options.output)
    settings = settings_of(options)
    versions = {name: version(name) for name in ("galenic", "torch", "transformers", "gguf")}
    found = {"settings": settings, "versions": versions, "rows": facts}
    output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    head = (
        f"# What compressing does to {options.model}\n\nMade by `python "
        f"benchmarks/compress_table.py --model {options.model} --data DIR --work DIR2 -o "
        f"results/{output.name}`; {named}. Held-out text: {options.num_samples} sequences of 256 "
        "tokens of MedQuAD's held-out tenth, seed 0, 95 % intervals by resampling sequences; "
        "weights alone are judged (torch runtime, float32 activations). Perplexity is given for "
        "each token of the dense model, so that other vocabularies compare. Zeroed weights are "
        "stored like others: such files are no smaller."
    )
    measured = [part(facts) for what, part in PARTS.items() if any(what in fact for fact in facts)]
    parts = [head, *measured, _commands(facts)]
    output.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{output}.json, {output}.md: {len(facts)} rows")


def _estimate(value: dict[str, Any], digits: int) -> str:
    shown = [f"{value[key]:.{digits}f}" for key in ("value", "low", "high")]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"


def _quality(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        line = [fact["title"]]
        line += [f"{fact['file_bytes'] / 1e6:.1f}", f"{fact['bits_per_weight']:.2f}"]
        judged = fact.get("perplexity")
        if judged is None:
            rows.append([*line, *["–"] * 4])
            continue
        # by the parent's tokens, so that another vocabulary is judged on the same text
        shown = judged["perplexity_per_reference_token"] or judged["model"]["perplexity"]
        line.append(_estimate(shown, 2))
        kl = judged["kl"]
        line.append(_estimate(judged["perplexity_ratio"], 3) if kl else "1")
        line += [_estimate(kl["mean"], 4), f"{kl['same_top']['value']:.3f}"] if kl else ["0", "1"]
        rows.append(line)
    head = [
        "model",
        "MB",
        "bits a weight",
        "perplexity",
        "ratio to dense",
        "KL to dense",
        "same top",
    ]
    return "## Size and held-out text\n\n" + markdown_table(head, rows)


def _accuracy(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        for one in fact.get("accuracy", ()):
            shown = " / ".join(f"{label} {n}" for label, n in one["predictions"].items())
            low, high = one["interval"]
            rows.append([
                fact["title"], one["benchmark"], one["scoring"], str(one["n"]),
                f"{one['majority']:.3f}", f"{one['accuracy']:.3f}",
                f"{one['difference']:+.3f} ({low:+.3f} to {high:+.3f})",
                f"{one['p_value']:.2g}", f"{one['flipped']:.3f}", f"{one['macro_f1']:.3f}", shown,
            ])  # fmt: skip
    head = [
        "model",
        "benchmark",
        "scoring",
        "n",
        "majority",
        "accuracy",
        "paired difference to dense (95 %)",
    ]
    head += ["McNemar p", "flipped", "macro-F1", "predictions"]
    return "## Answers\n\n" + markdown_table(head, rows)


def _speed(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        if speed := fact.get("speed"):
            line = [fact["title"]]
            for what in ("prefill", "decode", "first_token_ms", "peak_rss"):
                scale = 1e-6 if what == "peak_rss" else 1
                median = speed["model"]["measures"][what]["median"] * scale
                low, ratio, high = (speed["ratios"][what][key] for key in ("low", "median", "high"))
                line.append(f"{median:.0f}; x {ratio:.2f} ({low:.2f}–{high:.2f})")
            rows.append(line)
    head = ["model", "prefill, tokens/s", "decode, tokens/s", "first token, ms", "peak RSS, MB"]
    return "## Speed, beside the dense model in Q4_0, in turns\n\n" + markdown_table(head, rows)


def _commands(facts: list[dict[str, Any]]) -> str:
    rows = [
        [f["title"], f"`galenic {f['made']} --data DIR -o {f['row']}`"] for f in facts if f["made"]
    ]
    return "## How each was made\n\n" + markdown_table(["model", "command"], rows)


PARTS = {"perplexity": _quality, "accuracy": _accuracy, "speed": _speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--table", choices=TABLES, default="small")
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", required=True, help="folder for models and measurements")
    parser.add_argument("-o", "--output", default="results/compress")
    parser.add_argument("--rows", nargs="*", help="only these; none: write what is there")
    parser.add_argument("--measures", nargs="*", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--num-samples", type=int, default=32)
    parser.add_argument("--scoring", default="letter,text_per_byte")
    parser.add_argument("--benchmarks", nargs="*", default=list(BENCHMARKS))
    options = parser.parse_args()
    table = Table(options)
    for name in table.rows if options.rows is None else options.rows:
        table.measure(name, options.measures)
    write(options, list(table.facts()))


if __name__ == "__main__":
    main()
