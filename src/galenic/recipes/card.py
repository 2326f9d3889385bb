"""Model cards: contents of a compressed model, its stages, measurements, and limits of use.

A card contains only what was measured or read from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.artifact.front import card_head
from galenic.artifact.licence import LIMITS, text_read
from galenic.artifact.manifest import Stage
from galenic.models.size import ModelSize
from galenic.recipes.recipe import Recipe
from galenic.units import format_size

__all__ = [
    "CardFacts",
    "Measurement",
    "model_card",
]


@dataclass(frozen=True)
class Measurement:
    """A measured row of the before/after table.

    Attributes:
        name: name of the quantity, with its unit.
        before: formatted value of the parent; a dash if not applicable.
        after: formatted value of this model.
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class CardFacts:
    """Contents of a model card.

    Attributes:
        recipe: the recipe.
        parent: the parent model, as the user wrote it.
        licence: licence of the parent; None if it states none.
        stages: the applied stages, in order.
        before: sizes of the parent.
        after: sizes of this model.
        measured: measured rows; empty if measuring was skipped.
        measured_on: name of the text used for measuring.
    """

    recipe: Recipe
    parent: str
    licence: str | None
    stages: tuple[Stage, ...]
    before: ModelSize
    after: ModelSize
    measured: tuple[Measurement, ...] = ()
    measured_on: str = ""


def model_card(facts: CardFacts) -> str:
    """Render the card as Markdown; equal facts give equal bytes."""
    parts = [
        card_head(facts.parent, facts.licence) + "\n" + _what(facts),
        "## What was done\n\n" + _done(facts),
        "## Before and after\n\n" + _table(facts),
        "## How to run\n\n" + _run(facts),
        "## What it is for, and what it is not\n\n" + LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _what(facts: CardFacts) -> str:
    licence = (
        f"The parent states the licence `{facts.licence}`; it holds for this model as well."
        if facts.licence
        else "The parent's files state no licence. Look it up at its source: it holds for this "
        "model as well."
    )
    return (
        f"# {facts.parent}, compressed with the recipe "
        f"`{facts.recipe.name}`\n\n{_result(facts)}\n\n{facts.recipe.description}\n\n"
        f"Made by Galenic from `{facts.parent}` (weights' SHA-256 `{facts.before.sha256}`), "
        f"architecture {facts.after.architecture}, {facts.after.num_layers} layers. {licence}"
    )


def _result(facts: CardFacts) -> str:
    """Size and measured quality in two sentences, beside those of the parent."""
    before, after = facts.before.file_bytes, facts.after.file_bytes
    size = (
        f"The weights take {format_size(after)}, those of the parent {format_size(before)} "
        f"({after / before:.0%})."
    )
    rows = [
        f"{row.name} {row.after}" + (f" (parent {row.before})" if row.before != "–" else "")
        for row in facts.measured
    ]
    if not rows:
        return f"{size} What this cost in quality was not measured."
    return f"{size} Measured on {facts.measured_on}: {', '.join(rows)}."


def _done(facts: CardFacts) -> str:
    lines = []
    for number, stage in enumerate(facts.stages, 1):
        options = ", ".join(
            f"{key} {_show(value)}"
            for key, value in sorted(stage.options.items())
            if value not in (None, [])  # not set
        )
        lines.append(
            f"{number}. {stage.stage}, [{stage.method}]({stage.reference_url}): {options}."
        )
        if stage.calibration:
            lines.append(f"   Fitted on {text_read(stage.calibration)}.")
    return "\n".join(lines) + (
        "\n\n`recipe.yaml` has every option, `manifest.json` the hashes, versions and checks."
    )


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(facts: CardFacts) -> str:
    rows = [
        *_size_rows(facts.before, facts.after),
        *((row.name, row.before, row.after) for row in facts.measured),
    ]
    lines = ["| | parent | this model |", "|---|---:|---:|"]
    lines += [f"| {name} | {before} | {after} |" for name, before, after in rows]
    zeros = facts.stages[-1].parameters.get("after", {}).get("zeros", 0) if facts.stages else 0
    notes = []
    if zeros > facts.after.parameters["total"] // 100:
        notes.append(
            f"{zeros:,} of the weights are exactly zero. They are stored like any other number, so "
            "the file is no smaller and no faster for them."
        )
    if facts.measured:
        notes.append(
            f"Perplexity and the other quality figures were measured on {facts.measured_on}."
        )
    else:
        notes.append("No quality was measured: how much it lost is unknown.")
    return "\n".join(lines) + "\n\n" + " ".join(notes)


def _size_rows(before: ModelSize, after: ModelSize) -> Sequence[tuple[str, str, str]]:
    def bits(size: ModelSize) -> str:
        return "packed" if size.bits_per_weight is None else f"{size.bits_per_weight:.2f}"

    rows = [
        ("weight files, bytes", f"{before.file_bytes:,}", f"{after.file_bytes:,}"),
        ("bits per weight", bits(before), bits(after)),
    ]
    for label, part in (
        ("parameters", "total"),
        ("of these in the blocks", "blocks"),
        ("of these in embeddings and head", "embeddings"),
    ):
        rows.append((label, f"{before.parameters[part]:,}", f"{after.parameters[part]:,}"))
    return rows


def _run(facts: CardFacts) -> str:
    name = "this folder"
    lines = [f"With Galenic ({name} being `dose/`):\n", "```", "galenic inspect dose/"]
    lines += ["galenic evaluate dose/ --data DIR", "galenic serve --model dose/", "```\n"]
    if facts.after.kind == "gguf":
        lines.append("The `.gguf` file runs in llama.cpp and whatever is built on it.")
    else:
        lines.append(
            "transformers loads the folder with `AutoModelForCausalLM.from_pretrained`, no code of "
            "ours needed."
        )
    return "\n".join(lines)
