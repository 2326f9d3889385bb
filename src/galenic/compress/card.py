"""The model card: what a compressed model is, what was done, what was measured, what it is not for.

It says nothing that was not measured or read from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from galenic.artifact import Stage
from galenic.models.gguf import read_metadata
from galenic.models.load import ModelFiles
from galenic.models.size import ModelSize
from galenic.recipe import Recipe

__all__ = ["CARD", "CardFacts", "Measurement", "model_card", "parent_licence", "text_read"]

CARD = "README.md"


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
        _what(facts),
        "## What was done\n\n" + _done(facts),
        "## Before and after\n\n" + _table(facts),
        "## How to run\n\n" + _run(facts),
        "## What it is for, and what it is not\n\n" + LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


LIMITS = (
    "For research on small, private medical language models, on a computer of your own.\n\n"
    "**It is not a medical device.** It was not examined for safety or for benefit to patients. "
    "It states wrong things in a convincing way, and compression makes errors more frequent in "
    "ways that a few numbers do not show. Do not use it to diagnose, to treat, to dose or to "
    "decide about a person; ask someone who is qualified to. What its parent must not be used for, "
    "it must not be used for either."
)


def parent_licence(files: ModelFiles) -> str | None:
    """The licence that a model's own files state: in a GGUF's metadata, or at the top of its card.

    Returns:
        The licence as written there, None where none is stated.
    """
    if files.kind == "gguf":
        stated = read_metadata(files.path).get("general.license")
        return stated if isinstance(stated, str) and stated.strip() else None
    card = files.path / CARD
    if not card.is_file():
        return None
    _, mark, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    front, end, _ = rest.partition("\n---")
    if not mark or not end:
        return None
    try:
        found = yaml.safe_load(front)
    except yaml.YAMLError:  # somebody else's page: it need not be in order
        return None
    stated = found.get("license") if isinstance(found, dict) else None
    return stated if isinstance(stated, str) and stated.strip() else None


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
        knobs = ", ".join(
            f"{key} {_show(value)}"
            for key, value in sorted(stage.knobs.items())
            if value not in (None, [])  # not asked for
        )
        lines.append(f"{number}. {stage.stage}, [{stage.method}]({stage.reference_url}): {knobs}.")
        if stage.calibration:
            lines.append(f"   Fitted on {text_read(stage.calibration)}.")
    return "\n".join(lines) + (
        "\n\n`recipe.yaml` has every knob, `manifest.json` the hashes, versions and checks."
    )


def text_read(calibration: Mapping[str, Any]) -> str:
    """What text a stage read: sequences of tokens, or (a method of whole texts) all documents."""
    sources = " and ".join(str(source["source"]) for source in calibration["sources"])
    if "num_samples" not in calibration:
        return f"all {calibration['documents']:,} documents of {sources}"
    return (
        f"{calibration['num_samples']} sequences of {calibration['seq_len']} tokens from "
        f"{sources}, seed {calibration['seed']}"
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
