"""Analysis of a question: its topics, the aspects asked about, and the remaining words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from galenic.assistant.answer.aspects import Aspect, asked_aspects, asking_stems
from galenic.assistant.answer.support import TALK
from galenic.assistant.handbook.topics import Match, Topics, name_stems
from galenic.assistant.triage.words.people import ages_in_months
from galenic.assistant.triage.words.wording import sentences, word_set
from galenic.retrieval.query import STOP_WORDS, words

__all__ = ["QuestionReading", "follows_up", "read_follow_up", "read_question"]

LEAST_COVER = 0.6
"""Minimum share of a name, by weight, that the question must contain for the topic to match."""
LEAST_SCORE = 1.4
"""Minimum score of a match."""
WHOLE = 0.8
"""Minimum share of a name that a single matching word must make up: "closed" is too little of "eye
will not close"."""
MILD = 0.4
"""Weight of an adjective or adverb that occurs in no entry, relative to other such words."""
FOREIGN, FOREIGN_TITLE, FOREIGN_WEAK = 0.8, 0.4, 1.5
"""Limits on words of the question that the entry does not contain: the weight of the matched words
must be at least this multiple of theirs. The second applies to matches of a whole title or a whole
name of several words, the third to everyday words such as "cut"."""
SECOND = 0.55
"""Minimum score of a second topic, as a fraction of the best score."""
SECOND_COMPARED = 0.3
"""The same if the question compares two things."""
TITLED = 0.7
"""Minimum score for a topic with a completely matching title to come first, as a fraction of the
best score."""
COMPLAINT = 0.7
"""Minimum score for a complaint to come before a group of medicines named after it, as a fraction
of that group's score."""
SOFT = 0.5
"""Factor on the weight of words that often only serve to ask."""
ADULT_MONTHS = 16 * 12
"""Age in months from which a person counts as an adult."""
_SILENT = word_set("""
mmol unit mg ml mcg kg cm litr liter per percent degre enough many someth anyth normally real
actually first low high matter finish versu vs carry till quit kind sort bit lot suddenly plea
pls year old month week number today cope deal keep person everyone always ever still even
compar toward till yr yrs wont im ive u rid gone going littl thoughts thing earth exactly basically
""")
"""Stems that say nothing about the topic: units, fillers, and persons and times of a story."""
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
"""Stems before "disease" or "disorder" that name a group of diseases rather than one."""
_NORMAL = re.compile(r"[,;.!]\s*(?:normal|usual|common)\s*\?*\s*$", re.I)
"""End of a question such as "and it's crampy, normal?"."""
_PARTS = re.compile(
    r"[.!?;,:\n]+|\s[-–]\s|\b(?:and|but|so|because|since|though|although|that|which|when|where|how"
    r"|what|who|if|is|does|did|while|after|before|says?|said|told|thinks?)\b",
    re.I,
)
"""Boundaries between the parts of a long question."""
_PEOPLE = word_set("""
child pregnant adult women woman men man
""")
"""Stems for groups of people; two topics with only these in common are different."""
_BRINGS = re.compile(
    r"\b(?:causes?|causing|gives? (?:you|me|us|people)?|triggers?|brings? on|leads? to|makes?)\b",
    re.I,
)
"""Verbs of causing."""
_NOT_THAT = re.compile(
    r"\b(?:that (?:is ?n['’]?t|are ?n['’]?t|is not|are not)|other than|apart from|instead of"
    r"|besides|without(?: (?:any|more|taking|using|having to take))*"
    r"|but (?:there(?:['’]?s| is| are) )?no)\s+"
    r"(?:more |any )?\w+",
    re.I,
)
"""Phrases that exclude something from the question: "that isn't laxatives", "but no fever"."""
_BED = re.compile(
    r"\b(?:get|gets|getting|got) (?:out of|into|up from) bed\b|\b(?:in|to) bed\b", re.I
)
"""Phrases with "bed" that name no topic."""
_DENIED = re.compile(
    r"(?:(?:\b(?:am|is|are|was)|['’]?m|['’]re) not|\b(?:is|are|was)n['’]?t)"
    r" (pregnan|breastfe|diabet)\w+",
    re.I,
)
"""Conditions that the question denies: "I am not pregnant"."""
_BABY = re.compile(r"\bbab(?:y|ies)\b|\b(?:newborn|infant)s?\b", re.I)
_NOT_BABIES_ALONE = re.compile("child|pregnan", re.I)
BABY_MONTHS = 24
"""Age from which entries on babies alone answer nothing."""
_AGE = re.compile(
    r"\b(?:s?he|who|they)(?:['’]?s| is| are|['’]re)? (?:only |just |nearly |about )?\d+ "
    r"(?:day|week|month|year)s?(?: old)?\b"
    r"|\b\d+[- ](?:day|week|month|year)s?[- ](?:old|pregnant)\b",
    re.I,
)
"""Ages, which would otherwise be read as durations of a symptom."""


@dataclass(frozen=True)
class QuestionReading:
    """An analysed question.

    Attributes:
        matches: the topics that the question is about, at most two; empty if none fits.
        near: the best-ranked topics, whether or not they fit; at most three.
        aspects: the aspects that it asks about.
        rest: weights of the remaining stems, which belong to neither topic nor aspect: "stress" in
            "Can stress give me hives?".
        foreign: stems that occur in no entry.
        soft: weights, halved, of stems that ask in other questions but not in this one ("walk").
        said: all stems of the question, in order, with their rarity in the statements.
        strange: those of ``rest`` that the best entry does not contain.
    """

    matches: tuple[Match, ...]
    near: tuple[Match, ...]
    aspects: tuple[Aspect, ...]
    rest: dict[str, float]
    foreign: frozenset[str]
    soft: Mapping[str, float] = field(default_factory=dict)
    said: Mapping[str, float] = field(default_factory=dict)
    strange: frozenset[str] = frozenset()


