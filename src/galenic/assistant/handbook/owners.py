"""Attribution of medicines and conditions in a question to persons.

"My mother takes warfarin, may I take ibuprofen?" is about two people, so no interaction is
reported; "My nan is on Eliquis, can she have ibuprofen?" is about one. A thing whose owner is
unclear is treated as if it could be anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from galenic.assistant.triage.words.wording import word_set

__all__ = ["ASKER", "Owners", "apart", "clauses"]

ASKER = "asker"
"""Label of the person who asks."""
Owners = frozenset[str]
"""Labels of the persons who may have or take something, such as ``asker``, ``mother`` or ``child``;
empty if unclear."""
_BREAK = re.compile(
    r"[.?!;,:\n]+"
    r"|\b(?:and|but|so|while|because|whereas)\b"
    r"(?=\s+(?:i|im|ive|can|could|may|should|my|he|she|they|hes|shes|is|am)\b)"
    r"|(?=\b(?:can|could|may|should)\s+(?:i|he|she|they|my)\b)"
)
_KIN = word_set(
    "mother mum mom dad father husband wife partner boyfriend girlfriend sister brother nan gran "
    "grandma grandad grandpa granny grandmother grandfather aunt uncle cousin friend neighbour "
    "neighbor flatmate roommate colleague dog cat"
)
_YOUNG = word_set("son daughter child kid baby toddler teenager grandson granddaughter infant")
_HAS = word_set(
    "takes has is was on uses had got gets needs take have use ate can could may should who with"
)
_IS = word_set("on got taking allergic pregnant been having not breastfeeding diabetic asthmatic")
_FOR = word_set("for give gives giving gave to can could may should")
_PRONOUNS = word_set("he she him her his hers hes shes")
_ASKER_SAYS = word_set("i im ive id ill me myself my mine")
_AGED = re.compile(r"\b(?:years?|yrs?|months?|weeks?)[ -]?olds?\b")
_WITH_CHILD = ("thing:pregnancy", "thing:breastfeeding")


def clauses(text: str) -> Iterator[tuple[str, Owners]]:
    """Split a text into clauses, and determine whose medicines and conditions each is about.

    Pronouns such as "she" refer to the person mentioned last. "My mother takes warfarin, may I take
    ibuprofen?" gives the owners ``mother`` and ``asker``.

    Yields:
        Each clause in lower case without apostrophes, and its owners. Clauses may be blank.
    """
    last = ""
    for clause in _BREAK.split(re.sub(r"['’]", "", text.lower())):
        words = re.findall(r"[a-z]+", clause)
        other = "child" if _AGED.search(clause) else _other(words)
        last = other or last
        if other or (last and _PRONOUNS & set(words)):
            yield clause, frozenset({last})
        elif _ASKER_SAYS & set(words):
            yield clause, frozenset({ASKER})
        else:
            yield clause, frozenset()


def _other(words: list[str]) -> str:
    """Return the person other than the asker that a clause is about; empty if there is none.

    A person counts only as someone who has, takes or is given something: "dad's on warfarin" but
    not "dad's tablets".

    Args:
        words: words of the clause, in lower case.
    """
    for at, word in enumerate(words):
        person = word if word in _KIN | _YOUNG else word[:-1]
        if person not in _KIN | _YOUNG:
            continue
        has = _IS if word != person else _HAS  # "dad's on warfarin" but not "dad's tablets"
        if set(words[at + 1 : at + 2]) & has or set(words[max(0, at - 2) : at]) & _FOR:
            return "child" if person in _YOUNG else person
    return ""


def apart(one: tuple[str, Owners], other: tuple[str, Owners]) -> bool:
    """Check whether two things certainly belong to different people.

    Pregnancy and breastfeeding count as shared with the child.

    Args:
        one: key of a thing as in `named_things`, and its owners.
        other: the same for the other thing.
    """
    if not one[1] or not other[1] or one[1] & other[1]:
        return False
    young = "child" in one[1] | other[1]
    return not (young and {one[0], other[0]} & set(_WITH_CHILD))
