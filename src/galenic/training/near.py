"""Find texts that are the same or nearly the same, at four levels from strict to loose.

``exact``       the same characters.
``normalised``  the same words in the same order: Unicode NFKC, no case, no accents, no punctuation.
``contained``   all words of the test text occur consecutively in the training text (a question
                pasted into a prompt); only for test texts of at least ``min_words`` words.
``near``        Jaccard similarity of the sets of word shingles is at least ``threshold``; both
                texts need at least ``near_words`` words, because short questions of the same form
                ("which of the following is not true about ...") are similar without being the same.

Near candidates come from MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining
of Massive Datasets, chapter 3; library ``datasketch``). The Jaccard similarity that decides is then
computed exactly from the sets, so MinHash causes no false matches. It can still miss a match, so
the threshold for candidates is well below the actual one.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "KINDS",
    "ComparedText",
    "Hit",
    "Kind",
    "ScanConfig",
    "Scanner",
    "jaccard",
    "shingles",
    "words_of",
]

Kind: TypeAlias = Literal["exact", "normalised", "contained", "near"]
KINDS: tuple[Kind, ...] = ("exact", "normalised", "contained", "near")
"""From strict to loose."""
CANDIDATES = 0.75
"""Factor on the threshold in the search for candidates; the exact similarity decides."""
RECALL = (0.1, 0.9)
"""Weights of false positives and false negatives when choosing bands; a false one costs time."""
_WORD = re.compile(r"[^\W_]+")


class ScanConfig(BaseModel):
    """When two texts count as nearly the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Minimum Jaccard similarity of word shingles that counts as near.",
    )
    shingle: int = Field(3, ge=1, description="Words per shingle.")
    num_perm: int = Field(
        128, ge=16, le=1024, description="Number of MinHash permutations; more find more, slower."
    )
    min_words: int = Field(
        8, ge=1, description="Minimum words of a test text to look for inside longer texts."
    )
    near_words: int = Field(16, ge=1, description="Minimum words of both texts of a near pair.")
    seed: int = Field(0, ge=0, lt=2**32, description="Random seed.")


@dataclass(frozen=True)
class ComparedText:
    """A text to compare: the row it belongs to, which part of the row it is, and the text."""

    row: str
    part: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A training passage that matches a test passage.

    Attributes:
        train: the training passage.
        test: the test passage.
        test_set: name of the test set.
        kind: the strictest level at which they match.
        similarity: Jaccard similarity of their shingles; 1 if the words are the same.
    """

    train: ComparedText
    test: ComparedText
    test_set: str
    kind: Kind
    similarity: float


@dataclass(frozen=True)
class _Entry:
    test_set: str
    passage: ComparedText
    words: tuple[str, ...]


def words_of(text: str) -> tuple[str, ...]:
    """Split a text into words, without case, accents and punctuation.

    Composed and decomposed accented letters give the same result, as do half-width and full-width
    forms.
    """
    plain = text.casefold()
    if not plain.isascii():
        parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
        plain = "".join(c for c in parts if not unicodedata.combining(c))
    return tuple(_WORD.findall(plain))


def shingles(words: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    """Return all n-grams of ``size`` words; a shorter text is one shingle, an empty one none."""
    if len(words) <= size:
        return frozenset([tuple(words)] if words else [])
    return frozenset(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def jaccard(a: frozenset[Any], b: frozenset[Any]) -> float:
    """Size of the intersection over size of the union; 0 when both are empty."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


class Scanner:
    """Index of test passages, to find matching training passages.

    Args:
        tests: name and passages of each test set; passages without words are ignored.
        config: when two texts count as nearly the same.
    """

    def __init__(
        self, tests: Iterable[tuple[str, Sequence[ComparedText]]], config: ScanConfig | None = None
    ) -> None:
        self.config = ScanConfig.model_validate({}) if config is None else config
        self._entries: list[_Entry] = []
        for name, passages in tests:
            for passage in passages:
                if words := words_of(passage.text):
                    self._entries.append(_Entry(name, passage, words))
        self._by_words: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_start: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        self._shingles: dict[tuple[str, ...], frozenset[tuple[str, ...]]] = {}
        for number, entry in enumerate(self._entries):
            self._by_words[entry.words].append(number)
        for words in self._by_words:
            if len(words) >= self.config.min_words:
                self._by_start[words[: self.config.min_words]].append(words)
            if len(words) >= self.config.near_words:
                self._shingles[words] = shingles(words, self.config.shingle)
        self._blank = self._no_text()
        self._lsh = self._index()

    def scan(
        self, passages: Sequence[ComparedText], advance: Callable[[int], None] = lambda _: None
    ) -> list[Hit]:
        """Find all matches of training passages with the test sets, in the order of the passages.

        Each pair of training row and test row is reported once, with the strictest match among
        their passages.

        Args:
            passages: passages of the training data.
            advance: called with the number of passages done.
        """
        best: dict[tuple[str, str, str], Hit] = {}
        for done, passage in enumerate(passages, start=1):
            for hit in self._find(passage):
                key = hit.train.row, hit.test_set, hit.test.row
                if key not in best or _strength(hit) > _strength(best[key]):
                    best[key] = hit
            advance(done)
        return list(best.values())

    def _find(self, passage: ComparedText) -> list[Hit]:
        words = words_of(passage.text)
        found: dict[tuple[str, ...], tuple[Kind, float]] = {}
        if words in self._by_words:
            found[words] = ("normalised", 1.0)
        for other in self._contained(words):
            found.setdefault(other, ("contained", self._similarity(words, other)))
        if self._shingles and len(words) >= self.config.near_words:
            own = shingles(words, self.config.shingle)
            for other in self._lsh.query(self._minhash(own)):
                similarity = jaccard(own, self._shingles[other])
                if similarity >= self.config.threshold:
                    found.setdefault(other, ("near", similarity))
        return [
            self._hit(passage, self._entries[number], *found[other])
            for other in sorted(found)
            for number in self._by_words[other]
        ]

    def _hit(self, passage: ComparedText, entry: _Entry, kind: Kind, similarity: float) -> Hit:
        if kind == "normalised" and entry.passage.text == passage.text:
            kind = "exact"
        return Hit(passage, entry.passage, entry.test_set, kind, similarity)

    def _similarity(self, words: tuple[str, ...], other: tuple[str, ...]) -> float:
        size = self.config.shingle
        return jaccard(shingles(words, size), shingles(other, size))

    def _contained(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        size = self.config.min_words
        for at in range(len(words) - size + 1):
            for other in self._by_start.get(words[at : at + size], ()):
                if words[at : at + len(other)] == other:
                    yield other

    def _no_text(self) -> Any:
        """Return an empty MinHash to copy for each text, since creating permutations is slow."""
        from datasketch import MinHash

        return MinHash(num_perm=self.config.num_perm, seed=self.config.seed, hashfunc=_crc32)

    def _index(self) -> Any:
        from datasketch import MinHashLSH

        lsh = MinHashLSH(
            threshold=CANDIDATES * self.config.threshold,
            num_perm=self.config.num_perm,
            weights=RECALL,
        )
        for words, own in self._shingles.items():
            lsh.insert(words, self._minhash(own), check_duplication=False)
        return lsh

    def _minhash(self, own: frozenset[tuple[str, ...]]) -> Any:
        minhash = self._blank.copy()
        minhash.update_batch([" ".join(each).encode() for each in own])
        return minhash


def _crc32(data: bytes) -> int:
    return zlib.crc32(data)


def _strength(hit: Hit) -> tuple[int, float]:
    return -KINDS.index(hit.kind), hit.similarity
