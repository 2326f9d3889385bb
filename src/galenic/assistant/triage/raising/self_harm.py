"""Cries for help: suicidal thoughts, plain and oblique, self-harm, and fear for somebody else.

Tuned for recall: words count unless they are an idiom. ``data/self_harm.yaml`` holds the patterns.
A retraction ("I was joking") never makes the tier less careful.
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
"""Characters that are read at once: patterns look no further, so time grows with the length."""
_END = re.compile(r"[.!?]+(?:\s|$)")
_SELVES = ("myself", "himself", "herself", "themselves")
_ACTS = (
    "kill", "killing", "hang", "hanging", "hurt", "hurting", "harm", "harming", "cut", "cutting",
    "drown", "shoot", "burn", "end", "stab", "poison",
)  # fmt: skip
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
    """One kind of cry for help."""

    id: str
    tier: _Tier
    reason: str = Field(pattern=r"\.$")
    say: tuple[str, ...] = Field(min_length=1)
    talk: bool = False


class Cues(_Strict):
    """Weaker words of one group, which count once."""

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
    """The kinds of cries for help in the text, one finding each."""
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
    """A finding if a text that reads like a cry for help has any of the weaker words."""
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
    """The text with `FIGURE` for each figure of speech like "dying to try it"; or as it is."""
    plain = flatten(text)
    return _ready().idioms.sub(f" {FIGURE} ", plain) if _ready().idioms.search(plain) else text


def _heard(plain: str) -> list[tuple[Sign, _Tier, str]]:
    """The signs in a piece of `flatten`ed text, how soon each needs help, and its words."""
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
    """By its own sentence: of now, long past, or past and over (the next sentence may say so)."""
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
    """With the words for oneself spelt right, and before them the words for what one does."""
    words = plain.split(" ")
    for at, word in enumerate(words):
        meant = next((one for one in _SELVES if _is_near(word.strip(".,!?"), one)), None)
        if meant is None:
            continue
        words[at] = meant + word[len(word.rstrip(".,!?")) :]
        before = words[at - 1] if at else ""
        if at:
            words[at - 1] = next((act for act in _ACTS if _is_near(before, act)), before)
    return " ".join(words)


def _is_near(given: str, meant: str) -> bool:
    """The same letters in another order, or but for one letter; the first one is right."""
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
