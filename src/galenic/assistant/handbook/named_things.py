"""Recognition of medicines, groups of medicines, conditions and foods in a text.

Each is found with the person who has or takes it, since a question may be about someone else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml

from galenic.assistant.handbook.owners import Owners, clauses
from galenic.assistant.triage.words.people import ages_in_months
from galenic.assistant.triage.words.phrase import GAP_STOPS, Matcher, Mention, parse_phrase
from galenic.assistant.triage.words.wording import TokenSentence, sentences, word_set
from galenic.record.medicines import Medicine, groups, named_in

__all__ = ["CHILD_MONTHS", "NamedThing", "named_things"]


class NamedThing(NamedTuple):
    """A medicine, group of medicines, condition or food that a text names.

    Attributes:
        said: the words of the text that name it, such as "blood thinner".
        owners: persons who may have or take it; empty if the text does not say.
        several: whether the text names more than one medicine of the group.
    """

    said: str
    owners: Owners = frozenset()
    several: bool = False


CHILD_MONTHS = {"under-12": 144.0, "under-16": 192.0}
"""Age groups of children, with their upper limit of age in months."""
_CHILD = frozenset(f"thing:{name}" for name in CHILD_MONTHS)
_WITH_BABY = frozenset({"thing:breastfeeding", "thing:pregnancy"})
"""Conditions with which "my baby" is not the one who takes a medicine."""
_GROUP_NAMES = {
    "anticoagulant": "blood thinner, blood thinners, anticoagulant, anticoagulants",
    "nsaid": "nsaid, nsaids, anti-inflammatory, anti-inflammatories",
    "statin": "statin, statins",
    "ssri": "ssri, ssris, antidepressant, antidepressants",
    "diuretic": "water tablet, water tablets, water pill, water pills, diuretic, diuretics",
    "maoi": "maoi, maois, mao inhibitor",
    "penicillin": "penicillin, penicillins",
    "antibiotic": "antibiotic, antibiotics",
    "insulin": "insulin",
    "steroid": "steroids, steroid tablets",
    "beta-blocker": "beta blocker, beta blockers",
    "ace-inhibitor": "ace inhibitor, ace inhibitors",
    "calcium-blocker": "calcium channel blocker, calcium channel blockers",
    "triptan": "triptan, triptans",
    "opioid": "opioid, opioids, opiate, opiates",
    "nitrate": "nitrate, nitrates, angina spray",
    "thyroid": "thyroid tablet, thyroid tablets, thyroid pill, thyroid pills, thyroid medicine, "
    "thyroid medication, thyroid meds",
    "z-drug": "sleeping tablet, sleeping tablets, sleeping pill, sleeping pills",
    "decongestant": "decongestant, decongestants",
    "combined-contraceptive": "contraceptive pill, birth control pill, birth control pills",
    "contrast": "with contrast, ct contrast, contrast ct, contrast scan, contrast injection, "
    "contrast medium",
    "iron-supplement": "iron supplement, iron supplements, iron pill, iron pills",
    "calcium-supplement": "calcium supplements, calcium pills",
}
"""Everyday names of groups of medicines, separated by commas."""
_BESIDE = {
    "iron-supplement": "iron", "calcium-supplement": "calcium", "potassium-supplement": "potassium",
    "antacid": "magnesium", "combined-contraceptive": "the pill, my pill, birth control",
}  # fmt: skip
"""Everyday words that name a group of medicines only if the text names another thing as well."""
_NOT_SO = re.compile(r"(iron|calcium|potassium) (channel|deficiency|levels?|score|blockers?|rich)")
"""Expressions such as "iron deficiency" in which these words name no medicine."""
_BEFORE = 3
"""Number of tokens before a condition in which a negation cancels it."""
_NO_LONGER = re.compile(
    r"\bused to (?:take|be on|have)\b|\bno longer (?:take|taking|on|use)\b"
    r"|\bi(?: am|m) not (?:on|taking)\b|\bi (?:do not|dont|never) (?:take|use)\b"
)
"""Expressions for a medicine that is not or no longer taken."""
_SOFT = word_set("water milk coffee tea juice squash cola coke lemonade smoothie formula")
_GIVEN_UP = word_set("stopped quit gave")
_NO_FOOD = word_set("breast expressed mothers donor")
_NO_FOOD_AFTER = word_set("of thistle teeth supply")


def named_things(text: str) -> dict[str, NamedThing]:
    """Find the medicines, groups, conditions and foods that a text names.

    "My mother takes warfarin" gives the keys ``medicine:warfarin`` and ``group:anticoagulant``,
    with the owner ``mother``. Medicines that are no longer taken are left out.

    Args:
        text: text of any number of sentences, in the user's own words.

    Returns:
        The things found, by key: ``medicine:<id>``, ``group:<name>`` or ``thing:<name>``.
    """
    whole, found, groups_of = _keys(text), dict[str, NamedThing](), Counter[str]()
    for medicine in named_in(text):
        groups_of.update(f"group:{group}" for group in medicine.groups)
    if not whole:
        return found
    spoken = list(clauses(text))
    keys_of = {clause: _keys(clause, alone=False) for clause in {one for one, _ in spoken}}
    parts = [(keys_of[clause], owners, clause) for clause, owners in spoken]
    for key, said in whole.items():
        held = [(owners, clause) for keys, owners, clause in parts if key in keys]
        if held and not key.startswith("thing:") and all(_NO_LONGER.search(c) for _, c in held):
            continue
        plain = held and all(owners for owners, _ in held)
        owners = frozenset[str]().union(*(who for who, _ in held)) if plain else frozenset()
        found[key] = NamedThing(said, owners, groups_of[key] > 1)
    return found


def _keys(text: str, *, alone: bool = True) -> dict[str, str]:
    """Return the keys of all things that a text names, each with the words that name it.

    Args:
        text: a text, or one clause of it.
        alone: whether an allergy to a medicine counts as that medicine if no other is named.
    """
    found: dict[str, str] = {}
    read = sentences(text)
    mentions = [(sentence, one) for sentence in read for one in _held(sentence)]
    for sentence, mention in mentions:
        said = " ".join(sentence.shown[mention.start : mention.end])
        found.setdefault(f"thing:{mention.concept}", said)
    if found.keys() & _WITH_BABY:
        found = {k: v for k, v in found.items() if not (k in _CHILD and v.lower().endswith("baby"))}
    for sentence in read:
        for _, months in ages_in_months(sentence.tokens):
            for name, most in CHILD_MONTHS.items():
                if months < most:
                    found.setdefault(f"thing:{name}", "a child")
    medicines = _taken(text, mentions, alone=alone)
    for medicine, said in medicines.items():
        found.setdefault(f"medicine:{medicine.id}", said)
        for group in medicine.groups:
            found.setdefault(f"group:{group}", said)
    spoken = {f"group:{group}": said for group, said in _spoken(text, found).items()}
    return {**spoken, **found}


def _spoken(text: str, found: Mapping[str, str]) -> dict[str, str]:
    """Return the groups of medicines that a text names by everyday words, by group.

    Args:
        text: the text.
        found: keys that were found in it; words of `_BESIDE` count only if there are any.
    """
    plain = f" {' '.join(re.findall(r'[a-z0-9-]+', text.lower()))} "
    beside = _NOT_SO.sub(" ", plain) if found else ""
    named: dict[str, str] = {}
    words = set(plain.split())
    for names, where in ((_GROUP_NAMES, plain), (_BESIDE, beside)):
        for group, said in names.items():
            for name in said.split(", "):
                if name.partition(" ")[0] in words and group in groups() and f" {name} " in where:
                    named.setdefault(group, name)
    if "penicillin" in named and "thing:penicillin-allergy" in found:
        del named["penicillin"]
    return named


def _held(sentence: TokenSentence) -> list[Mention]:
    """Return the conditions and foods that a sentence names and does not negate."""
    tokens = sentence.tokens
    return [
        one
        for one in _matcher().find(tokens)
        if not GAP_STOPS & set(tokens[max(0, one.start - _BEFORE) : one.start])
        and not (one.concept == "alcohol" and _no_alcohol(tokens, one))
        and not (one.concept == "dairy" and _no_food(tokens, one))
    ]


def _no_alcohol(tokens: Sequence[str], one: Mention) -> bool:
    """Check whether a mention of drinking is not about alcohol, or is about having given it up."""
    given_up = _GIVEN_UP & set(tokens[max(0, one.start - 2) : one.start])
    return bool(given_up or _SOFT & set(tokens[one.end : one.end + 4]))


def _no_food(tokens: Sequence[str], one: Mention) -> bool:
    """Check whether a mention of milk is about breast milk or part of a name ("milk thistle")."""
    before, after = tokens[max(0, one.start - 1) : one.start], tokens[one.end : one.end + 1]
    return bool(_NO_FOOD & set(before) or _NO_FOOD_AFTER & set(after))


def _allergies(
    mentions: Sequence[tuple[TokenSentence, Mention]],
) -> list[tuple[TokenSentence, Mention]]:
    """Return the mentions of allergies."""
    return [(sentence, one) for sentence, one in mentions if one.concept.endswith("-allergy")]


def _taken(
    text: str, mentions: Sequence[tuple[TokenSentence, Mention]], *, alone: bool
) -> dict[Medicine, str]:
    """Return the medicines that a text names, except those that it names as an allergy.

    Args:
        text: the text.
        mentions: conditions and foods in the text, with their sentences.
        alone: if there are no others, return those named as an allergy too.
    """
    named = named_in(text)
    allergic = {word for s, one in _allergies(mentions) for word in s.shown[one.start : one.end]}
    others = {medicine: said for medicine, said in named.items() if said not in allergic}
    return others or (named if alone else {})


@cache
def _matcher() -> Matcher:
    """Load the phrases of ``conditions.yaml``."""
    text = files("galenic.assistant.handbook").joinpath("conditions.yaml").read_text("utf-8")
    matcher = Matcher()
    for name, said in yaml.safe_load(text).items():
        matcher.add(name, (phrase for say in said for phrase in parse_phrase(say, {})))
    return matcher
