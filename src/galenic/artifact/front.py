"""YAML front matter of a model card, as read by the Hugging Face Hub.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from galenic.models.fetch.embedded import EMBEDDED
from galenic.reading import has_suffix

__all__ = ["base_model", "card_head"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def base_model(parent: str) -> str | None:
    """Hub id of the parent model, or None if unknown.

    Args:
        parent: the parent as the user named it: an embedded model, a Hub id, a file or a folder.
    """
    if parent in EMBEDDED:
        return EMBEDDED[parent].hub_id or None
    is_file = has_suffix(parent, ".gguf") or Path(parent).exists()
    return parent if HUB_ID.fullmatch(parent) and not is_file else None


def card_head(parent: str, licence: str | None, more: Mapping[str, Any] | None = None) -> str:
    """Front matter of a model card, between lines of dashes; unknown fields are omitted.

    Args:
        parent: the parent model as the user named it.
        licence: licence that the parent states, or None.
        more: further keys, for example ``model-index``.
    """
    head: dict[str, Any] = {}
    if (found := base_model(parent)) is not None:
        head["base_model"] = found
    if licence is None and parent in EMBEDDED:
        licence = EMBEDDED[parent].licence
    if licence is not None:
        head["license"] = licence.lower()
    head |= {"tags": ["medical", "galenic"], **(more or {})}
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"
