"""A table of models: each made by commands of ``galenic``, measured, and set beside the dense one.

Each row is made by the printed commands and kept in the work folder, as are its measurements: a
stopped run goes on where it was, and rows can be measured one by one (``--rows``, ``--measures``).
What the output holds of the same commands is kept and not measured again, so that another machine
can go on. Questions are the same for every row, drawn with seed 0.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import (
    GALENIC,
    earlier_rows,
    inspected,
    markdown_table,
    paired_answers,
    pooled_answers,
)

from galenic.evaluation.compare import PairedResult
from galenic.evaluation.metrics import wilson_interval

BENCHMARKS = ("pubmedqa", "medqa_4options", "medmcqa")
SETTINGS = ("model", "limit", "num_samples", "scoring", "benchmarks")
LATER = ("runtime", "dtype")
"""Settings that older tables do not name: kept only where they are other than usual."""
PEER = "llama.cpp "
MEASURES = ("perplexity", "speed", "accuracy")
ROUNDED = "--type Q4_0 --no-importance"
"""What is timed of a model that is no GGUF."""


@dataclass(frozen=True)
class Row:
    """A model: what it is made from, and how.

    Attributes:
        name: of its folder.
        parent: the row that it is made from; None for the dense model.
        command: of ``galenic``; ``{parent}``, its ``{grandparent}`` and ``{dense}`` stand for
            models. ``llama.cpp TYPE``: by the library's own quantizer, from the dense GGUF, with
            the importance file that the table is told of.
        title: for people.
        shown: whether it is measured; others are steps on the way.
    """

    name: str
    parent: str | None = None
    command: str = ""
    title: str = ""
    shown: bool = True

    @property
    def pruned(self) -> bool:
        return self.command.startswith("prune")


class Table:
    """The rows of one model, their folders and their measurements."""

    def __init__(self, options: argparse.Namespace, rows: Sequence[Row]) -> None:
        self.options = options
        self.work = Path(options.work).absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        self.rows = {row.name: row for row in rows}
        self.earlier = self.read_earlier(Path(options.output).with_suffix(".json"))

    def read_earlier(self, output: Path) -> dict[str, dict[str, Any]]:
        """Rows that were measured before with the same settings and commands, maybe elsewhere."""
        made = {row.name: self.made(row) for row in self.rows.values()}
        return {
            name: fact
            for name, fact in earlier_rows(output, settings_of(self.options)).items()
            if name in made and fact["made"] == made[name]
        }

    def made(self, row: Row) -> list[str]:
        """The commands that lead from the dense model to this row."""
        if row.parent is None:
            return []
        dense = model_name(self.options)
        if row.command.startswith(PEER):
            return [
                f"python benchmarks/llama_quantize.py {dense} {row.name}/model.gguf "
                f"{row.command.removeprefix(PEER)} --imatrix importance.gguf"
            ]
        command = self.command(row, lambda name: dense if name == "dense" else name)
        data = "" if command.startswith("merge") else " --data DIR"
        return [*self.made(self.rows[row.parent]), f"galenic {command}{data} -o {row.name}"]

    def command(self, row: Row, called: Callable[[str], str]) -> str:
        """What makes a row, its models called so."""
        parent = self.rows[row.parent or ""]
        return row.command.format(
            parent=called(parent.name),
            grandparent=called(parent.parent or ""),
            dense=called("dense"),
        )

    def folder(self, name: str) -> str:
        return self.options.model if name == "dense" else str(self.work / name)

    def galenic(self, name: str, line: str) -> bool:
        """Run a command, shown as a reader would type it."""
        shown = line.replace(str(self.work) + "/", "").replace(self.options.data, "DIR")
        shown = shown.replace(self.options.model, model_name(self.options))
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
        if row.command.startswith(PEER):
            return self.peer(name, row.command.removeprefix(PEER))
        command = self.command(row, self.folder)
        data = "" if command.startswith("merge") else f" --data {self.options.data}"
        return self.galenic(name, f"{command}{data} -o {self.folder(name)}")

    def peer(self, name: str, kind: str) -> bool:
        """Quantize by llama.cpp, with importance."""
        target = self.work / name / "model.gguf"
        part = target.with_suffix(".part")
        target.parent.mkdir(exist_ok=True)
        script = str(Path(__file__).with_name("llama_quantize.py"))
        argv = [sys.executable, script, self.options.model, str(part), kind]
        print(f"$ llama.cpp {kind}, to {name}", flush=True)
        done = subprocess.run([*argv, "--imatrix", self.options.imatrix], check=False)
        if done.returncode == 0:
            part.rename(target)
        return done.returncode == 0

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
        common = f"--data {options.data} --runtime {options.runtime}"
        common += f" --dtype {options.dtype}" if options.dtype != "float32" else ""
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
            self.ask(name, common)

    def ask(self, name: str, common: str) -> None:
        """Evaluate a row: all benchmarks in one run, or each in its own where limits differ."""
        options = self.options
        several = len(options.limit) > 1
        asked = options.benchmarks if several else [",".join(options.benchmarks)]
        for benchmarks, limit, runs in zip(asked, options.limit, self.runs, strict=True):
            self.galenic(
                name,
                f"evaluate {self.folder(name)} --benchmarks {benchmarks} "
                f"--limit {limit} --scoring {options.scoring} {common} -o {runs / name}",
            )

    @property
    def runs(self) -> list[Path]:
        """Folders of the runs: one, or one for each benchmark where limits differ."""
        several = len(self.options.limit) > 1
        runs = self.work / "runs"
        return [runs / one for one in self.options.benchmarks] if several else [runs]

    def result(self, name: str, what: str) -> Path:
        return self.work / f"{name}.{what}.json"

    # what was found

    def facts(self) -> Iterator[dict[str, Any]]:
        for row in filter(lambda row: row.shown, self.rows.values()):
            found: dict[str, Any] = {"row": row.name, "title": row.title or row.name}
            found["made"] = self.made(row)
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
        for row, compared in (pair for runs in self.runs for pair in paired_answers(runs, name)):
            yield {
                "benchmark": row.benchmark,
                "scoring": row.scoring,
                **_compared(compared),
                "macro_f1": row.macro_f1,
                "majority": row.baselines.majority,
                "predictions": row.counts.predicted,
            }
        for scoring, compared in pooled_answers(self.runs, name):
            yield {"benchmark": compared.benchmark, "scoring": scoring, **_compared(compared)}


def _compared(compared: PairedResult) -> dict[str, Any]:
    return {
        "n": compared.n,
        "accuracy": compared.accuracy_b,
        "wilson": list(wilson_interval(round(compared.accuracy_b * compared.n), compared.n)),
        "difference": compared.difference,
        "interval": list(compared.interval),
        "p_value": compared.p_value,
        "flipped": compared.flipped,
    }


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What all rows share."""
    chosen = {name: getattr(options, name) for name in LATER}
    other = {name: value for name, value in chosen.items() if value != options.usual[name]}
    limit = options.limit if len(options.limit) > 1 else options.limit[0]
    found = {name: getattr(options, name) for name in SETTINGS}
    return found | {"model": model_name(options), "limit": limit} | other


