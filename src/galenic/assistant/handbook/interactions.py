"""Warnings about interactions of medicines with medicines, health conditions and foods.

Interactions are listed in ``interactions.yaml`` by name of a medicine, group of medicines,
condition or food. A warning is given if the question names one side, and the question or the health
record names the other. Negated mentions ("I am not pregnant") do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from galenic.assistant.handbook.entry import PublicPage
from galenic.assistant.handbook.named_things import CHILD_MONTHS, NamedThing, named_things
from galenic.assistant.handbook.owners import apart
from galenic.record.facts import Fact

__all__ = ["Interaction", "Warned", "interactions", "warnings"]

MOST = 3
"""Maximum number of warnings for one question."""
_LEVELS = ("avoid", "ask-first", "caution")
"""Levels of warning, most severe first."""


class _Side(BaseModel):
    """One side of an interaction: a medicine, a group of medicines, a condition or a food.

    Attributes:
        medicine: id of a medicine, such as ``ibuprofen``; empty if the side is something else.
        group: name of a group of medicines, such as ``nsaid``; empty if the side is something else.
        condition: name of a condition, such as ``pregnancy``; empty if the side is something else.
        food: name of a food or drink, such as ``alcohol``; empty if the side is something else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    medicine: str = ""
    group: str = ""
    condition: str = ""
    food: str = ""


class Interaction(BaseModel):
    """Two things that should not be combined, and the warning for the user.

    Attributes:
        id: unique name, such as ``ibuprofen-warfarin``.
        a: one side.
        b: the other side.
        level: severity: ``avoid``, ``ask-first`` or ``caution``.
        text: the warning, as displayed to the user.
        why: short explanation of the mechanism.
        sources: public pages that support the warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    a: _Side
    b: _Side
    level: Literal["avoid", "ask-first", "caution"]
    text: str = Field(min_length=1)
    why: str = ""
    sources: tuple[PublicPage, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Warned:
    """An interaction that applies to a user.

    Attributes:
        interaction: the interaction.
        recorded: how the user's notes or record name the other side, such as "warfarin"; empty if
            the question itself names both sides.
    """

    interaction: Interaction
    recorded: str

    @property
    def text(self) -> str:
        """The warning as displayed to the user, including what the record lists."""
        if not self.recorded:
            return self.interaction.text
        return f"Your notes or record list {self.recorded}. {self.interaction.text}"


@cache
def interactions() -> tuple[Interaction, ...]:
    """Load the table of interactions."""
    text = files("galenic.assistant.handbook").joinpath("interactions.yaml").read_text("utf-8")
    raw: Any = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return TypeAdapter(tuple[Interaction, ...]).validate_python(raw)


def warnings(question: str, notes: str = "", facts: Sequence[Fact] = ()) -> list[Warned]:
    """Return the interactions that apply to a question, most severe first, at most `MOST`.

    If several rows match the same pair, the one that names more individual medicines (rather than
    groups) is kept. Example: "Can I take ibuprofen with warfarin?" gives ``ibuprofen-warfarin``.

    Args:
        question: the question in the user's own words.
        notes: the user's notes as plain text.
        facts: facts of the user's health record; only those in state ``holds`` count.
    """
    asked, kept = named_things(question), {**_of_notes(notes), **_recorded(facts)}
    found: dict[frozenset[str], tuple[int, Warned]] = {}
    for row in interactions():
        for warned, pair in _matches(row, asked, kept):
            rank = bool(row.a.medicine) + bool(row.b.medicine)
            if pair not in found or rank > found[pair][0]:
                found[pair] = (rank, warned)
    ranked = sorted(
        (warned for _, warned in found.values()),
        key=lambda one: (_LEVELS.index(one.interaction.level), one.interaction.id),
    )
    return ranked[:MOST]


def _matches(
    row: Interaction, asked: Mapping[str, NamedThing], kept: Mapping[str, str]
) -> Iterator[tuple[Warned, frozenset[str]]]:
    """Yield the warnings of one row that apply, each with the pair of names that it is about.

    Args:
        row: the interaction.
        asked: things that the question names, by key, from `named_things`.
        kept: names in the user's notes and record, by the same keys.
    """
    for one, other in ((_key(row.a), _key(row.b)), (_key(row.b), _key(row.a))):
        ours, also, theirs = asked.get(one), asked.get(other), kept.get(other)
        if ours is None:
            continue
        if also is not None:
            both = ours.several if one == other else ours.said != also.said
            if both and not apart((one, ours.owners), (other, also.owners)):
                yield Warned(row, ""), frozenset((ours.said, also.said))
        if theirs is not None and theirs != ours.said:
            yield Warned(row, theirs), frozenset((ours.said, theirs))


def _of_notes(notes: str) -> dict[str, str]:
    """Return the names in a user's notes, by key; all are taken to be about the user."""
    return {key: named.said for key, named in named_things(notes).items()}


def _key(side: _Side) -> str:
    """Return the key of a side as in `named_things`, such as ``group:nsaid``."""
    kind = "medicine" if side.medicine else "group" if side.group else "thing"
    return f"{kind}:{side.medicine or side.group or side.condition or side.food}"


_THINGS = frozenset(
    {
        "breastfeeding", "kidney-disease", "liver-disease", "heart-failure", "high-blood-pressure",
        "asthma", "stomach-ulcer", "glaucoma", "epilepsy", "enlarged-prostate", "dementia",
        "myasthenia", "g6pd", "diabetes",
    }
)  # fmt: skip
_ALIASES = {"pregnancy": "pregnancy", "insulin": "diabetes", "clot": "blood-clot"}
_ALLERGIES = {
    "penicillin": "penicillin-allergy", "nsaid": "nsaid-allergy", "salicylate": "nsaid-allergy",
    "sulfonamide": "sulfa-allergy", "trimethoprim-group": "sulfa-allergy",
}  # fmt: skip


def _recorded(facts: Sequence[Fact]) -> dict[str, str]:
    """Return what a health record names, keyed as in `named_things`.

    Keys follow from the medicines, allergies, age and traits of facts in state ``holds``.

    Returns:
        For each key, how a warning refers to the recorded fact.
    """
    found: dict[str, str] = {}
    for fact in facts:
        if fact.state != "holds":
            continue
        keys = [f"thing:{name}" for name in fact.traits if name in _THINGS]
        keys += [f"thing:{_ALIASES[name]}" for name in fact.traits if name in _ALIASES]
        if fact.months and min(fact.months) < max(CHILD_MONTHS.values()):
            keys += [f"thing:{n}" for n, most in CHILD_MONTHS.items() if min(fact.months) < most]
        if fact.kind == "medicine":
            for name in fact.names:
                keys += [key for key in named_things(name) if not key.startswith("thing:")]
        if fact.kind == "allergy":
            kinds = {
                key.removeprefix("group:") for name in fact.names for key in named_things(name)
            }
            keys += [f"thing:{what}" for kind, what in _ALLERGIES.items() if kind in kinds]
            keys += ["thing:sulfa-allergy"] if _sulfa(fact) else []
        for key in keys:
            found.setdefault(key, _label(fact))
    return found


def _sulfa(fact: Fact) -> bool:
    """Check whether an allergy is to a sulfa medicine, by its name."""
    return any(
        word in name.lower() for name in fact.names for word in ("sulfa", "sulpha", "sulfon")
    )


def _label(fact: Fact) -> str:
    """Return how a warning refers to a recorded fact, such as "warfarin" or "a child"."""
    if fact.kind == "person":
        return "a child"
    return f"an {fact.text}" if fact.kind == "allergy" else fact.name
