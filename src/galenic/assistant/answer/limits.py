"""Requests for services that only a clinic can provide, such as appointments (``limits.yaml``)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.words.phrase import Matcher, parse_phrase
from galenic.assistant.triage.words.wording import sentences

__all__ = ["Limit", "limit_of"]


class Limit(BaseModel):
    """A service that the program cannot provide, such as prescriptions.

    Attributes:
        id: name of the service.
        say: phrases that ask for it, in the syntax of the triage rules.
        note: message to the user.
        ends: whether nothing else is answered; otherwise a topic in the question is answered as
            well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    say: tuple[str, ...] = Field(min_length=1)
    note: str
    ends: bool = True


def limit_of(question: str) -> Limit | None:
    """Return the service that a question asks for, the first in ``limits.yaml``; None if none.

    Example: "Can you renew my prescription?" gives the limit ``prescription``.
    """
    limits, matcher = _ready()
    found = {
        mention.concept
        for sentence in sentences(question)
        for mention in matcher.find(sentence.tokens)
    }
    return next((one for one in limits if one.id in found), None)


@cache
def _ready() -> tuple[tuple[Limit, ...], Matcher]:
    """Load ``limits.yaml`` and compile its phrases."""
    text = files("galenic.assistant.answer").joinpath("limits.yaml").read_text(encoding="utf-8")
    limits = tuple(Limit.model_validate(one) for one in yaml.safe_load(text))
    matcher = Matcher()
    for one in limits:
        matcher.add(one.id, (phrase for say in one.say for phrase in parse_phrase(say, {})))
    return limits, matcher
