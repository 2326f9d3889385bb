"""Selection of sentences from indexed passages: first the page, then complete sentences of it.

A MedQuAD page is used only if the question contains its whole title. From the user's own documents,
a sentence is used if it covers most of the question. Pages on common diseases are preferred to
those on rare ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.assistant.answer.aspects import Aspect, asking_stems
from galenic.assistant.answer.sentences import whole_sentences
from galenic.assistant.answer.support import TALK, Wanted, stems
from galenic.assistant.handbook.topics import name_stems
from galenic.assistant.triage.words.wording import word_set
from galenic.retrieval.documents.medquad import SOURCES
from galenic.retrieval.retrieve import Passage

__all__ = ["FoundSentence", "of_own", "of_pages"]

MOST = 4
"""Maximum number of sentences from a MedQuAD page."""
OWN_SHARE = 0.6
"""Minimum share of the question, by weight, that a sentence of the user's own documents must cover
together with its title."""
OWN_MOST = 2
"""Maximum number of sentences from the user's own documents."""
RARE = (SOURCES["GARD"], SOURCES["GHR"])
"""MedQuAD sources on rare and genetic diseases."""
_GENERIC = word_set("""
diseas syndrom disorder condition problem health cancer pain test
""")
"""Stems that do not identify a title on their own."""


@dataclass(frozen=True)
class FoundSentence:
    """A sentence selected for the answer, and the passage that contains it."""

    text: str
    passage: Passage


def of_own(want: Wanted, passages: Sequence[Passage]) -> list[FoundSentence]:
    """Return sentences of the user's own documents or notes that cover most of the question.

    Words that the passage's title contains count less than those that only the sentence contains:
    in a leaflet on knee injections, "swim" identifies the sentence.

    Args:
        want: the weighted words of the question.
        passages: passages of the user's own documents or notes.

    Returns:
        The best sentences, at most `OWN_MOST`; empty if none covers enough of the question.
    """
    scored = []
    for passage in passages:
        titles = stems(f"{passage.title} {passage.question}")
        in_title = want.found(titles)
        for text in whole_sentences(passage.text):
            said = stems(text)
            share = want.share([said])
            if share <= 0:
                continue
            beside = want.weight(want.found(said) - in_title) / (want.total or 1.0)
            with_title = want.share([[*titles, *said]])
            if with_title >= OWN_SHARE and (beside > 0 or share >= OWN_SHARE / 2):
                score = share + 0.2 * with_title + 2 * beside
                scored.append((score, FoundSentence(text, passage)))
    best = max((score for score, _ in scored), default=0.0)
    kept = [found for score, found in scored if score >= 0.9 * best]
    return list(dict.fromkeys(kept))[:OWN_MOST]


def of_pages(
    question: str, aspects: Sequence[Aspect], want: Wanted, passages: Sequence[Passage]
) -> list[FoundSentence]:
    """Return consecutive sentences of the MedQuAD page that answers the question best.

    Args:
        question: the question in the user's own words.
        aspects: the aspects that it asks about.
        want: the weighted words of the question.
        passages: retrieved MedQuAD passages.

    Returns:
        At most `MOST` sentences; empty if the question contains no passage's whole title.
    """
    asked = set(name_stems(question))
    fitting = [one for one in passages if _fits(asked, one)]
    if not fitting:
        return []
    kinds = [kind for one in aspects[:2] for kind in one.kinds]
    fitting.sort(
        key=lambda one: (
            -len(set(name_stems(one.title)) & asked),
            one.source in RARE,
            _kind_place(one.question, kinds),
        )
    )
    page = fitting[0]
    if kinds and _kind_place(page.question, kinds) == len(kinds) and "what is" not in kinds:
        return []
    ranked = []
    for place, text in enumerate(whole_sentences(page.text)):
        ranked.append((place, want.share([stems(text)]), text))
    if not ranked:
        return []
    first = _first(ranked)
    return [FoundSentence(text, page) for _, _, text in ranked[first : first + MOST]]


def _first(ranked: Sequence[tuple[int, float, str]]) -> int:
    """Return the index of the first sentence to show.

    This is 0, unless a later run of sentences covers far more of the question.

    Args:
        ranked: for each sentence its index, the share of the question that it covers, and its text.
    """
    opening = sum(share for _, share, _ in ranked[:MOST])
    starts = range(max(1, len(ranked) - MOST + 1))
    best = max(starts, key=lambda at: (sum(s for _, s, _ in ranked[at : at + MOST]), -at))
    closing = sum(share for _, share, _ in ranked[best : best + MOST])
    return best if closing > 1.5 * opening else 0


def _fits(asked: set[str], passage: Passage) -> bool:
    """Check whether the question contains the title, and few words missing from the passage."""
    title = set(name_stems(passage.title))
    if not title or not title <= asked or not title - _GENERIC:
        return False
    silent = asking_stems() | TALK
    rest = {word for word in asked - title if word not in silent and not word.isdigit()}
    has = set(name_stems(f"{passage.question} {passage.text}"))
    return len(rest - has) <= len(rest) / 2


def _kind_place(question: str, kinds: Sequence[str]) -> int:
    """Return the index of the first of ``kinds`` in a MedQuAD question; their number if none."""
    plain = question.lower()
    return next((at for at, kind in enumerate(kinds) if kind in plain), len(kinds))
