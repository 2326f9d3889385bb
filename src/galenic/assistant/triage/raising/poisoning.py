"""Detect possible poisoning: which medicine or product, how much, by whom and why.

Names come from ``record/medicines.yaml``. Any medicine or harmful product swallowed by a child, a
harmful product swallowed by anyone, and many tablets at once are emergencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.said import Said
from galenic.assistant.triage.tiers import Tier
from galenic.assistant.triage.words.numerals import as_digits
from galenic.assistant.triage.words.wording import flatten

__all__ = ["Named", "find", "names"]

LONGEST_NAME = 4
"""Maximum number of words of a name."""
MANY = {"high": 8, "medium": 12, "low": 20}
"""Number of tablets at once that is an emergency, by the danger of an overdose; fewer are
not safe."""
SOME = {"high": 5, "medium": 6, "low": 12}
"""Number of tablets at once that needs advice today, by the danger of an overdose."""
PARACETAMOL_GRAMS = 5.0

_SOURCE = Source(
    name="NHS: Poisoning",
    url="https://www.nhs.uk/conditions/poisoning/",
    seen=date(2026, 11, 30),
)
_SWALLOWED = re.compile(
    r"\b(?:took|taken|taking|take|swallow\w*|ate|eat|eaten|eats|drank|drunk|drinks?|drinking|downed|"
    r"necked?d?|neckd|ingest\w*|chew\w*|suck\w*|lick\w*|gulp\w*|injected|injectid|popped|"
    r"got (?:in ?to|hold of|at)|put in (?:his|her|their) mouth|in (?:his|her|their) mouth|"
    r"found (?:him|her|them) with|bit in ?to|sipped|sip|inhal\w*|breath\w* in|sniff\w*|od|oded|overdos\w*|"
    r"been at|at the|ive had|has had|squirt\w*|"
    r"gave (?:him|her|my \w+|the \w+)|given (?:him|her)|had|mouthful|helped (?:him|her)self)\b"
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s")
_TERSE = re.compile(r"^\s*(?:x ?)?\d{2,3} ?(?:x )?[a-z-]{5,}(?:\s|$|[.,!])")
"""A count and a name without a verb, such as "20 sertraline. scared now."."""
_AMOUNT = re.compile(
    r"(?<![\d.,/-])(?P<n>\d{1,3})\s*(?:x\s*|\+\s*|or so\s+)?(?:\w+[ -]){0,3}?"
    r"(?P<what>pills?|tablets?|tabs?|capsules?|caps|caplets?|sachets?|patches|gummies|sleepers|NAMED)\b"
)
_WHOLE = re.compile(
    r"\b(?:(?:whole|entire|full|all (?:of )?(?:my|his|her|the|their|them|it)|half (?:a|the|my|his|her)|rest of|most of|all that|"
    r"handfuls?|fistful|couple of packs?|few packs?|loads|lots|bunch|too many|so many|every (?:last )?one|strips?|"
    r"(?:two|three|four|five|2|3|4|5) (?:packs?|packets?|boxes|bottles|strips|handfuls)|weeks? worth|months? (?:of|worth)|"
    r"week's|bottle of|packet of|pack of|box of)|(?:the lot|all of them|all at once|in one go|empty|overdos\w*|\bod\b))\b"
)
_TOO_MUCH = re.compile(
    r"\b(?:twice|double|doubled|dubble|triple|extra|too much|too many|10 times|ten times|wrong|instead of|by mistake|"
    r"by accident|accident\w*|mix(?:ed)? up|somebody elses|someone elses|more than (?:the|i|he|she)|over the limit|"
    r"\d+ times the|(?:every day|daily|each day)[^.]{0,40}(?:instead|weekly|week)|instead of (?:once a week|weekly)|"
    r"\d+ days?(?:s)? worth)\b"
)
_NOT_NOW = re.compile(
    r"\b(?:years? ago|in (?:19|20)\d\d|as a (?:child|kid|teen\w*)|when i was|(?:over|in|for|within) the (?:last|past) (?:few )?(?:weeks?|months?|years?)|"
    r"how (?:do|should|can) (?:i|we) (?:store|keep|dispose)|prescri\w+ (?:me )?\d+|packs? of \d+ (?:cost|from)|"
    r"is it (?:ok|okay|safe|alright|fine) to|can (?:i|you|we) (?:take|have|give)|should i (?:take|give)|may i|"
    r"^(?!.*\b(?:i|me|we|he ate|she ate|son|daughter|child|toddler|baby|kid|boy|girl)\b)(?:(?:my|our|the|a|his|her|their|neighbours) )?(?:\w+ )?"
    r"(?:dog|cat|puppy|pup|kitten|rabbit|hamster|ferret|horse|pony|goat|hen|parrot|tortoise)s? (?:\w+ )?(?:ate|eaten|swallow\w*|chew\w*|lick\w*|drank|drunk|got)|"
    r"what (?:happens|would happen) if|novel|film|movie|soap|storyline|episode|the (?:dog|cat|puppy|kitten|rabbit|hamster)|my (?:dog|cat|puppy|kitten|rabbit|hamster|pup))\b"
)
_CHILD = re.compile(
    r"\b(?:toddler|baby|babby|child|kid|kiddo|grandchild|little one|son|daughter|grandson|granddaughter|nephew|niece|"
    r"(?:[1-9]|1[0-1]|one|two|three|four|five|six|seven) ?(?:-| )?(?:yo|year|yr|mo|month)s?(?: |-)?(?:old)?|twins?|infant|boy|girl|crawler|he crawled|nursery|schoolboy)\b"
)


@dataclass(frozen=True)
class Named:
    """A medicine or product, with the danger of an overdose: ``high``, ``medium`` or ``low``."""

    id: str
    kind: str
    danger: str
    groups: tuple[str, ...]


def find(said: Said) -> list[Finding]:
    """Return the poisoning findings of a text, at most the most urgent one for each part."""
    found: list[Finding] = []
    if said.reading.general:
        return found
    for whole in _parts(said.text):
        part = " ".join(one for one in _SENTENCE.split(whole) if not _NOT_NOW.search(one))
        if not (_SWALLOWED.search(part) or _TERSE.match(part)):
            continue
        things = _things(part)
        child = "child" in said.people or bool(_CHILD.search(part))
        if (one := _judge(part, things, child)) is not None:
            ill = bool(_ILL & set(said.reading.words)) or bool(_INSULIN.search(part))
            if one.id == "poisoning-mistake" and ill:
                one = _finding("mistake", "emergency", one.words)
            found.append(one)
    return found


def _judge(part: str, things: list[tuple[Named, str]], child: bool) -> Finding | None:
    words = tuple(dict.fromkeys(name for _, name in things))
    worst = min((_ORDER[thing.danger] for thing, _ in things), default=_ORDER["medium"])
    danger = next(name for name, order in _ORDER.items() if order == worst)
    products = [thing for thing, _ in things if thing.kind == "product"]
    count = _count(part, words)
    whole = _WHOLE.search(part) is not None and (bool(things) or _PILLS.search(part) is not None)
    if products and (danger != "low" or whole):
        return _finding("product", "emergency", words)
    someones = _SOMEONES.search(part) is not None
    if child and (things or someones) and not products and _CHILD_TOOK.search(part):
        return _finding("child", "emergency", words)
    if count >= MANY[danger] or whole or _grams(part) >= PARACETAMOL_GRAMS:
        return _finding("many", "emergency", words or ("tablets",))
    if count >= SOME[danger]:
        return _finding("some", "today", words or ("tablets",))
    if things and _TOO_MUCH.search(part):
        return _finding("mistake", "today", words)
    return None


_ORDER = {"high": 0, "medium": 1, "low": 2}
_ILL = {"faint", "drowsy", "breathless", "cant_breathe", "confusion", "seizure", "collapse", "sweaty",
        "unconscious", "visual_disturbance", "balance_lost", "speech_trouble"}  # fmt: skip
_INSULIN = re.compile(r"\binsulins?\b|novorapid|humalog|lantus|glargine|rapid pen")
_PILLS = re.compile(
    r"\b(?:pills?|tablets?|tabs|capsules|meds|medication|medicines?|packets?|strips?|sleepers)\b"
)
_SOMEONES = re.compile(
    r"\b(?:grandmas?|grandpas?|grandads?|grannys?|grans?|nans?|nanas?|mums?|moms?|dads?|my|our|somebody elses|"
    r"sisters?|brothers?|the dogs?) (?:\w+ ){0,3}(?:pills?|tablets?|tabs|capsules|meds|medication|medicines?|patch(?:es)?)\b"
)
"""Medicine that belongs to somebody else, such as "grandma's pills"."""
_CHILD_TOOK = re.compile(
    r"\b(?:swallow\w*|ate|eaten|chew\w*|suck\w*|lick\w*|drank|drunk|drink|got (?:in ?to|hold of|at)|"
    r"in (?:his|her|their) mouth|(?:he|she|toddler|son|daughter|child|baby|girl|boy|kid)(?:s| has| may have| might have)? (?:took|taken|had)|"
    r"took|taken|helped|missing|gone|empty)\b"
)
_GRAMS = re.compile(r"(?<![\d.,])(\d{1,2}(?:[.,]\d)?)\s*(?:g|grams?|gm)\b(?=[^.]{0,40}\b(?:paracetamol|acetaminophen|tylenol|panadol|pcm)\b)|"
                    r"\b(?:paracetamol|acetaminophen|tylenol|panadol|pcm)\b[^.]{0,20}?(?<![\d.,])(\d{1,2}(?:[.,]\d)?)\s*(?:g|grams?|gm)\b")  # fmt: skip
_REASONS = {
    "product": "Some household products and plants burn or poison when they are swallowed.",
    "child": "A child may have taken a medicine: even one tablet can be dangerous.",
    "many": "So much of a medicine at once can be dangerous, even while the person feels well.",
    "some": "This is more of a medicine than is usually taken at once.",
    "mistake": "A medicine may have been taken in the wrong amount.",
}
_DO: dict[Tier, str] = {
    "emergency": "Call your emergency number or poison centre (1-800-222-1222 in the US) now, even if "
    "there are no signs yet. Do not make the person vomit. Keep the packet.",
    "today": "Call a poison centre (1-800-222-1222 in the US), a nurse line or a pharmacist now, and "
    "keep the packet. If the person becomes drowsy or unwell, call your emergency number.",
}


def _finding(kind: str, tier: Tier, words: tuple[str, ...]) -> Finding:
    return Finding(
        f"poisoning-{kind}", tier, _REASONS[kind], _DO[tier], _SOURCE, words, "poisoning"
    )


def _count(part: str, words: tuple[str, ...]) -> int:
    """Return the largest number of tablets in a text; strengths ("50 mg") do not count."""
    named = "|".join(re.escape(word) + r"s?" for word in words) or r"(?!)"
    pattern = _AMOUNT.pattern.replace("NAMED", named)
    best = 0
    for match in re.finditer(pattern, part):
        if not re.match(
            r"\s*(?:mg|mcg|g\b|ml|units?|hours?|hrs?|days?|weeks?|years?|months?|min|am\b|pm\b|st\b|%)",
            part[match.end("n") :],
        ):
            best = max(best, int(match["n"]))
    return best


def _grams(part: str) -> float:
    return max(
        (float((m[1] or m[2]).replace(",", ".")) for m in _GRAMS.finditer(part)), default=0.0
    )


def _parts(text: str) -> Iterator[str]:
    """Yield overlapping parts of the normalized text, so that run time is linear in its length."""
    plain = " ".join(as_digits(flatten(text.replace("\n", ". "))).split())
    for at in range(0, max(1, len(plain)), 700):
        yield plain[at : at + 900]


def _things(part: str) -> list[tuple[Named, str]]:
    known, tokens = names(), re.findall(r"[\w'-]+", part)
    found, at = [], 0
    while at < len(tokens):
        for length in range(min(LONGEST_NAME, len(tokens) - at), 0, -1):
            name = " ".join(tokens[at : at + length])
            thing = known.get(name) or known.get(name.removesuffix("s"))
            if thing is not None:
                found.append((thing, name))
                at += length - 1
                break
        at += 1
    return found


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def names() -> dict[str, Named]:
    """Return medicines and products by lower-case name, without names that are everyday words."""
    path = files("galenic.record").joinpath("medicines.yaml")
    file: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506
    doubtful = set(file["ambiguous_names"])
    found: dict[str, Named] = {}
    for kind, group in (("medicine", "medicines"), ("product", "products")):
        for one in file[group]:
            thing = Named(
                one["id"], kind, one.get("overdose", "medium"), tuple(one.get("groups", ()))
            )
            for name in one["names"]:
                if name not in doubtful:
                    found.setdefault(flatten(name), thing)
    return found
