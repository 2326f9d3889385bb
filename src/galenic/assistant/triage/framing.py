"""Decide for each sentence whether it describes somebody who is ill now.

Questions of knowledge, hypotheses, stories, medical history and old letters mention symptoms that
nobody has at present. Each sentence is classified on its own. A sentence without a present sufferer
is set aside, but only if no other sentence of the message describes present trouble; otherwise the
whole message counts. The patterns are data: ``data/framing.yaml``.

In this module, a ``said`` argument is a sentence as its tokens joined by spaces, in lower case and
without apostrophes, for example "my dads chest hurts".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from itertools import pairwise

import yaml
from pydantic import TypeAdapter

from galenic.assistant.triage.scope import Status
from galenic.assistant.triage.words.wording import TokenSentence, sentences, word_set

__all__ = [
    "FIGURE",
    "asides_of",
    "is_claimed",
    "is_happening",
    "is_of_premises",
    "speaks_of_now",
    "speaks_of_trouble",
]

FIGURE = "figureofspeech"
"""Placeholder token for a figure of speech that was removed from the text."""

TERSE = 6
"""Number of words under which a message is too short to say whether somebody has trouble now."""
LEAST_ASKED = 4
"""Minimum number of words in a final clause that is taken as a question without a question mark."""
_ASKS = word_set(
    "can could do does did is are will would should must may who what which how where when why any"
)
_THIS = re.compile(
    r"\b(?:my|mine|his|her|this|these|im|am i|is (?:he|she|it)|are they|has (?:he|she)|have i)\b"
)
_WRITER = re.compile(r"\b(?:i|im|ive|my|me|we|our|hes|shes)\b")
_BLANK = re.compile(r"\n\s*\n")
_PLURAL = re.compile(r"\b(?:they|theyre|their|them)\b")
_YEAR = re.compile(r"\b(19[5-9]\d|20\d\d)\b")


def asides_of(
    text: str,
    read: Sequence[TokenSentence],
    named: Sequence[Collection[int]],
    says: Sequence[bool],
    today: date | None = None,
) -> list[Status | None]:
    """Return for each sentence why nothing in it counts, or None if it may count.

    For "What are the signs of a stroke?" the result is ``["question"]``; for "My dad has signs of a
    stroke. What are the others?" it is ``[None, None]``.

    Args:
        text: The message.
        read: Its sentences.
        named: For each sentence, the indices of the tokens at which a symptom begins.
        says: For each sentence, whether it mentions any concept, including those that only describe
            the person.
        today: The current date; None uses the system clock.
    """
    said = [" ".join(sentence.tokens) for sentence in read]
    letters = _of_letters(said, today or date.today())
    if any(letters):
        letters = _of_paragraph(text, said, letters)
    over = [
        letter or _over(one) or _empty(one, places)
        for one, letter, places in zip(said, letters, named, strict=True)
    ]
    for at, one in enumerate(said[1:], 1):
        if _lists().none_of.search(one):
            over[at - 1] = "denied"
    asks = [
        _is_general(one, s.asks or _ends_asking(s), min(places, default=len(s.tokens)))
        for one, s, places in zip(said, read, named, strict=True)
    ]
    told = [_is_told(one) for one in said]
    called = any(_lists().call.fullmatch(one) for one in said)
    is_framed = any(asks) or any(told)
    found: list[Status | None] = []
    for at, one in enumerate(said):
        status = over[at]
        if status is None and (asks[at] or told[at]):
            status = "question"
        elif status is None and is_framed:
            status = _history(one, called=called)
        found.append(status)
    beside = [at for at, status in enumerate(found) if status is None]
    jest = any(_is_jest(one) for one in said)
    if any(
        _is_present(said[at]) or (named[at] and not jest and _is_somebodys(said[at]))
        for at in beside
    ):
        return over
    if any(told):
        beside = [at for at in beside if not (named[at] or _is_somebodys(said[at]))]
    elif jest:
        beside = [at for at in beside if _is_jest(said[at])]
    elif not any(asks) or any(says[at] or _is_somebodys(said[at]) for at in beside):
        return found
    return ["question" if at in beside else status for at, status in enumerate(found)]


def speaks_of_now(read: Sequence[TokenSentence]) -> bool:
    """Check whether a sentence refers to the present, or none of the sentences is a question."""
    said = [" ".join(sentence.tokens) for sentence in read]
    asks = any(s.asks or _lists().command.search(one) for one, s in zip(said, read, strict=True))
    return not asks or any(_is_present(one) or _THIS.search(one) for one in said)


def speaks_of_trouble(read: Sequence[TokenSentence]) -> bool:
    """Check whether a message speaks of somebody's trouble now, or is too short to tell.

    "My nans had strokes, what are my odds" does not; "I think it is a stroke" and "adder, foot is
    swollen" do.
    """
    if sum(len(sentence.tokens) for sentence in read) < TERSE or is_claimed(read):
        return True
    said = [" ".join(sentence.tokens) for sentence in read]
    return any(_is_present(one) or _lists().trouble.search(one) for one in said)


def is_claimed(read: Sequence[TokenSentence]) -> bool:
    """Check whether a sentence states that what is asked about is the case, or asks for rescue.

    "Is it dangerous? Mine has it" and "How do you help someone who can't breathe?" are such texts.
    """
    said = [" ".join(sentence.tokens) for sentence in read]
    if any(_lists().claimed.search(_lists().not_present.sub(" ", one)) for one in said):
        return True
    return any(map(_lists().rescue.search, said)) and not any(map(_is_told, said))


def is_of_premises(read: Sequence[TokenSentence]) -> bool:
    """Check whether every sentence asks about a building, hours or an address: "Where to park?"."""
    said = [" ".join(sentence.tokens) for sentence in read]
    return bool(said) and all(map(_lists().premises.search, said))


def is_happening(read: Sequence[TokenSentence]) -> bool:
    """Check whether a sentence says that something happens now or persists, or calls for help."""
    said = [" ".join(sentence.tokens) for sentence in read]
    return any(_is_strong(one) or _lists().call.fullmatch(one) for one in said)


# Classification of a sentence ------------------------------------------------------------------


def _is_general(said: str, asks: bool, first: int) -> bool:
    """Check whether a sentence is a general question or a hypothesis in which nobody is ill now."""
    lists = _lists()
    if _is_strong(said, of_people=True):
        return False
    asks = asks or lists.wondering.search(said) is not None
    if lists.supposed.search(said):
        return True
    if lists.hypothesis.search(said) and not _claims(lists.hypothesis.sub(" ", said)):
        return True
    ways = [lists.question, lists.embedded, lists.wondering] if asks else [lists.command]
    named = first < len(said.split())
    if named and not (lists.topic.search(said) or lists.impersonal.search(said)):
        return False
    begins = [found.start() for way in ways if (found := way.search(said))]
    return any(_is_question(said, start, first) for start in begins)


def _ends_asking(sentence: TokenSentence) -> bool:
    """Check whether the last clause is a question without a question mark."""
    begins = max((at for at, pause in enumerate(sentence.pauses) if pause), default=0)
    clause = sentence.tokens[begins:]
    call = _lists().call.fullmatch(" ".join(clause))
    return begins > 0 and len(clause) >= LEAST_ASKED and clause[0] in _ASKS and not call


def _is_question(said: str, start: int, first: int) -> bool:
    """Check whether a general question begins at the character ``start`` of a sentence."""
    before = said[:start]
    if len(before.split()) > first and not _is_elsewhere(before):
        return False
    return not _claims(said[start:])


def _is_elsewhere(said: str) -> bool:
    """Check whether words before a question are about the past, others' fate or a story."""
    lists = _lists()
    if lists.long_past.search(said) or lists.story.search(said):
        return True
    return bool(lists.others.search(said) and lists.fate.search(said))


