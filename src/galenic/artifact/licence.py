"""Parts of every model card: licence, calibration text and limits of use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from galenic.models.files import ModelFiles
from galenic.models.gguf.header import read_metadata

__all__ = [
    "CARD",
    "LIMITS",
    "parent_licence",
    "text_read",
]

CARD = "README.md"


LIMITS = (
    "For research on small, private medical language models, on a computer of your own.\n\n"
    "**It is not a medical device.** It was not examined for safety or for benefit to patients. "
    "It states wrong things in a convincing way, and compression makes errors more frequent in "
    "ways that a few numbers do not show. Do not use it to diagnose, to treat, to dose or to "
    "decide about a person; ask someone who is qualified to. What its parent must not be used for, "
    "it must not be used for either."
)


def parent_licence(files: ModelFiles) -> str | None:
    """Licence stated in a GGUF's metadata or in the front matter of a folder's model card.

    Returns:
        The licence as written there; None if none is stated.
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
    except yaml.YAMLError:  # a card by others may be malformed
        return None
    stated = found.get("license") if isinstance(found, dict) else None
    return stated if isinstance(stated, str) and stated.strip() else None


def text_read(calibration: Mapping[str, Any]) -> str:
    """Describe the calibration text of a stage: a number of token sequences, or all documents."""
    sources = " and ".join(str(source["source"]) for source in calibration["sources"])
    if "num_samples" not in calibration:
        return f"all {calibration['documents']:,} documents of {sources}"
    return (
        f"{calibration['num_samples']} sequences of {calibration['seq_len']} tokens from "
        f"{sources}, seed {calibration['seed']}"
    )
