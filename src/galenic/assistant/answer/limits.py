"""What people ask of a clinic and this program cannot do: said at once, from ``limits.yaml``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.words.phrase import Matcher, parse_phrase
from galenic.assistant.triage.words.wording import sentences

__all__ = ["Limit", "limit_of"]


class Limit(BaseModel):
    """What is asked for, and what the reader is told.

    Attributes:
        ends: nothing else is answered; otherwise a topic that is named is answered as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    say: tuple[str, ...] = Field(min_length=1)
    note: str
    ends: bool = True


def limit_of(question: str) -> Limit | None:
    """What of a question is for the clinic itself; the first one of the file."""
    limits, matcher = _ready()
    found = {
        mention.concept
        for sentence in sentences(question)
        for mention in matcher.find(sentence.tokens)
    }
    return next((one for one in limits if one.id in found), None)


@cache
def _ready() -> tuple[tuple[Limit, ...], Matcher]:
    text = files("galenic.assistant.answer").joinpath("limits.yaml").read_text(encoding="utf-8")
    limits = tuple(Limit.model_validate(one) for one in yaml.safe_load(text))
    matcher = Matcher()
    for one in limits:
        matcher.add(one.id, (phrase for say in one.say for phrase in parse_phrase(say, {})))
    return limits, matcher
