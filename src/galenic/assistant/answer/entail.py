"""Rule-based textual entailment: whether a sentence of a source supports a claim.

A claim is accepted if it says what the source, or one clause of it, says: the same content words
(up to a table of synonyms) in an equivalent order (`forms`), with the same polarity, no stronger
modality or quantifier, every number with the same unit, and the condition kept. The check favours
precision over recall: true paraphrases in other words are rejected (results/answers.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from galenic.assistant.answer.forms import clauses, forms
from galenic.assistant.handbook.topics import name_stems
from galenic.assistant.triage.words.wording import sentences, word_set

__all__ = ["entails", "refusal"]

_SAME = (
    "ease relieve reduce lessen soothe improve", "doctor gp physician",
    "cause lead bring make due come trigger produce", "get become go goes", "help assist useful",
    "begin start", "take use using used", "sick nausea vomit queasy", "tablet pill",
    "quick fast soon rapid", "drowsy sleepy", "bad severe serious", "unwell ill",
    "call phone ring contact", "high raise raised",
    "speak talk tell discuss ask check see seek visit get", "urgent immediate once straight",
    "fortnight weeks", "jab vaccine", "dangerous danger harmful", "person people anyone someone",
    "young younger under less below", "old older over more above", "common frequent lots",
    "medicine medication drug remedy", "last continue", "adult grown", "hurt pain ache sore",
    "heal recover better clear", "need require", "lower reduce drop fall",
    "child baby infant kid", "spread pass give transmit", "wash clean", "plenty lots much",
    "injury blow hurt", "catch infected", "night nighttime", "raise lift", "bottom low",
    "germ bacteria", "squeeze pinch", "rub massage", "fluid drink", "alcohol", "weak weakness",
    "uneasy", "bright light", "hold cool", "dislike sensitivity", "movement move",
    "usual normal", "mood", "temperature fever", "reach", "show appear sign", "stay keep remain",
    "suit suitable", "class count regard", "yeast fungal fungus", "offer invite",
    "change changing", "worn wear", "put apply", "household home", "whole everyone",
    "darker dark", "thirsty thirst", "label packet", "read check", "contain found hold",
    "stretch stretching", "strengthen strengthening", "conception pregnant", "rise",
    "loss lose losing", "crust dry", "gape gaping", "stitch stitching", "glue gluing",
    "possible", "loud noise", "harm damage", "lifelong life", "weigh weight",
    "overweight weight",
)  # fmt: skip
"""Groups of synonyms. A word in several groups belongs to the first."""
_CANON = {
    stem: f"{at}"
    for at, group in reversed(list(enumerate(_SAME)))
    for word in group.split()
    for stem in name_stems(word)
}
"""Index of the group of synonyms, as a string, by stem."""
_NEGATIONS = word_set("""
not no never none neither nor cannot without cant dont doesnt isnt arent wont neednt shouldnt
mustnt didnt unable unlikely nobody nothing rarely seldom hardly avoid stop unless refuse few
little
""")
_STRENGTH = {
    "never": 0, "no": 0, "none": 0, "rarely": 1, "seldom": 1, "few": 1, "small": 1,
    "quarter": 1, "some": 2, "sometimes": 2,
    "may": 2, "might": 2, "can": 2, "could": 2, "possibly": 2, "perhaps": 2, "many": 3, "often": 3,
    "likely": 3, "probably": 3, "most": 4, "mostly": 4, "usually": 4, "generally": 4,
    "normally": 4, "typically": 4, "all": 5, "always": 5, "every": 5, "everyone": 5, "only": 5,
    "must": 5, "will": 5, "any": 5, "each": 5, "cure": 5, "cures": 5, "certainly": 5,
    "definitely": 5, "best": 5, "worst": 5, "entirely": 5, "completely": 5,
}  # fmt: skip
"""Strength of modal verbs, adverbs and quantifiers, from 0 ("never") to 5 ("always"); a sentence
without any has `_PLAIN`."""
_PLAIN, _ABSOLUTE = 4, 5
_SAFE = re.compile(
    r"\b(safe|safely|fine|ok|okay|allowed|harmless|no risk|no danger|recommended|suitable|may|can)"
    r"\b",
    re.I,
)
_WHO = re.compile(
    r"\b(pregnan\w*|breast-?feed\w*|unborn|child\w*|bab(?:y|ies)|infants?|toddlers?|with|together)\b",
    re.I,
)
_CLAUSE = re.compile(r"[;,:]|\b(?:while|but|because|so|although|whereas|than|and then)\b", re.I)
_CONDITION = re.compile(r"\b(?:if|unless|until|when|only|except|during|even|once|provided)\b", re.I)
_CONTRAST = re.compile(r"\b(?:while|but|whereas|than|instead)\b|;", re.I)
_LIMITS = word_set("before after until")
_IGNORED = word_set("people thing body time many very well much")


@dataclass(frozen=True)
class _Reading:
    """Features of a sentence that the entailment check compares.

    Attributes:
        stems: canonical stems of the content words, in order.
        negations: number of negating words.
        strengths: strengths of the modal verbs and quantifiers, see `_STRENGTH`.
        numbers: numbers, each with the word that follows as its unit.
        hedges: number of words that weaken the sentence, such as "may".
    """

    stems: tuple[str, ...]
    negations: int
    strengths: frozenset[int]
    numbers: frozenset[tuple[str, str]]
    hedges: int


def entails(source: str, claim: str) -> bool:
    """Check whether a source sentence entails a claim.

    "Rest and plenty of fluids help most people" does not entail "Rest cures everyone".

    Args:
        source: a sentence of a source.
        claim: a sentence that a model wrote.
    """
    return any(_clause_entails(clause, claim) for clause in clauses(source))


def _clause_entails(source: str, claim: str) -> bool:
    """Check whether one clause of the source entails the claim."""
    said, claimed = _read(source), _read(claim)
    if not claimed.stems or not forms(source, _canon) & forms(claim, _canon):
        return False
    if claimed.negations % 2 != said.negations % 2 or claimed.numbers - said.numbers:
        return False
    if _strength(claimed) > _strength(said) or claimed.hedges < said.hedges:
        return False
    return _keeps_conditions(source, claim) and _same_clauses(source, claim)


def refusal(question: str, claim: str) -> bool:
    """Check whether a claim calls something safe in pregnancy, for children or with medicines.

    Such claims are never shown, unless they advise to ask or check.

    Args:
        question: the user's question.
        claim: a sentence that a model wrote.
    """
    about = _WHO.search(question) or _WHO.search(claim)
    return bool(about and _SAFE.search(claim) and not re.search(r"\bask\b|\bcheck\b", claim, re.I))


def _read(sentence: str) -> _Reading:
    """Extract the features of a sentence."""
    tokens = [token for one in sentences(sentence) for token in one.tokens]
    strengths = frozenset(_STRENGTH[token] for token in tokens if token in _STRENGTH)
    negations = sum(token in _NEGATIONS for token in tokens)
    numbers = frozenset(
        (token, _unit(tokens[at + 1 :])) for at, token in enumerate(tokens) if token[0].isdecimal()
    )
    hedges = sum(_STRENGTH.get(token, _ABSOLUTE) < _ABSOLUTE for token in tokens)
    return _Reading(tuple(_canon(sentence)), negations, strengths, numbers, hedges)


def _canon(sentence: str) -> list[str]:
    """Return the canonical stems of a sentence's content words, in order; synonyms get one stem."""
    dull = {*_STRENGTH, *_NEGATIONS, *_IGNORED}
    tokens = [token for one in sentences(sentence) for token in one.tokens]
    words = [token for token in tokens if token not in dull]
    stems = [stem for word in words for stem in ((word,) if _is_kept(word) else name_stems(word))]
    return [_CANON.get(stem, stem) for stem in stems if stem not in _IGNORED]