def _is_told(said: str) -> bool:
    """Check whether a sentence reports a story, news, teaching, work or a document."""
    lists = _lists()
    if _is_strong(said) or lists.claimed.search(said):
        return False
    idle = lists.idly.search(said) and not lists.personal.search(said)
    if idle or lists.story.search(said):
        return True
    paper = lists.paper.search(said)
    return paper is not None and not lists.personal.search(said[paper.end() :])


def _is_jest(said: str) -> bool:
    """Check whether a sentence is marked as a joke ("lol") and reports no actual harm."""
    return _lists().jest.search(said) is not None and not _lists().happened.search(said)


def _over(said: str) -> Status | None:
    """Return ``past`` if one sentence says both that something was long ago and that it is over."""
    lists = _lists()
    past = lists.long_past.search(said) and lists.over.search(said)
    return "past" if past and not _is_strong(said) else None


def _empty(said: str, named: Collection[int]) -> Status | None:
    """Return ``question`` if a sentence is about an animal or only a figure of speech."""
    lists = _lists()
    if lists.animal.search(said) and not lists.human.search(lists.animal.sub(" ", said)):
        return "question"
    bare = FIGURE in said and not named and not lists.harm.search(said)
    return "question" if bare and not _is_strong(said) else None


def _history(said: str, *, called: bool) -> Status | None:
    """Return ``past`` or ``family`` if a sentence beside a general question is medical history."""
    lists = _lists()
    if _is_present(said):
        return None
    if lists.long_past.search(said):
        return "family" if lists.others.search(said) else "past"
    fate = not called and lists.others.search(said) and lists.fate.search(said)
    return "family" if fate else None