def model_name(options: argparse.Namespace) -> str:
    """The model's name for readers: of a file, without the folders of this machine."""
    return Path(options.model).name if Path(options.model).exists() else str(options.model)


def told(options: argparse.Namespace) -> str:
    """What was said other than usual and decides what is measured, as it is typed."""
    found = ""
    for name in ("table", *LATER, *SETTINGS):
        value = getattr(options, name, None)
        if value != options.usual.get(name):
            shown = model_name(options) if name == "model" else value
            words = shown if isinstance(shown, list) else [shown]
            found += f" --{name.replace('_', '-')} {' '.join(map(str, words))}"
    return found


def write(options: argparse.Namespace, head: str, facts: list[dict[str, Any]]) -> None:
    """The numbers as JSON, and as Markdown for people."""
    output = Path(options.output)
    settings = settings_of(options)
    versions = {name: version(name) for name in ("galenic", "torch", "transformers", "gguf")}
    found = {"settings": settings, "versions": versions, "rows": facts}
    text = json.dumps(found, indent=1).replace(f"{Path(options.work).absolute()}/", "")
    text = text.replace(options.model, model_name(options))
    output.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    measured = [part(facts) for what, part in PARTS.items() if any(what in fact for fact in facts)]
    pictures = [f"![{output.name}]({output.name}.png)"] if plot(output, facts) else []
    command = f"python benchmarks/{Path(sys.argv[0]).name}{told(options)} --data DIR --work DIR2"
    command += f" -o results/{output.name}"
    shown = {"model": model_name(options), "versions": named, "command": command}
    head = head.format(**vars(options) | shown)
    parts = [head, *pictures, *measured, _commands(facts)]
    output.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{output}.json, {output}.md: {len(facts)} rows")


