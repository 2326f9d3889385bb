"""Decide whether a mentioned symptom counts or is denied, past, a relative's or only asked about.

Based on NegEx (Chapman et al., J Biomed Inform 34:301, 2001,
https://doi.org/10.1006/jbin.2001.1029) and ConText (Harkema et al., J Biomed Inform 42:839, 2009,
https://doi.org/10.1016/j.jbi.2009.05.002): trigger phrases around a mention, each with a limited
range. In contrast to them, every doubt makes a symptom count: a negation ends at "and", at a comma
(unless the list is closed by "or"), and where a new subject begins.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal

from galenic.assistant.triage.words.phrase import Mention
from galenic.assistant.triage.words.wording import TokenSentence, word_set

__all__ = ["CONTEXT_PARTS", "Scope", "Status", "undoubled"]

Status = Literal["counts", "denied", "past", "family", "question"]

CONTEXT_PARTS = (
    "negators", "weak_negators", "bridges", "not_denials", "stops", "gone", "not_gone", "ruled_out",
    "past", "present", "family", "family_past", "family_always", "risk", "lead", "prevention",
    "personal", "not_personal", "topic_after", "recurs",
)  # fmt: skip
"""The keys of ``context.yaml``."""

REACH = 5
"""Maximum number of words between "no" and the symptom that it denies."""
ITEM = 5
"""Maximum number of words of one list item in "no fever, aches or cough"."""
NEAR = 12
"""Number of words around a mention that are searched for a question, a relative or "has gone"."""
CLAUSE = 40
"""Maximum number of words on either side of a symptom that belong to its clause."""
_NOT = (("not",), ("hasnt",), ("havent",), ("be",), ("hadnt",), ("isnt",))
_NEW_SPEAKER = word_set(
    "i im ive my he hes his she shes her we our they theyre their the it its there now then"
)
_HAVE_NOW = {f"i {verb}" for verb in ("have", "am", "feel", "cant", "need", "keep", "got")}
_JOINS = frozenset({"and"})
_BREAKS = word_set("but however although though except yet whereas")


_OUTER = tuple(
    tuple(said.split())
    for said in (
        "not that", "isnt that", "not as if", "not like", "not true", "isnt true", "cant say",
        "couldnt say", "wouldnt say", "can not say", "not not", "not saying", "dont deny",
    )
)  # fmt: skip
_INNER = {
    "not": "so", "dont": "do", "doesnt": "does", "didnt": "did", "isnt": "is", "arent": "are",
    "havent": "have", "hasnt": "has", "no": "some",
}  # fmt: skip
"""Negation words and a replacement of one token each that denies nothing."""


def undoubled(tokens: Sequence[str]) -> list[str] | None:
    """Return the tokens with double negations resolved, or None if there are none.

    ``["not", "that", "i", "have", "no", "pain"]`` gives ``["not", "that", "i", "have", "some",
    "pain"]``. The number of tokens stays the same.
    """
    plain = list(tokens)
    for at in range(len(plain) - 2):
        outer = next((o for o in _OUTER if tuple(tokens[at : at + len(o)]) == o), None)
        if outer is None:
            continue
        for inner in range(at + len(outer) - (outer == ("not", "not")), at + len(outer) + REACH):
            if inner < len(plain) and plain[inner] in _INNER:
                plain[inner] = _INNER[plain[inner]]
                break
    return plain if plain != list(tokens) else None


class Scope:
    """The context of the symptom mentions of one sentence.

    Args:
        sentence: The sentence.
        marks: Matches of the phrases of ``context.yaml``; the ``concept`` of each is a key of that
            file, such as ``negators``.
        mentions: The mentions of symptoms.
        about_risk: Whether the text asks what the illness of a relative means for the writer.
        recurs: Whether the text says that a past event is happening again, so that nothing counts
            as past.
    """

    def __init__(
        self,
        sentence: TokenSentence,
        marks: Iterable[Mention],
        mentions: Iterable[Mention],
        *,
        about_risk: bool,
        recurs: bool = False,
    ) -> None:
        self.tokens = sentence.tokens
        self.pauses = sentence.pauses
        self.about_risk = about_risk
        self.recurs = recurs
        self._list_ends: dict[int, int] = {}
        self._starts: dict[str, dict[int, Mention]] = {}
        for mark in marks:
            self._starts.setdefault(mark.concept, {})[mark.start] = mark
        self.symptoms: dict[int, int] = {}
        for mention in mentions:
            self.symptoms[mention.start] = max(self.symptoms.get(mention.start, 0), mention.end)

    def status(self, mention: Mention) -> Status:
        """Return whether a mention counts, and if not, why."""
        if self._denied(mention):
            return "denied"
        low, high = self._clause(mention)
        if self._familys(mention, low, high):
            return "family"
        if self._past(low, high):
            return "past"
        return "question" if self._asked(mention) else "counts"

    def is_gone(self, mention: Mention) -> bool:
        """Check whether the words after a mention say that it has passed ("the pain has gone")."""
        low, high = mention.end, mention.end + NEAR
        return self._has("gone", low, high) and not self._has("not_gone", mention.start, high)

    def is_in(self, part: str, place: int) -> bool:
        """Check whether a phrase under the key ``part`` of ``context.yaml`` covers a token."""
        return any(m.end > place for m in self._between(part, max(0, place - NEAR), place + 1))

    def _has(self, part: str, low: int, high: int) -> bool:
        return any(mark.end <= high for mark in self._between(part, low, high))

    def _between(self, part: str, low: int, high: int) -> list[Mention]:
        starts = self._starts.get(part)
        if not starts:
            return []
        places = range(low, min(high, len(self.tokens)))
        return [starts[place] for place in places if place in starts]

    @cached_property
    def _excused(self) -> frozenset[int]:
        """Return the indices of tokens such as "no" and "not" that deny nothing ("no doubt")."""
        return frozenset(
            place
            for m in self._starts.get("not_denials", {}).values()
            for place in range(m.start, m.end)
        )

    # Negation -----------------------------------------------------------------------------------

    def _denied(self, mention: Mention) -> bool:
        if self._ruled_out(mention):
            return True
        place = mention.start
        for part, weak in (("negators", False), ("weak_negators", True)):
            for mark in self._between(part, max(0, place - 3 * NEAR), place):
                if mark.start in self._excused or mark.end > place:
                    continue
                if self._reaches(mark.end, place, weak=weak):
                    return True
        return False

    def _ruled_out(self, mention: Mention) -> bool:
        after = mention.end
        rest = self.tokens[after : after + 2]
        ends = len(rest) == 1 or (len(rest) == 2 and self.pauses[after + 1])
        if ends and rest[0] in ("no", "none", "negative", "denied", "absent", "nil"):
            return True
        if self._has("ruled_out", after, after + 4):
            return True
        before = self._between("ruled_out", max(0, mention.start - 5), mention.start)
        return any(m.end <= mention.start and self.tokens[m.end - 1] == "out"
                   and self.tokens[m.start - 1 : m.start] not in _NOT for m in before)  # fmt: skip

    def _reaches(self, start: int, place: int, *, weak: bool) -> bool:
        """Check whether a negation that ends before ``start`` denies the symptom at ``place``."""
        list_end = self._list_end(start)
        words = 0  # in the current list item
        symptom_end = 0  # of the last symptom in the current list item
        any_symptom = False
        for at in range(start, place + 1):
            pause = at > start and self.pauses[at]
            if pause or self.tokens[at] in ("or", "nor"):
                words = symptom_end = 0
            # In "no fever chest pain", "no" applies to "fever" only.
            if (pause and at >= list_end) or 0 < symptom_end <= at:
                return False
            if at == place:
                return True
            if at in self.symptoms:
                symptom_end, any_symptom = max(symptom_end, self.symptoms[at]), True
            bridged = at in self._starts.get("bridges", {}) or at < symptom_end
            words += 1
            strange = weak and not bridged and not (any_symptom and at < list_end)
            if strange or words > REACH + 3 * weak or self._stops(at, start):
                return False
        return False

    def _stops(self, at: int, start: int) -> bool:
        token = self.tokens[at]
        if token in _BREAKS or token in _JOINS:
            return True
        return at > start and at in self._starts.get("stops", {})

    def _list_end(self, start: int) -> int:
        """Return the end index of the list "A, B or C" at a token; 0 if there is no list."""
        if start not in self._list_ends:
            self._list_ends[start] = self._find_list_end(start)
        return self._list_ends[start]

    def _find_list_end(self, start: int) -> int:
        words, joined = 0, False
        for at in range(start, min(start + 6 * ITEM, len(self.tokens))):
            token = self.tokens[at]
            if joined and (self.pauses[at] or words > ITEM):
                return at
            if token in ("or", "nor"):
                joined, words = True, 0
                continue
            if self._stops(at, start) or (self.pauses[at] and token in _NEW_SPEAKER):
                return at if joined else 0
            words = 1 if self.pauses[at] else words + 1
            if words > ITEM and not joined:
                return 0
        return min(start + 6 * ITEM, len(self.tokens)) if joined else 0

    # The past and relatives ---------------------------------------------------------------------

    def _clause(self, mention: Mention) -> tuple[int, int]:
        """Return the token range of the clause around a mention, as start and end (excluded)."""
        before = bisect_right(self._break_places, mention.start) - 1
        after = bisect_left(self._break_places, mention.end)
        low = max(self._break_places[before] if before >= 0 else 0, mention.start - CLAUSE, 0)
        high = min(len(self.tokens), mention.end + CLAUSE)
        if after < len(self._break_places):
            high = min(high, self._break_places[after])
        if 0 < low <= 5 and self._has("past", 0, low):  # "In 1990, my father ..."
            low = 0
        return low, high

    @cached_property
    def _break_places(self) -> list[int]:
        """Return the indices of the tokens with which a clause may begin, in order."""
        return [at for at in range(len(self.tokens)) if self._breaks(at)]

    def _breaks(self, at: int) -> bool:
        token = self.tokens[at]
        if self.pauses[at] or token in _BREAKS:
            return True
        follows = self.tokens[at + 1] if at + 1 < len(self.tokens) else ""
        if f"{token} {follows}" in _HAVE_NOW:
            return True
        return token in ("and", "so") and follows in _NEW_SPEAKER

    def _past(self, low: int, high: int) -> bool:
        if self.recurs or self._has("present", low, high):
            return False
        return self._has("past", low, high)

    def _familys(self, mention: Mention, low: int, high: int) -> bool:
        if self._has("present", low, high):
            return False
        if self._has("family_always", max(low, mention.start - NEAR), high):
            return True
        people = self._between("family", max(low, mention.start - NEAR), mention.end)
        if not people:
            return False
        said = {"i", "im", "ive"} & set(self.tokens[people[-1].end : mention.start])
        if said or not self._has("family_past", low, mention.start):
            return False
        return self.about_risk or self._has("past", low, high)

    # Questions ----------------------------------------------------------------------------------

    def _asked(self, mention: Mention) -> bool:
        before, start = max(0, mention.start - NEAR), mention.start
        if self._between("topic_after", mention.end, mention.end + 1):
            return True
        if any(m.end in (start, start - 1) for m in self._between("prevention", before, start)):
            return True
        if not self._between("lead", before, start + 1):
            return False
        general = {
            place
            for m in self._between("not_personal", before, mention.end + NEAR)
            for place in range(m.start, m.end)
        }
        people = self._between("personal", before, mention.end + NEAR)
        return all(person.start in general for person in people)
