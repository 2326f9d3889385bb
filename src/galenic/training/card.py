"""Model card of a tuned model or adapter: description, training data and held-out results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from galenic.artifact.front import card_head
from galenic.artifact.licence import LIMITS, parent_licence, text_read
from galenic.artifact.manifest import Stage
from galenic.models.files import ModelFiles

__all__ = ["tuned_card"]


TITLES = {
    "heldout_loss": "loss, nats per token",
    "heldout_kl": "KL from the teacher, nats per token",
}


@dataclass(frozen=True)
class _Facts:
    """The facts that a card is generated from.

    Attributes:
        parent: name of the parent model, as the user gave it.
        licence: the parent's licence; None if its files state none.
        saves: ``"adapter"`` or ``"model"``.
        stage: manifest entry of the training stage.
    """

    parent: str
    licence: str | None
    saves: str
    stage: Stage


def tuned_card(parent: ModelFiles, saves: str, stage: Stage) -> str:
    """Return the model card as Markdown; deterministic for the same arguments.

    Args:
        parent: the parent model.
        saves: ``"adapter"`` or ``"model"``.
        stage: manifest entry of the training stage.
    """
    facts = _Facts(parent.name, parent_licence(parent), saves, stage)
    parts = [
        card_head(facts.parent, facts.licence) + "\n" + _what(facts),
        "## What was done\n\n" + _done(facts.stage),
        "## Training data\n\n" + _sources(facts.stage.calibration or {}),
        "## Held-out texts\n\n" + _checks(facts.stage.checks),
        "## How to run\n\n" + _run(facts),
        "## What it is for, and what it is not\n\n" + LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _what(facts: _Facts) -> str:
    taught = facts.stage.options.get("teacher")
    thing = "An adapter for" if facts.saves == "adapter" else "A tuned form of"
    done = f"healed by `{taught}`" if taught else f"fine-tuned ({facts.stage.method})"
    licence = (
        f"The parent states the licence `{facts.licence}`; it holds here as well."
        if facts.licence
        else "The parent's files state no licence. Look it up at its source: it holds here as well."
    )
    return (
        f"# {facts.parent}, {done}\n\n{_result(facts.stage.checks)}\n\n"
        f"{thing} `{facts.parent}` (weights' SHA-256 `{facts.stage.parent.sha256}`), made by "
        f"Galenic. {licence} The texts it learnt from have licences of their own."
    )


def _done(stage: Stage) -> str:
    options = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in sorted(stage.options.items())
        if value not in (None, [], False)
    )
    trained = stage.parameters["trained"]["total"]
    lines = [
        f"- [{stage.method}]({stage.reference_url}), {trained:,} parameters trained: {options}"
    ]
    lines += [f"- {note}" for note in stage.notes]
    return "\n".join(lines) + "\n\n`training.jsonl` has every step, `manifest.json` every hash."


def _sources(texts: dict[str, Any]) -> str:
    if any("form" not in one for one in texts.get("sources", ())):
        besides = texts.get("train")
        plain = f"{text_read(texts).capitalize()}."
        return f"{plain}\n\nBesides:\n\n{_sources(besides)}" if besides else plain
    lines = [
        "| source | form | weight | texts | held out | removed |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one['source']} | {one['form']} | {one['weight']:g} | {one['texts']:,} | "
        f"{one['heldout']:,} | {one['removed']:,} |"
        for one in texts.get("sources", ())
    ]
    held = (
        "It was not checked for test questions."
        if texts.get("against") == "none"
        else "`removed.jsonl` lists rows that are test questions, or nearly"
        + (": they were left in." if texts.get("allow_contaminated") else ", and were removed.")
    )
    return "\n".join(lines) + f"\n\n{held}"


def _result(checks: dict[str, float]) -> str:
    """The held-out results in a sentence."""
    parts = [
        f"{title} {after:.3f} (before: {before:.3f})" for title, before, after in _rows(checks)
    ]
    return f"On held-out texts after training: {'; '.join(parts)}." if parts else ""


def _rows(checks: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """Title, value before and value after training of each held-out result."""
    for name, value in checks.items():
        if not name.startswith("heldout_") or "_before" in name:
            continue
        kind, _, group = name.partition("heldout_accuracy_")
        before = f"heldout_accuracy_before_{group}" if not kind else f"{name}_before"
        yield (f"accuracy on {group}" if not kind else TITLES[name]), checks[before], value


def _checks(checks: dict[str, float]) -> str:
    lines = ["| | before | after |", "|---|---:|---:|"]
    lines += [f"| {title} | {before:.4f} | {after:.4f} |" for title, before, after in _rows(checks)]
    return "\n".join(lines) + (
        "\n\nThese few texts were used to choose the weights: this is not a benchmark result."
    )


def _run(facts: _Facts) -> str:
    if facts.saves == "model":
        return "```\ngalenic evaluate tuned/ --data DIR\n```"
    return (
        "With Galenic (this folder being `adapter/`):\n\n```\n"
        f"galenic merge {facts.parent} adapter/ -o merged/\ngalenic evaluate merged/ --data DIR\n"
        "```\n\nThe library peft reads it as well, with the weights that it was trained with."
    )