def plot(output: Path, facts: list[dict[str, Any]]) -> bool:
    """Draw what is lost over what is saved, for models that differ from the dense one."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    drawn = [fact for fact in facts if (fact.get("perplexity") or {}).get("kl")]
    if not drawn:
        return False
    drawn.sort(key=lambda fact: -float(fact["perplexity"]["kl"]["mean"]["value"]))
    figure = Figure(figsize=(9, 1 + 0.32 * len(drawn)), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    for place, fact in enumerate(drawn):
        kl = fact["perplexity"]["kl"]["mean"]
        value, pruned = kl["value"], fact["made"][-1].startswith("galenic prune")
        error = [[value - kl["low"]], [kl["high"] - value]]
        color, label = f"C{int(pruned)}", "pruned, float32" if pruned else "quantized"
        axes.errorbar(value, place, xerr=error, fmt="o", color=color, label=label, capsize=3)
    names = [f"{fact['title']}  ({fact['file_bytes'] / 1e6:.0f} MB)" for fact in drawn]
    axes.set_yticks(range(len(drawn)), names)
    values = [fact["perplexity"]["kl"]["mean"]["value"] for fact in drawn]
    few = max(values) > 100 * min(values)
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if few else (1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.7, len(drawn) - 0.3)
    judged = drawn[0]["perplexity"]
    axes.set_xlabel(
        "KL divergence from the dense model, nats a token\n(lower is better)\n"
        f"95 % intervals over {judged['num_samples']} sequences"
    )
    axes.grid(alpha=0.3)
    by_label = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if len(by_label) > 1:
        figure.legend(by_label.values(), by_label, loc="outside upper right", ncols=len(by_label))
    figure.savefig(output.with_suffix(".png"), dpi=110)
    return True


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


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _within(value: float, interval: list[float] | None) -> str:
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def _accuracy(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        for one in fact.get("accuracy", ()):
            counts = one.get("predictions", {}).items()
            shown = " / ".join(f"{label} {n}" for label, n in counts)
            low, high = one["interval"]
            rows.append([
                fact["title"], one["benchmark"], one["scoring"], str(one["n"]),
                _share(one.get("majority")), _within(one["accuracy"], one.get("wilson")),
                f"{one['difference']:+.3f} ({low:+.3f} to {high:+.3f})",
                f"{one['p_value']:.2g}", f"{one['flipped']:.3f}", _share(one.get("macro_f1")),
                shown,
            ])  # fmt: skip
    head = [
        "model",
        "benchmark",
        "scoring",
        "n",
        "majority",
        "accuracy (95 %)",
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
        [fact["title"], "<br>".join(f"`{command}`" for command in fact["made"])]
        for fact in facts
        if fact["made"]
    ]
    return "## How each was made\n\n" + markdown_table(["model", "commands"], rows)


PARTS = {"perplexity": _quality, "accuracy": _accuracy, "speed": _speed}


def arguments(description: str | None, output: str, measures: list[str]) -> argparse.ArgumentParser:
    """What all tables are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", required=True, help="folder for models and measurements")
    parser.add_argument("-o", "--output", default=output)
    parser.add_argument("--rows", nargs="*", help="only these; none: write what is there")
    parser.add_argument("--measures", nargs="*", choices=MEASURES, default=measures)
    parser.add_argument(
        "--limit", type=int, nargs="+", default=[300], help="questions of each, or one for each"
    )
    parser.add_argument("--num-samples", type=int, default=32)
    parser.add_argument("--scoring", default="letter,text_per_byte")
    parser.add_argument("--benchmarks", nargs="*", default=list(BENCHMARKS))
    parser.add_argument("--runtime", choices=("torch", "llama"), default="torch")
    parser.add_argument("--dtype", default="float32", help="precision of the torch runtime")
    parser.add_argument("--imatrix", help="importance for rows by llama.cpp, GGUF form")
    parser.set_defaults(usual={name: parser.get_default(name) for name in (*LATER, *SETTINGS)})
    return parser


def run(options: argparse.Namespace, rows: Sequence[Row], head: str) -> None:
    """Make and measure what is asked for, and write the table; ``head`` stands above it."""
    table = Table(options, rows)
    for name in [row.name for row in rows if row.shown] if options.rows is None else options.rows:
        table.measure(name, options.measures)
    write(options, head, list(table.facts()))
