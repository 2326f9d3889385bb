"""Classification of questions by aspect: symptoms, causes, treatment, when to seek help and so on.

The phrases for each aspect are in ``aspects.yaml``.
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
"""British "A&E" (accident and emergency), rewritten to the token "ae" of the phrases."""
_HOW_IS_IT = re.compile(
    r"\b(how|what(?=\W+\w+ it|\W+\w+ they)) (?:is|are|was|were) (?:it|this|that|they) (?=\w)", re.I
)
"""Begin of "How is it treated?", which does not ask whether it is something."""


class Aspect(BaseModel):
    """An aspect of a topic that a question may ask about, such as causes or side effects.

    Attributes:
        id: name of the aspect, such as ``seek``.
        say: phrases that ask about it, in the syntax of the triage rules.
        fields: fields of a handbook entry that answer it, best first; the later ones are used only
            if those before are empty.
        also: further fields that are used, with a lower score, if it is the only aspect asked
            about.
        then: fields that answer it if all of ``fields`` are empty.
        every: use all of ``fields``, not only the first that is not empty.
        kinds: key words of MedQuAD questions on this aspect, such as "symptoms".
        words: words that occur only to ask, and say nothing about the topic.
        look: words of statements that answer such a question, regardless of their field.
        numbers: whether a statement with a number answers such a question.
        must: give no answer unless a statement contains a word of ``look``.
        medicine: whether the aspect is mainly asked about medicines.
        alone: ignore the aspect if the question has another one.
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
        """Stems of the words in ``look``."""
        return frozenset(stem for word in self.look for stem in name_stems(word))


def asked_aspects(question: str) -> tuple[Aspect, ...]:
    """Return the aspects that a question asks about, in the order of ``aspects.yaml``.

    Example: "What causes hives?" gives the aspect ``cause``.

    Args:
        question: the question in the user's own words.

    Returns:
        The aspects; empty if no phrase matches.
    """
    aspects, matcher = _ready()
    found = {
        mention.concept
        for sentence in sentences(_HOW_IS_IT.sub(r"\1 ", _A_AND_E.sub("ae", question)))
        for mention in matcher.find(sentence.tokens)
    }
    return tuple(one for one in aspects if one.id in found)


@cache
def asking_stems() -> frozenset[str]:
    """Return the stems of all words that occur only to ask, such as "difference" or "normal"."""
    said: Sequence[str] = [word for one in _ready()[0] for word in one.words]
    return frozenset(stem for word in said for stem in name_stems(word))


@cache
def _ready() -> tuple[tuple[Aspect, ...], Matcher]:
    """Load ``aspects.yaml`` and compile its phrases."""
    text = files("galenic.assistant.answer").joinpath("aspects.yaml").read_text(encoding="utf-8")
    aspects = tuple(Aspect.model_validate(one) for one in yaml.safe_load(text)["aspects"])
    matcher = Matcher()
    for one in aspects:
        matcher.add(one.id, (phrase for say in one.say for phrase in parse_phrase(say, {})))
    return aspects, matcher
