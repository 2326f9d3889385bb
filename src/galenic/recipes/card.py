"""The model card: what a compressed model is, what was done, what was measured, what it is not for.

It says nothing that was not measured or read from a file.
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

__all__ = [
    "CardFacts",
    "Measurement",
    "model_card",
]


@dataclass(frozen=True)
class Measurement:
    """A row of the before/after table that was measured.

    Attributes:
        name: of the quantity, with its unit.
        before: of the parent, as shown; a dash where it has no meaning.
        after: of this model.
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made from.

    Attributes:
        recipe: that was followed.
        parent: the model it was made from, as the user wrote it.
        licence: of the parent, None where it states none.
        stages: what was done, in order.
        before: the parent's sizes.
        after: this model's sizes.
        measured: rows that were measured, none where measuring was left out.
        measured_on: the text that they were measured on.
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
    """The card as Markdown; the same facts give the same bytes."""
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
        f"# {facts.parent}, compressed with the recipe `{facts.recipe.name}`\n\n"
        f"{facts.recipe.description}\n\n"
        f"Made by Galenic from `{facts.parent}` (weights' SHA-256 `{facts.before.sha256}`), "
        f"architecture {facts.after.architecture}, {facts.after.num_layers} layers. {licence}"
    )


def _done(facts: CardFacts) -> str:
    lines = []
    for number, stage in enumerate(facts.stages, 1):
        options = ", ".join(
            f"{key} {_show(value)}"
            for key, value in sorted(stage.options.items())
            if value not in (None, [])  # not asked for
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
        notes.append(f"Perplexity and its like were measured on {facts.measured_on}.")
    else:
        notes.append("No quality was measured: how much it lost is not known.")
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
    lines += ["galenic evaluate dose/ --data DIR", "```\n"]
    if facts.after.kind == "gguf":
        lines.append("The `.gguf` file runs in llama.cpp and whatever is built on it.")
    else:
        lines.append(
            "transformers loads the folder with `AutoModelForCausalLM.from_pretrained`, no code of "
            "ours needed."
        )
    return "\n".join(lines)
