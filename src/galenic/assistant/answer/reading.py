"""What a question means: its topics, what it asks of them, and what it says besides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from galenic.assistant.answer.aspects import Aspect, asked_aspects, asking_stems
from galenic.assistant.answer.support import TALK
from galenic.assistant.handbook.topics import Match, Topics, name_stems
from galenic.assistant.triage.words.people import ages_in_months
from galenic.assistant.triage.words.wording import sentences, word_set
from galenic.retrieval.query import STOP_WORDS, words

__all__ = ["QuestionReading", "read_question"]

LEAST_COVER = 0.6
"""Share of a name, by rarity, that a question must have for the topic to be meant."""
LEAST_SCORE = 1.4
WHOLE = 0.8
"""Share of a name that one word must be: "closed" is too little of "eye will not close"."""
MILD = 0.4
"""What a describing word weighs among those that no entry has."""
FOREIGN, FOREIGN_TITLE, FOREIGN_WEAK = 0.8, 0.4, 1.5
"""The name's words must weigh this share of the words that the entry does not have; less where the
question has a whole title or a whole name of several words, more where the name is an everyday
word such as "cut"."""
SECOND = 0.55
"""Share of the best topic's score from which a second one is meant as well."""
SECOND_COMPARED = 0.3
"""The same where two things are compared."""
TITLED = 0.7
"""A topic whose whole title is asked for comes first from this share of the best score."""
COMPLAINT = 0.7
"""A complaint comes before a group of medicines that is named after it from this share on."""
SOFT = 0.5
"""What a word is worth that asks elsewhere, as part of its rarity."""
ADULT_MONTHS = 16 * 12
_SILENT = word_set("""
mmol unit mg ml mcg kg cm litr liter per percent degre enough many someth anyth normally real
actually first low high matter finish versu vs carry till quit kind sort bit lot suddenly plea
pls year old month week number today cope deal keep person everyone always ever still even
compar toward till yr yrs wont u rid gone going littl thoughts thing earth exactly basically
""")
_STORY = """
monday tuesday wednesday thursday friday saturday sunday weekend january february april june
july august september october november december easter christmas birthday spring summer autumn
winter say says said saying told reckon reckons mention mentioned mentions wondered seen met
every each once couple load loads lots bunch stuff rather quite pretty bloody honestly obviously
apparently suppose guess brother grandmother grandfather granny grandad nan gran auntie uncle cousin
neighbour neighbours colleague teacher client lady gentleman bloke hubby missus family embarrassing
embarrassed silly afternoon evening garden gardening kitchen upstairs downstairs teacup
"""
_SILENT |= frozenset(one for word in _STORY.split() for one in name_stems(word))
"""Stems that say nothing of the topic: units, talk, who and when of a story."""
_ANY_DISEASE = word_set("""
mental heart kidney liver lung skin chronic common disease gum
""")
_NORMAL = re.compile(r"[,;.!]\s*(?:normal|usual|common)\s*\?*\s*$", re.I)
"""A question that ends so: "and it's crampy, normal?"."""
_PARTS = re.compile(
    r"[.!?;,:\n]+|\s[-–]\s|\b(?:and|but|so|because|since|though|although|that|which|when|where|how"
    r"|what|who|if|is|does|did|while|after|before|says?|said|told|thinks?)\b",
    re.I,
)
"""Where a part of a long question ends."""
_PEOPLE = word_set("""
child pregnant adult women woman men man
""")
"""Stems of whom a topic is about: two topics that share only these are two."""
_BRINGS = re.compile(
    r"\b(?:causes?|causing|gives? (?:you|me|us|people)?|triggers?|brings? on|leads? to|makes?)\b",
    re.I,
)
_NOT_THAT = re.compile(
    r"\b(?:that (?:is ?n['’]?t|are ?n['’]?t|is not|are not)|other than|apart from|instead of"
    r"|besides|without(?: (?:any|more|taking|using|having to take))*)\s+"
    r"(?:more |any )?\w+",
    re.I,
)
"""What is not asked about: "that isn't laxatives", "without more tablets"."""
_AGE = re.compile(
    r"\b(?:s?he|who|they)(?:['’]?s| is| are|['’]re)? (?:only |just |nearly |about )?\d+ "
    r"(?:day|week|month|year)s?(?: old)?\b"
    r"|\b\d+[- ](?:day|week|month|year)s?[- ](?:old|pregnant)\b",
    re.I,
)
"""An age, which is no time for which something has lasted."""


