"""The head of a model card: what the Hugging Face Hub reads of it.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from galenic.models.fetch.embedded import EMBEDDED

__all__ = ["base_model", "card_head"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def base_model(parent: str) -> str | None:
    """The parent's id on the Hub, or None where it is not known to have one.

    Args:
        parent: as the user named it: an embedded model, a Hub id, a file or a folder.
    """
    if parent in EMBEDDED:
        return EMBEDDED[parent].hub_id or None
    is_id = HUB_ID.fullmatch(parent) and not parent.endswith(".gguf") and not Path(parent).exists()
    return parent if is_id else None


def card_head(parent: str, licence: str | None, more: Mapping[str, Any] | None = None) -> str:
    """YAML between lines of dashes; what is not known is left out.

    Args:
        parent: as the user named it.
        licence: of the parent, as it states it.
        more: further keys, ``model-index`` for instance.
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
