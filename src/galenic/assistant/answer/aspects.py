"""What is asked of a topic: symptoms, causes, what helps, when to seek help and so on.

The phrases stand in ``aspects.yaml``, to be read and corrected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.handbook.topics import name_stems
from galenic.assistant.triage.words.phrase import Matcher, parse_phrase
from galenic.assistant.triage.words.wording import sentences

__all__ = ["Aspect", "asked_aspects", "asking_stems"]


_A_AND_E = re.compile(r"\bA ?(?:&|and) ?E\b", re.I)


class Aspect(BaseModel):
    """A kind of question.

    Attributes:
        fields: of the handbook that answer it, best first.
        also: fields that go with them.
        every: all fields answer, not only the first that is filled.
        then: fields of which a few statements follow a short answer.
        kinds: words of MedQuAD's questions of this kind.
        words: that only ask.
        look: words of statements that answer it, whatever their field.
        numbers: a statement with a number answers it.
        must: where no statement has a word of ``look``, there is no answer.
        medicine: asked of medicines first of all.
        alone: counts only where nothing else is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    say: tuple[str, ...] = Field(min_length=1)
    fields: tuple[str, ...] = Field(min_length=1)
    also: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    every: bool = False
    kinds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    numbers: bool = False
    must: bool = False
    medicine: bool = False
    alone: bool = False

    @property
    def looked_for(self) -> frozenset[str]:
        """Stems of ``look``."""
        return frozenset(stem for word in self.look for stem in name_stems(word))


def asked_aspects(question: str) -> tuple[Aspect, ...]:
    """What a question asks, in the order of the file; empty when no phrase is found."""
    aspects, matcher = _ready()
    found = {
        mention.concept
        for sentence in sentences(_A_AND_E.sub("ae", question))
        for mention in matcher.find(sentence.tokens)
    }
    return tuple(one for one in aspects if one.id in found)


@cache
def asking_stems() -> frozenset[str]:
    """Stems of words that only ask."""
    said: Sequence[str] = [word for one in _ready()[0] for word in one.words]
    return frozenset(stem for word in said for stem in name_stems(word))


@cache
def _ready() -> tuple[tuple[Aspect, ...], Matcher]:
    text = files("galenic.assistant.answer").joinpath("aspects.yaml").read_text(encoding="utf-8")
    aspects = tuple(Aspect.model_validate(one) for one in yaml.safe_load(text)["aspects"])
    matcher = Matcher()
    for one in aspects:
        matcher.add(one.id, (phrase for say in one.say for phrase in parse_phrase(say, {})))
    return aspects, matcher