@dataclass(frozen=True)
class QuestionReading:
    """What a question means.

    Attributes:
        matches: the topics that are meant, one or two; empty when none fits.
        near: the nearest topics, whether or not they fit.
        aspects: what is asked.
        rest: stems of the question besides topic and asking words, to their rarity.
        soft: stems that ask elsewhere, but not what is asked here ("walk"), to half their rarity.
        foreign: stems of the question that no entry has.
    """

    matches: tuple[Match, ...]
    near: tuple[Match, ...]
    aspects: tuple[Aspect, ...]
    rest: dict[str, float]
    foreign: frozenset[str]
    soft: Mapping[str, float] = field(default_factory=dict)


def read_question(known: Topics, question: str) -> QuestionReading:
    """Which topics a question means, what it asks of them, and what it says besides."""
    question = known.mend(question, asking_stems() | TALK)
    aspects = asked_aspects(_NORMAL.sub(", is that normal?", _AGE.sub(" ", question)))
    question = _NOT_THAT.sub(" ", question)
    question = f"{question} child" if _of_a_child(question) else question
    said = name_stems(question)
    ranked = known.find(question, weak=asking_stems())
    silent = asking_stems() | TALK | _SILENT
    plain = [w for w in said if w not in silent and not w.isdigit() and len(w) > 1]
    foreign = frozenset(word for word in plain if not known.knows(word))
    meant = _meant(known, ranked, aspects, plain, question)
    named = frozenset[str]().union(*(one.stems for one in meant))
    rest = {word: known.rarity(word) for word in plain if word not in named}
    asking = frozenset(stem for one in aspects for word in one.words for stem in name_stems(word))
    soft = {
        word: SOFT * known.rarity(word)
        for word in said
        if word in asking_stems() and word not in asking | named | TALK | _SILENT
    }
    return QuestionReading(meant, tuple(ranked[:3]), aspects, rest, foreign, soft)


def _of_a_child(question: str) -> bool:
    """Whether an age below 16 is named: "my 3 year old" is a child, without the word."""
    tokens = [sentence.tokens for sentence in sentences(question)]
    return any(months < ADULT_MONTHS for one in tokens for _, months in ages_in_months(one))


def _meant(
    known: Topics,
    ranked: Sequence[Match],
    aspects: Sequence[Aspect],
    plain: Sequence[str],
    question: str,
) -> tuple[Match, ...]:
    """The best topic if it fits, and a second one that the question names as well."""
    diseases, describing = _diseases(question), _describing(question)
    fitting = [one for one in ranked[:10] if _fits(known, one, plain, diseases, describing)]
    parts = _of_parts(known, question, plain, diseases)
    fitting = fitting or parts
    if not fitting:
        return ()
    ids = {one.id for one in aspects}
    asks_medicine = any(one.medicine for one in aspects)
    medicines = [one for one in (*fitting, *parts) if one.entry.kind == "medicine" and one.titled]
    if brought := _brought(fitting, question):
        first = brought
    elif asks_medicine and medicines:
        first = medicines[0]
    else:
        first = _preferred(fitting, asks_medicine=asks_medicine)
    asks_of_first = bool(ids & {"cause", "safety", "effects"})
    least = SECOND_COMPARED if "comparison" in ids else SECOND
    ids_fitting = {one.entry.id for one in fitting}
    for other in (*fitting, *(one for one in parts if one.entry.id not in ids_fitting)):
        named = other.cover > 0.99 and (other.titled or len(other.stems) > 1 or "comparison" in ids)
        shared = (other.stems & first.stems) - _PEOPLE
        kinds = "comparison" in ids and other.stems - first.stems and first.stems - other.stems
        apart = (
            named
            and (not shared or kinds)
            and not other.stems <= _PEOPLE
            and not (
                asks_of_first and all(known.explains(first.entry, word) for word in other.stems)
            )
        )
        if apart and other.score >= least * first.score and other.entry.kind == first.entry.kind:
            return (first, other)
    return (first,)


