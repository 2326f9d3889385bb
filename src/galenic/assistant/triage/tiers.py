"""Urgency tiers of triage, their order, and helpers that compare them."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["TIERS", "Tier", "highest", "rank"]

Tier = Literal["unknown", "self-care", "days", "today", "emergency"]
"""How soon a person needs medical help.

``self-care``: the person can look after it at home. ``days``: see a doctor or nurse within a few
days. ``today``: speak to one the same day. ``emergency``: call an ambulance now. ``unknown``: the
urgency could not be determined; it does not mean that the person is well."""

TIERS: tuple[Tier, ...] = get_args(Tier)
"""All tiers, from the least to the most urgent."""


def rank(tier: Tier) -> int:
    """Return the position of a tier in `TIERS`; a higher rank is more urgent."""
    return TIERS.index(tier)


def highest(*tiers: Tier) -> Tier:
    """Return the most urgent of the given tiers, or ``unknown`` if none are given."""
    return max(tiers, key=rank, default="unknown")