def read_question(known: Topics, question: str) -> QuestionReading:
    """Analyse a question: find its topics, its aspects, and the remaining words.

    Args:
        known: the search index over handbook entries.
        question: the question in the user's own words.
    """
    question = known.mend(question, asking_stems() | TALK)
    aspects = asked_aspects(_NORMAL.sub(", is that normal?", _AGE.sub(" ", question)))
    question = _BED.sub(" ", _NOT_THAT.sub(" ", question))
    denied, months = _DENIED.findall(question), _ages(question)
    question = _DENIED.sub(" ", question)
    question = f"{question} child" if min(months, default=ADULT_MONTHS) < ADULT_MONTHS else question
    said = name_stems(question)
    ranked = known.find(question, weak=asking_stems())
    older = min(months, default=0) >= BABY_MONTHS and not _BABY.search(question)
    ranked = [one for one in ranked if not _is_on_others(one.entry.title, denied, older)]
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
    strange = frozenset(w for w in rest if meant and not known.explains(meant[0].entry, w))
    stems = {word: known.spread(word) for word in said}
    near = tuple(ranked[:3])
    return QuestionReading(meant, near, aspects, rest, foreign, soft, stems, strange)


_WHOM = frozenset(
    name_stems("child children baby babies toddler teenager pregnant pregnancy breastfeeding adult "
               "elderly older women woman men man mother")
)  # fmt: skip
"""Stems for the people that a follow-up may ask about without changing the topic."""


def follows_up(reading: QuestionReading) -> bool:
    """Check whether a question names no topic of its own, such as "And for children?"."""
    return all(one.stems <= _WHOM for one in reading.matches)


def read_follow_up(known: Topics, before: str, question: str) -> QuestionReading:
    """Analyse a question without a topic: the topic is that of the question before it.

    Args:
        known: the search index over handbook entries.
        before: the user's earlier question.
        question: the follow-up, for which `follows_up` is true.
    """
    past, asked = read_question(known, before), read_question(known, question)
    if not past.matches:
        return read_question(known, f"{before}\n{question}")
    whom = {stem: known.rarity(stem) for one in asked.matches for stem in one.stems}
    aspects, rest = asked.aspects or past.aspects, {**asked.rest, **whom}
    strange = frozenset(w for w in rest if not known.explains(past.matches[0].entry, w))
    return replace(
        past, aspects=aspects, rest=rest, foreign=asked.foreign, soft=asked.soft,
        said=asked.said, strange=strange,
    )  # fmt: skip


def _is_on_others(title: str, denied: Sequence[str], older: bool) -> bool:
    """Check whether an entry is on a denied condition or, if ``older``, on babies alone."""
    babies = older and _BABY.search(title) and not _NOT_BABIES_ALONE.search(title)
    return bool(babies) or any(word.lower() in title.lower() for word in denied)


def _ages(question: str) -> list[float]:
    """Return the ages that a question states, in months: 36 for "my 3 year old"."""
    tokens = [sentence.tokens for sentence in sentences(question)]
    return [months for one in tokens for _, months in ages_in_months(one)]


def _meant(
    known: Topics,
    ranked: Sequence[Match],
    aspects: Sequence[Aspect],
    plain: Sequence[str],
    question: str,
) -> tuple[Match, ...]:
    """Return the best topic that fits, and a second one if the question names two.

    Args:
        known: the search index over handbook entries.
        ranked: matching topics, best first.
        aspects: the aspects that the question asks about.
        plain: content stems of the question.
        question: the question, with spelling corrected.
    """
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
    """Check whether a topic covers the question well enough.

    Args:
        known: the search index over handbook entries.
        match: the topic, and how it matches.
        plain: content stems of the question.
        diseases: stems that precede "disease" or the like, which the name must contain.
        describing: stems of words that may only describe, which weigh less.
    """
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
    """Return topics whose whole name occurs in one part of a long question, best first."""
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
    """Return the factor on the weight of an unmatched word; lower for adjectives and adverbs.

    Examples of such words are "horribly" and "stinking", if no entry contains them.
    """
    if known.knows(word):
        return 1
    return MILD if word in describing or word.endswith(("ly", "y", "ful", "ish")) else 1


def _describing(question: str) -> frozenset[str]:
    """Return the stems of words that end in "ing" or "ed", as "stinking" in "a stinking cold"."""
    said = [word for word in words(question) if word.endswith(("ing", "ed")) and len(word) > 5]
    return frozenset(stem for word in said for stem in name_stems(word))


def _preferred(fitting: Sequence[Match], *, asks_medicine: bool) -> Match:
    """Return the topic that the question is mainly about.

    This is the best match, but completely matching titles are preferred to partial names, and
    complaints to groups of medicines unless the question asks about medicines.
    """
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
    """Return the complaint after a verb of causing, if another topic precedes it.

    "Can stress cause IBS?" is about IBS. None if the question has no such form.
    """
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
    """Return the stems that precede "syndrome", "disease" or "disorder" in a question.

    An entry must have these in its name: a question on "Kawasaki disease" is about no other.
    """
    said: Iterable[str] = [word for word in words(question) if word not in STOP_WORDS]
    return frozenset(
        stem
        for before, word in pairwise(said)
        if word in ("syndrome", "disease", "disorder")
        for stem in name_stems(before)
        if stem not in _ANY_DISEASE
    )
