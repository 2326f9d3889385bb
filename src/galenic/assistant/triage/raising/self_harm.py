"""Detect risk of suicide or self-harm: direct and indirect statements, and fear for someone else.

Tuned for recall: a matching phrase counts unless it is an idiom. The patterns are data:
``data/self_harm.yaml``. A retraction ("I was joking") never lowers the tier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.framing import FIGURE
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.said import Said
from galenic.assistant.triage.words.wording import flatten

__all__ = ["find", "hinted", "without_figures"]

WINDOW, STEP = 1200, 1000
"""Length of a window in characters, and the distance between the starts of adjacent windows.
Patterns are matched within a window, so that run time is linear in the length of the text."""
_END = re.compile(r"[.!?]+(?:\s|$)")
_SELVES = ("myself", "himself", "herself", "themselves")
_ACTS = (
    "kill", "killing", "hang", "hanging", "hurt", "hurting", "harm", "harming", "cut", "cutting",
    "drown", "shoot", "burn", "end", "stab", "poison",
)  # fmt: skip
_INTENDS, _INTENDED = ("gonna", "to", "wanna"), ("jump", "hang", "kill", "suicide", "overdose")
_DO = {
    "emergency": "You do not have to face this alone. Call your emergency number, or a crisis line "
    "(988 in the US, 116 123 in the UK and Ireland), now, or go to an emergency department. Do not "
    "stay alone, and put what could hurt you out of reach. If it is about somebody else, stay with "
    "them.",
    "today": "Speak to a doctor, a crisis line (988 in the US, 116 123 in the UK and Ireland) or "
    "somebody you trust today. If you think of ending your life, call now.",
}


_Tier = Literal["emergency", "today"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sign(_Strict):
    """A kind of statement that indicates a risk of suicide or self-harm.

    Attributes:
        id: Name of the sign.
        tier: The tier that it leads to.
        reason: Why, in plain words for the reader.
        say: Regular expressions, with placeholders such as ``<ME>`` for the word sets of the file.
        talk: Whether it is ignored in general questions and beside words of films, essays or
            training.
    """

    id: str
    tier: _Tier
    reason: str = Field(pattern=r"\.$")
    say: tuple[str, ...] = Field(min_length=1)
    talk: bool = False


class Cues(_Strict):
    """A group of weaker expressions, which adds ``weight`` points once, however many match."""

    group: str
    weight: int = Field(ge=1, le=3)
    say: tuple[str, ...] = Field(min_length=1)


class _File(_Strict):
    sources: dict[str, Source]
    sets: dict[str, str]
    idioms: tuple[str, ...]
    about: str
    history: str
    now: str
    well: str
    denied: tuple[str, ...]
    cues: tuple[Cues, ...]
    signs: tuple[Sign, ...]


_TOGETHER = Sign(
    id="together",
    tier="emergency",
    reason="Taken together, this sounds as if somebody may be in danger of ending their life.",
    say=("cues",),
)


@dataclass(frozen=True)
class _Ready:
    source: Source
    idioms: re.Pattern[str]
    denied: re.Pattern[str]
    about: re.Pattern[str]
    history: re.Pattern[str]
    now: re.Pattern[str]
    well: re.Pattern[str]
    cues: tuple[tuple[int, re.Pattern[str]], ...]
    signs: tuple[tuple[Sign, re.Pattern[str]], ...]


def find(said: Said) -> list[Finding]:
    """Return the signs of suicide or self-harm risk in a text, one finding per kind."""
    found: dict[str, Finding] = {}
    for part in _parts(said.text):
        for sign, tier, words in _heard(part):
            if sign.talk and said.reading.general:
                continue
            old = found.get(sign.id)
            if old is None or (old.tier == "today" and tier == "emergency"):
                name = f"self-harm-{sign.id}"
                source = _ready().source
                found[sign.id] = Finding(
                    name, tier, sign.reason, _DO[tier], source, (words,), "self-harm"
                )
    return list(found.values())


def hinted(text: str) -> list[Finding]:
    """Return a finding if a text contains any of the weaker cues.

    Used for texts to which the classifier gives a moderate probability of self-harm.
    """
    ready = _ready()
    for part in _parts(text):
        plain = ready.denied.sub(" ~ ", ready.idioms.sub(" ~ ", part))
        for _, cue in ready.cues:
            if match := cue.search(plain):
                words = (match[0].strip(),)
                return [Finding("self-harm-hint", "emergency", _TOGETHER.reason, _DO["emergency"],
                                ready.source, words, "self-harm")]  # fmt: skip
    return []


def without_figures(text: str) -> str:
    """Replace figures of speech by the token `FIGURE`; return other texts unchanged.

    "I'm dying to try it" becomes a text with `FIGURE` in place of the idiom.
    """
    plain = flatten(text)
    return _ready().idioms.sub(f" {FIGURE} ", plain) if _ready().idioms.search(plain) else text


def _heard(plain: str) -> list[tuple[Sign, _Tier, str]]:
    """Return the risk signs in a piece of text, with their tiers and matching words."""
    ready = _ready()
    text = ready.denied.sub(" ~ ", ready.idioms.sub(" ~ ", plain))
    scholarly = bool(ready.about.search(text))
    hits: list[tuple[Sign, _Tier, str]] = []
    for sign, pattern in ready.signs:
        if sign.talk and scholarly:
            continue
        for match in pattern.finditer(text):
            when = _when(text, match.start(), ready)
            if when != "over":
                hits.append((sign, "today" if when == "past" else sign.tier, match[0].strip()))
    cued = [(weight, said) for weight, cue in ready.cues if (said := cue.search(text))]
    points = sum(weight for weight, _ in cued)
    strong = any(weight > 1 for weight, _ in cued)
    times = {_when(text, said.start(), ready) for _, said in cued}
    if strong and points >= 2 and not scholarly and "over" not in times:
        tier: _Tier = "emergency" if points >= 3 and "past" not in times else "today"
        hits.append((_TOGETHER, tier, ", ".join(said[0].strip() for _, said in cued)))
    return hits


def _when(text: str, at: int, ready: _Ready) -> Literal["now", "past", "over"]:
    """Return whether a statement is about now, the past, or a past that is over."""
    ends = [found.end() for found in _END.finditer(text)]
    start = max((end for end in ends if end <= at), default=0)
    later = [end for end in ends if end > at]
    sentence = text[start : later[0] if later else len(text)]
    if not ready.history.search(sentence):
        return "now"
    following = text[start : later[1] if len(later) > 1 else len(text)]
    if ready.well.search(following):
        return "over"
    return "now" if ready.now.search(sentence) else "past"


def _parts(text: str) -> list[str]:
    plain = _mended(" ".join(flatten(text.replace("\n", ". ")).split()))
    return [plain[at : at + WINDOW] for at in range(0, max(1, len(plain)), STEP)]


def _mended(plain: str) -> str:
    """Correct misspelt acts: "kil mysefl", and what follows an intention ("gona jmup")."""
    words = plain.split(" ")
    for at, word in enumerate(words):
        intends = _meant(words[at - 1], _INTENDS) if at else None
        bare = word.rstrip(".,!?")
        act = _meant(bare, _INTENDED) if intends else None
        if intends and act:
            words[at - 1 : at + 1] = [intends, word := act + word[len(bare) :]]
        meant = _meant(word.strip(".,!?"), _SELVES)
        if meant is None:
            continue
        words[at] = meant + word[len(word.rstrip(".,!?")) :]
        before = words[at - 1] if at else ""
        if at:
            words[at - 1] = _meant(before, _ACTS) or before
    return " ".join(words)


def _meant(given: str, known: Sequence[str]) -> str | None:
    """Return the first of the known words that a word is near to, or None."""
    first = given[:1]
    return next((one for one in known if one[0] == first and _is_near(given, one)), None)


def _is_near(given: str, meant: str) -> bool:
    """Check whether two words differ by one missing or extra letter or by the order of letters."""
    if given == meant or given[:1] != meant[:1] or abs(len(given) - len(meant)) > 1:
        return given == meant
    if len(given) == len(meant):
        return sorted(given) == sorted(meant)
    short, long = sorted((given, meant), key=len)
    return any(long[:cut] + long[cut + 1 :] == short for cut in range(1, len(long)))


def _any(ways: Sequence[str], frame: str) -> re.Pattern[str]:
    return re.compile("|".join(frame.replace("{}", way) for way in ways))


@cache
def _ready() -> _Ready:
    path = files("galenic.assistant.triage").joinpath("data/self_harm.yaml")
    file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    return _Ready(
        file.sources["nhs"],
        _any(file.idioms, r"\b(?:{})\b"),
        _any(file.denied, r"\b(?:{})\b"),
        re.compile(rf"\b(?:{file.about})\b"),
        re.compile(rf"\b(?:{file.history})\b"),
        re.compile(rf"\b(?:{file.now})\b"),
        re.compile(rf"\b(?:{file.well})\b"),
        tuple((one.weight, _any(one.say, r"\b(?:{})")) for one in file.cues),
        tuple((sign, _compile(sign, file.sets)) for sign in file.signs),
    )


def _compile(sign: Sign, sets: dict[str, str]) -> re.Pattern[str]:
    ways = []
    for say in sign.say:
        way = say
        for name, words in sets.items():
            way = way.replace(f"<{name}>", words)
        ways.append(rf"(?:\b(?:{way}))")
    return re.compile("|".join(ways))
