"""Whether a sentence entails a claim: a deterministic check that lets pass only what it can follow.

A claim passes when it says what its source or one clause of it says: the same words that count (up
to a table of words that mean the same), in an order that says the same (`forms`), the same
polarity, no stronger modality or quantity, every number beside the same unit, the condition kept.
It is built to refuse: a true paraphrase in other words is refused too (results/answers.md).
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
_CANON = {
    stem: f"{at}"
    for at, group in reversed(list(enumerate(_SAME)))
    for word in group.split()
    for stem in name_stems(word)
}
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
"""How much is claimed; a plain statement is `_PLAIN`."""
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
_IGNORED = word_set("""
people thing body time many very well much
""")


@dataclass(frozen=True)
class _Reading:
    """What a sentence says: stems in order, negations, strengths, numbers with units, hedges."""

    stems: tuple[str, ...]
    negations: int
    strengths: frozenset[int]
    numbers: frozenset[tuple[str, str]]
    hedges: int


def entails(source: str, claim: str) -> bool:
    """Whether the source says all that the claim says.

    Args:
        source: one sentence.
        claim: one sentence.
    """
    return any(_clause_entails(clause, claim) for clause in clauses(source))


def _clause_entails(source: str, claim: str) -> bool:
    said, claimed = _read(source), _read(claim)
    if not claimed.stems or not forms(source, _canon) & forms(claim, _canon):
        return False
    if claimed.negations % 2 != said.negations % 2 or claimed.numbers - said.numbers:
        return False
    if _strength(claimed) > _strength(said) or claimed.hedges < said.hedges:
        return False
    return _keeps_conditions(source, claim) and _same_clauses(source, claim)


def refusal(question: str, claim: str) -> bool:
    """Whether a claim says that something is safe, of pregnancy, children or other medicines."""
    about = _WHO.search(question) or _WHO.search(claim)
    return bool(about and _SAFE.search(claim) and not re.search(r"\bask\b|\bcheck\b", claim, re.I))


def _read(sentence: str) -> _Reading:
    tokens = [token for one in sentences(sentence) for token in one.tokens]
    strengths = frozenset(_STRENGTH[token] for token in tokens if token in _STRENGTH)
    negations = sum(token in _NEGATIONS for token in tokens)
    numbers = frozenset(
        (token, _unit(tokens[at + 1 :])) for at, token in enumerate(tokens) if token[0].isdecimal()
    )
    hedges = sum(_STRENGTH.get(token, _ABSOLUTE) < _ABSOLUTE for token in tokens)
    return _Reading(tuple(_canon(sentence)), negations, strengths, numbers, hedges)


def _canon(sentence: str) -> list[str]:
    dull = {*_STRENGTH, *_NEGATIONS, *_IGNORED}
    tokens = [token for one in sentences(sentence) for token in one.tokens]
    words = [token for token in tokens if token not in dull]
    stems = [stem for word in words for stem in ((word,) if _is_kept(word) else name_stems(word))]
    return [_CANON.get(stem, stem) for stem in stems if stem not in _IGNORED]


def _is_kept(token: str) -> bool:
    """Whether a token counts as it is: numbers, and what sets times and limits."""
    return token[0].isdecimal() or token in _LIMITS


def _unit(tokens: Sequence[str]) -> str:
    """The first word behind a number that is none, without its ending."""
    return next((token.rstrip("s") for token in tokens if token[0].isalpha()), "")


def _strength(one: _Reading) -> int:
    """How much is claimed: the weakest word that is named, or an absolute one."""
    if _ABSOLUTE in one.strengths:
        return _ABSOLUTE
    return min(one.strengths, default=_PLAIN)


def _keeps_conditions(source: str, claim: str) -> bool:
    """Whether what the source says on a condition holds on the same one in the claim.

    Words behind "if", "when", "once" and the like in the claim must stand behind one in the
    source; what the source says only of a condition may not lose it.
    """
    ours, theirs = _conditions(source), _conditions(claim)
    if ours and not theirs:
        return set(ours) <= set(_canon(claim))
    return set(theirs) <= (set(ours) or set(_canon(source)))


def _conditions(sentence: str) -> list[str]:
    """Stems behind all words that set a condition, up to the next clause."""
    found = []
    for match in _CONDITION.finditer(sentence):
        found += _canon(re.split(_CLAUSE, sentence[match.end() :])[0])
    return found


def _same_clauses(source: str, claim: str) -> bool:
    """In a contrast ("while", "but", "than") each clause of the claim comes from one of the source,
    with its words in the same order."""
    if not _CONTRAST.search(source):
        return True
    parts = [_canon(part) for part in _CONTRAST.split(source)]
    for clause in _CONTRAST.split(claim):
        said = _canon(clause)
        if said and not any(_in_order(said, part) for part in parts):
            return False
    return True


def _in_order(said: list[str], part: list[str]) -> bool:
    if set(said) - set(part):
        return False
    places = [part.index(stem) for stem in said]
    return places == sorted(places)