def _is_kept(token: str) -> bool:
    """Check whether a token is compared verbatim: numbers, and "before", "after" and "until"."""
    return token[0].isdecimal() or token in _LIMITS


def _unit(tokens: Sequence[str]) -> str:
    """Return the unit of a number: the first word after it, without plural s."""
    return next((token.rstrip("s") for token in tokens if token[0].isalpha()), "")


def _strength(one: _Reading) -> int:
    """Return the strength of a sentence: its weakest word, or the maximum if one is absolute."""
    if _ABSOLUTE in one.strengths:
        return _ABSOLUTE
    return min(one.strengths, default=_PLAIN)


def _keeps_conditions(source: str, claim: str) -> bool:
    """Check whether the claim keeps the conditions of the source.

    Words after "if", "when", "once" and similar words in the claim must follow such a word in the
    source. If only the source has a condition, the claim must still contain its words.
    """
    ours, theirs = _conditions(source), _conditions(claim)
    if ours and not theirs:
        return set(ours) <= set(_canon(claim))
    return set(theirs) <= (set(ours) or set(_canon(source)))


def _conditions(sentence: str) -> list[str]:
    """Return the stems after all words that introduce a condition, up to the end of the clause."""
    found = []
    for match in _CONDITION.finditer(sentence):
        found += _canon(re.split(_CLAUSE, sentence[match.end() :])[0])
    return found


def _same_clauses(source: str, claim: str) -> bool:
    """Check that, in a contrast, each clause of the claim comes from one clause of the source.

    Contrasts are introduced by words such as "while", "but" and "than". Words must keep their order
    within a clause.
    """
    if not _CONTRAST.search(source):
        return True
    parts = [_canon(part) for part in _CONTRAST.split(source)]
    for clause in _CONTRAST.split(claim):
        said = _canon(clause)
        if said and not any(_in_order(said, part) for part in parts):
            return False
    return True


def _in_order(said: list[str], part: list[str]) -> bool:
    """Check whether a clause contains these stems in the same order."""
    if set(said) - set(part):
        return False
    places = [part.index(stem) for stem in said]
    return places == sorted(places)
