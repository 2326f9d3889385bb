"""Entry points of the safety guards: `of_question` and `of_answer`.

The phrases of the guards are in ``phrases.yaml``. Text is normalised before matching, since people
may write so as to evade the guards: letters with spaces between them ("d o s e"), dotted
abbreviations and fractions are rewritten, and in questions also abbreviated words ("hw mny") and
misspelt names of medicines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.guards.asked_doses import asks_dose
from galenic.assistant.guards.doses import is_dose, no_dose
from galenic.assistant.guards.excused import excused
from galenic.assistant.guards.learned import learned_kind
from galenic.assistant.guards.methods import asks_method, is_method
from galenic.assistant.guards.objects import has_object
from galenic.assistant.guards.reassurance import asks_reassurance, is_reassurance
from galenic.assistant.guards.stopping import asks_stopping, is_stopping
from galenic.assistant.guards.told import ASKING_FIRST, Told
from galenic.assistant.triage.words.phrase import Matcher, parse_phrase
from galenic.assistant.triage.words.wording import sentences
from galenic.record.medicines import drug_words

__all__ = ["Guard", "of_answer", "of_question", "straight_sentences"]


class Guard(BaseModel):
    """A kind of dangerous content: phrases to detect it, and the message that the user gets.

    Attributes:
        id: name of the guard, such as ``dose`` or ``self-harm``.
        say: phrases that trigger the guard, in the syntax of the triage rules.
        unless: phrases that make the same sentence harmless.
        note: message to the user that explains what is not answered or not shown.
        ends: whether a question of this kind gets no other answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    say: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    note: str
    ends: bool = False