def _fits(
    known: Topics,
    match: Match,
    plain: Sequence[str],
    diseases: frozenset[str],
    describing: frozenset[str],
) -> bool:
    """Whether the question is on this topic, and on little that the topic has not."""
    if match.cover < LEAST_COVER or match.score < LEAST_SCORE or diseases - match.stems:
        return False
    only_asks = match.stems <= asking_stems() | TALK | _SILENT
    if not match.titled and len(match.stems) < 2 and (match.cover < WHOLE or only_asks):
        return False
    strange = [w for w in plain if w not in match.stems and not known.explains(match.entry, w)]
    weight = sum(known.rarity(word) for word in match.stems)
    whole = match.cover > 0.99 and (match.titled or len(match.stems) > 1)
    allowed = weight / (FOREIGN_WEAK if match.weak else FOREIGN_TITLE if whole else FOREIGN)
    return sum(known.rarity(w) * _heft(known, w, describing) for w in strange) <= allowed


def _of_parts(
    known: Topics, question: str, plain: Sequence[str], diseases: frozenset[str]
) -> list[Match]:
    """Topics named whole in one part of a long question, whatever the other parts tell."""
    parts = [part for part in _PARTS.split(question) if part.strip()]
    found: dict[str, Match] = {}
    for part in parts if len(parts) > 1 else ():
        own = set(name_stems(part))
        here, describing = [word for word in plain if word in own], _describing(part)
        for one in known.find(part, weak=asking_stems())[:5]:
            whole = one.cover > 0.99 and not one.weak
            if whole and _fits(known, one, here, diseases & own, describing):
                best = found.get(one.entry.id)
                found[one.entry.id] = one if best is None or one.score > best.score else best
    return sorted(found.values(), key=lambda one: (-one.score, one.entry.id))


def _heft(known: Topics, word: str, describing: frozenset[str]) -> float:
    """Less for a word that no entry has and that may only describe: "horribly", "stinking"."""
    if known.knows(word):
        return 1
    return MILD if word in describing or word.endswith(("ly", "y", "ful", "ish")) else 1


def _describing(question: str) -> frozenset[str]:
    """Stems of the words that end as participles do: "a stinking cold"."""
    said = [word for word in words(question) if word.endswith(("ing", "ed")) and len(word) > 5]
    return frozenset(stem for word in said for stem in name_stems(word))


def _preferred(fitting: Sequence[Match], *, asks_medicine: bool) -> Match:
    """The best one, but for a whole title, and a complaint where no medicine is asked about."""
    best = fitting[0]
    titled = [one for one in fitting if one.titled and one.cover > 0.99 and not one.weak]
    topics = [one for one in fitting if one.entry.kind == "topic" and one.cover > 0.99]
    group = best.entry.kind == "medicine" and not best.drug and not asks_medicine
    if group and topics and (not best.titled or topics[0].score >= COMPLAINT * best.score):
        return topics[0]
    near = [one for one in titled if one.score >= TITLED * best.score]
    if near and not best.titled and not near[0].stems < best.stems:
        return near[0]
    return best


def _brought(fitting: Sequence[Match], question: str) -> Match | None:
    """The complaint behind "causes", where another topic stands before it: stress and IBS."""
    found = _BRINGS.search(question)
    if found is None:
        return None
    head = set(name_stems(question[: found.start()]))
    tail = set(name_stems(question[found.end() :]))
    named = [one for one in fitting if one.entry.kind == "topic" and one.cover > 0.99]
    before = any(one.stems <= head for one in named)
    behind = [one for one in named if one.stems <= tail and not one.stems <= head]
    medicine = any(one.drug and one.stems <= head for one in fitting)
    return behind[0] if before and behind and not medicine else None


def _diseases(question: str) -> frozenset[str]:
    """Stems of the word before "syndrome" and the like: a disease must be the topic itself."""
    said: Iterable[str] = [word for word in words(question) if word not in STOP_WORDS]
    return frozenset(
        stem
        for before, word in pairwise(said)
        if word in ("syndrome", "disease", "disorder")
        for stem in name_stems(before)
        if stem not in _ANY_DISEASE
    )