def _claims(said: str) -> bool:
    """Check whether a question is about a person's condition, not only about what they may do."""
    lists = _lists()
    rest = lists.asked_of.sub(" ", lists.not_present.sub(" ", said))
    if lists.impersonal.search(said):  # "when doctors suspect it, what do they do?"
        rest = _PLURAL.sub(" ", rest)
    return lists.personal.search(rest) is not None


def _is_somebodys(said: str) -> bool:
    return _lists().personal.search(said) is not None


def _is_strong(said: str, *, of_people: bool = False) -> bool:
    """Check whether a sentence clearly describes a present condition."""
    lists = _lists()
    plain = lists.not_present.sub(" ", said)
    if lists.strong.search(plain):
        return True
    at_large = of_people and lists.people_in_general.search(said) is not None
    return not at_large and lists.state.search(plain) is not None


def _is_present(said: str) -> bool:
    return (
        _is_strong(said) or _lists().present.search(_lists().not_present.sub(" ", said)) is not None
    )


# Dated letters ---------------------------------------------------------------------------------


def _of_letters(said: Sequence[str], today: date) -> list[Status | None]:
    """Return ``past`` for each sentence of an old letter; its date may be in the next sentence.

    "My notes say: PE excluded. June 2016" is one, and so are the next sentences that read as a
    letter and say nothing of the present or of the writer.
    """
    found = [_of_letter(one, today) for one in said]
    for at, (one, follows) in enumerate(pairwise(said)):
        if found[at] or found[at + 1] or not _lists().letter.search(one):
            continue
        if not (_is_present(one) or _is_present(follows)):
            found[at] = found[at + 1] = _of_letter(f"{one} {follows}", today)
    for at, (_, follows) in enumerate(pairwise(said)):
        told = found[at] and _lists().letter.search(follows) and not _YEAR.search(follows)
        if told and not (_is_present(follows) or _WRITER.search(follows)):
            found[at + 1] = "past"
    return found


def _of_letter(said: str, today: date) -> Status | None:
    years = [int(year) for year in _YEAR.findall(said)]
    old = years and max(years) < today.year - 1
    if old and _lists().letter.search(said) and not _is_strong(said):
        return "past"
    return None


def _of_paragraph(
    text: str, said: Sequence[str], found: list[Status | None]
) -> list[Status | None]:
    """Extend the status of a dated letter to the sentences after it."""
    if "\n" not in text.strip():
        return found
    parts = [len(sentences(part)) for part in _BLANK.split(text)]
    begins = {sum(parts[:at]) for at in range(len(parts))}
    inside = False
    spread: list[Status | None] = []
    for at, (one, status) in enumerate(zip(said, found, strict=True)):
        inside = status is not None or (inside and at not in begins and not _is_present(one))
        spread.append("past" if inside else None)
    return spread


# Patterns --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lists:
    """The compiled patterns of ``data/framing.yaml``, whose comments explain each key."""

    not_present: re.Pattern[str]
    strong: re.Pattern[str]
    state: re.Pattern[str]
    people_in_general: re.Pattern[str]
    wondering: re.Pattern[str]
    paper: re.Pattern[str]
    claimed: re.Pattern[str]
    rescue: re.Pattern[str]
    call: re.Pattern[str]
    animal: re.Pattern[str]
    human: re.Pattern[str]
    harm: re.Pattern[str]
    none_of: re.Pattern[str]
    present: re.Pattern[str]
    trouble: re.Pattern[str]
    question: re.Pattern[str]
    command: re.Pattern[str]
    embedded: re.Pattern[str]
    impersonal: re.Pattern[str]
    topic: re.Pattern[str]
    asked_of: re.Pattern[str]
    hypothesis: re.Pattern[str]
    supposed: re.Pattern[str]
    story: re.Pattern[str]
    idly: re.Pattern[str]
    happened: re.Pattern[str]
    jest: re.Pattern[str]
    others: re.Pattern[str]
    fate: re.Pattern[str]
    long_past: re.Pattern[str]
    over: re.Pattern[str]
    letter: re.Pattern[str]
    personal: re.Pattern[str]
    premises: re.Pattern[str]


@cache
def _lists() -> _Lists:
    path = files("galenic.assistant.triage").joinpath("data/framing.yaml")
    found = TypeAdapter(dict[str, str | list[str]]).validate_python(
        yaml.safe_load(path.read_text(encoding="utf-8"))
    )
    pets = str(found.pop("pets"))
    found["animal"] = [one.replace("PETS", pets) for one in found["animal"]]
    return _Lists(**{name: _pattern(said) for name, said in found.items()})


def _pattern(said: str | list[str]) -> re.Pattern[str]:
    """Compile one entry of ``data/framing.yaml``."""
    if isinstance(said, list):
        return re.compile("|".join(rf"\b(?:{one})(?!\w)" if one[0] != "^" else one for one in said))
    return re.compile(said if said[0] in "^\\" else rf"\b(?:{said})\b")