class _File(BaseModel):
    """Contents of ``phrases.yaml``: word sets, guards for questions, guards for sentences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: dict[str, list[str]]
    input: list[Guard]
    output: list[Guard]


@dataclass(frozen=True)
class _Ready:
    """The guards for one kind of text, with their phrases compiled.

    Attributes:
        guards: the guards, in the order of the file.
        matcher: finds their phrases; the concept of a match is the guard's id, or "<id> unless" for
            phrases that make a sentence harmless.
        side: ``asked`` for questions, ``said`` for sentences of answers.
    """

    guards: tuple[Guard, ...]
    matcher: Matcher
    side: str

    def first(self, text: str) -> Guard | None:
        """Return the first guard that a phrase of the text triggers; None if there is none.

        Sentences are checked one by one; those that `excused` finds harmless are skipped.
        """
        for sentence in sentences(text):
            found = {mention.concept for mention in self.matcher.find(sentence.tokens)}
            told = _told(sentence.tokens)
            for one in self.guards:
                if one.id in found and _harmless(one) not in found:
                    asked = f"{self.side} {one.id}"
                    real = has_object(one.id, told) and has_object(asked, told)
                    if real and not (excused(one.id, told) or excused(asked, told)):
                        return one
        return None


def _told(tokens: Sequence[str]) -> Told:
    """Return the tokens as a `Told`, with every name of a medicine replaced by ``medicine``."""
    words = ["medicine" if _named(token) else token for token in tokens]
    plain = " ".join(words).replace("no 1 ", "noone ")
    return Told(tuple(plain.split()))


def _named(token: str) -> bool:
    """Check whether a token is the name of a medicine, or its plural: "aspirins"."""
    return token in drug_words() or (token[-1:] == "s" and token[:-1] in drug_words())


def of_question(text: str) -> Guard | None:
    """Return the guard that a question triggers; None if it may be answered.

    Example: "How many paracetamol can I take?" triggers the guard ``change-of-dose``.

    Args:
        text: the question in the user's own words, of any number of sentences.
    """
    guards, straight = _guards()[0], _straight(text)
    for plain in dict.fromkeys((straight, _straight(_mended(text)))):
        if found := guards.first(plain) or _built(guards, _ASKED, plain):
            return found
    return _learned(guards, straight)


def of_answer(sentence: str) -> Guard | None:
    """Return the guard that forbids showing a sentence; None if it may be shown.

    Example: "Take 400 mg every four hours." triggers the guard ``dose``.

    Args:
        sentence: a sentence of a passage, or one that a model wrote.
    """
    guards, plain = _guards()[1], _straight(sentence)
    return guards.first(plain) or _built(guards, _SAID, plain) or _learned(guards, plain)


def straight_sentences(text: str) -> list[Told]:
    """Return the sentences of a text as the guards see them: normalised and tokenised.

    Names of medicines are replaced by ``medicine``: "Take 2 aspirins." gives the tokens ``take``,
    ``2``, ``medicine``.
    """
    return _sentences(_straight(text))


def _sentences(plain: str) -> list[Told]:
    """Split a normalised text into sentences and tokenise them."""
    return [_told(sentence.tokens) for sentence in sentences(plain)]


def _learned(ready: _Ready, plain: str) -> Guard | None:
    """Return the guard that the linear classifier finds for a normalised text; None if harmless."""
    told = _sentences(plain)
    kind = learned_kind(ready.side, told) if told else None
    wanted = "change-of-dose" if (ready.side, kind) == ("asked", "dose") else kind
    if kind and wanted and all(_spared(kind, one) or not has_object(wanted, one) for one in told):
        return None
    return next((one for one in ready.guards if one.id == wanted), None)


def _spared(kind: str, told: Told) -> bool:
    """Check whether a sentence that the classifier flagged is harmless by its structure.

    Example: "Ask your doctor before you stop it."

    Args:
        kind: what the classifier predicts, one of its kinds but ``harmless``.
        told: tokens of the sentence.
    """
    if kind not in ("dose", "stopping"):
        return False
    asks = told.starts(ASKING_FIRST) and told.has(frozenset({"before"}))
    return asks or excused(kind, told) or (kind == "dose" and no_dose(told))


_Check = Callable[[Told], bool]
_ASKED: Sequence[tuple[str, _Check]] = (
    ("self-harm", asks_method),
    ("change-of-dose", asks_dose),
    ("stopping", asks_stopping),
    ("reassurance", asks_reassurance),
)
_SAID: Sequence[tuple[str, _Check]] = (
    ("self-harm", is_method),
    ("dose", is_dose),
    ("stopping", is_stopping),
    ("reassurance", is_reassurance),
)


def _built(ready: _Ready, checks: Sequence[tuple[str, _Check]], text: str) -> Guard | None:
    """Return the guard whose structural check matches a sentence of the text; None if none does.

    Args:
        ready: the guards for this kind of text.
        checks: pairs of guard id and check, in order of precedence.
        text: normalised text.
    """
    by_id = {one.id: one for one in ready.guards}
    for sentence in sentences(text):
        told = _told(sentence.tokens)
        for name, check in checks:
            if check(told) and (name != "reassurance" or has_object(name, told)):
                return by_id[name]
    return None


_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}", re.I)
_APART = re.compile(r"(?<![^\W_])(?:[^\W\d_][\s\-_.·*]){2,}[^\W\d_](?![^\W_])")
_FRACTIONS = (("1/2", " half "), ("½", " half "), ("1/4", " quarter "), ("¼", " quarter "))
_SHORT = {
    "hw": "how", "mny": "many", "mch": "much", "u": "you", "r": "are", "tabs": "tablets",
    "2day": "today", "2moro": "tomorrow", "wat": "what", "shud": "should", "cn": "can",
}  # fmt: skip
_LONG_NAME = 6
"""Minimum length in letters of a misspelt word that is corrected to the name of a medicine."""


def _straight(text: str) -> str:
    """Normalise a text: "d o s e" to "dose", "q.d.s." to "qds", "1/2" to "half", "5mg" to "5 mg".

    Names of medicines that no phrase contains become ``medicine``.
    """
    for said, word in _FRACTIONS:
        text = re.sub(rf"(?<![\d/]){re.escape(said)}(?![\d/])", word, text)
    text = _DOTTED.sub(lambda found: f"{found[0].replace('.', '')} ", text)
    text = _APART.sub(lambda found: re.sub(r"[\s\-_.·*]", "", found[0]), text)
    text = re.sub(r"(?<=\d)(?=[a-z])", " ", text, flags=re.I)
    return re.sub(r"[^\W\d_]+(?:-[^\W\d_]+)*", lambda found: _common(found[0]), text)


def _common(word: str) -> str:
    """Return ``medicine`` for the name of a medicine that no phrase contains, else the word."""
    plain = word.lower()
    return "medicine" if plain in drug_words() and plain not in _names_said() else word


@cache
def _names_said() -> frozenset[str]:
    """Return the names of medicines that the phrases contain literally."""
    return frozenset(_file().words["DRUG"])


def _mended(text: str) -> str:
    """Return a question with abbreviated words expanded and names of medicines corrected."""
    return re.sub(r"[^\W_]+", lambda found: _mended_word(found[0]), text)


@lru_cache(maxsize=4096)
def _mended_word(word: str) -> str:
    """Expand an abbreviated word ("hw" to "how"), or correct a misspelt name of a medicine.

    Words that are neither are returned unchanged.
    """
    import difflib

    plain = word.lower()
    if plain in _SHORT:
        return _SHORT[plain]
    names = _names()
    if len(plain) < _LONG_NAME or plain in names:
        return word
    near = difflib.get_close_matches(plain, names, 1, 0.85)
    return near[0] if near else word


@cache
def _names() -> tuple[str, ...]:
    """Return all names of medicines that misspelt words are compared with, sorted."""
    known = {*_file().words["DRUG"], *drug_words()}
    return tuple(sorted(word for word in known if len(word) >= _LONG_NAME))


@cache
def _file() -> _File:
    """Load ``phrases.yaml``."""
    text = files("galenic.assistant.guards").joinpath("phrases.yaml").read_text(encoding="utf-8")
    raw = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones
    return _File.model_validate(raw)


@cache
def _guards() -> tuple[_Ready, _Ready]:
    """Return the guards for questions and those for sentences of answers, with compiled phrases."""
    found = _file()
    return _ready("asked", found.input, found.words), _ready("said", found.output, found.words)


def _ready(side: str, guards: list[Guard], words: dict[str, list[str]]) -> _Ready:
    """Compile the phrases of guards.

    Args:
        side: ``asked`` for questions, ``said`` for sentences of answers.
        guards: the guards.
        words: word sets that phrases refer to by name.
    """
    matcher = Matcher()
    for guard in guards:
        for name, phrases in ((guard.id, guard.say), (_harmless(guard), guard.unless)):
            matcher.add(
                name,
                (
                    one
                    for phrase in phrases
                    for way in _ways(phrase)
                    for one in parse_phrase(way, words)
                ),
            )
    return _Ready(tuple(guards), matcher, side)


def _ways(phrase: str) -> Iterator[str]:
    """Yield variants of a phrase in which a number range is not one of several alternatives.

    ``take a|#1-9`` gives ``take #1-9`` and ``take a``.
    """
    parts = []
    for part in phrase.split():
        ranges = [one for one in part.split("|") if one.startswith("#") and "_" not in one]
        rest = [one for one in part.split("|") if one not in ranges]
        parts.append([*ranges, *(["|".join(rest)] if rest else [])])
    return (" ".join(way) for way in product(*parts))


def _harmless(guard: Guard) -> str:
    """Return the concept of the phrases that make a match of this guard harmless."""
    return f"{guard.id} unless"
