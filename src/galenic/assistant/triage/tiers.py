"""How soon help is needed: the words for it and their order."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["TIERS", "Tier", "highest", "rank"]

Tier = Literal["unknown", "self-care", "days", "today", "emergency"]
"""``unknown``: we could not tell how urgent this is. It is no statement that all is well."""

TIERS: tuple[Tier, ...] = get_args(Tier)
"""From the least to the most urgent."""


def rank(tier: Tier) -> int:
    """The place of a tier in `TIERS`: a higher one is more urgent."""
    return TIERS.index(tier)


def highest(*tiers: Tier) -> Tier:
    """The most urgent one; ``unknown`` of none."""
    return max(tiers, key=rank, default="unknown")
