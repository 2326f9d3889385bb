"""What makes long texts quick gives what slow and plain ways give."""

from __future__ import annotations

import random

import pytest

from galenic.assistant.handbook import named_things as module
from galenic.assistant.handbook.named_things import named_things
from galenic.assistant.triage.raising.features import counts, tokens
from galenic.assistant.triage.raising.self_harm import _ACTS, _SELVES, _is_near, _meant
from galenic.assistant.triage.scope import CLAUSE, Scope
from galenic.assistant.triage.words.phrase import (
    GAP,
    GAP_STOPS,
    Matcher,
    Mention,
    Phrase,
    parse_phrase,
)
from galenic.assistant.triage.words.wording import sentences

PHRASES = ("a .. b", "a .. b? c", "a b? .. c", "a .. .. d", "a b? c?", "a|b_c .. d|no")
WORDS = ("a", "b", "c", "d", "x", "y", "no", "not")


def test_one_clause_again_and_again_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = module._keys

    def noting(text: str, *, alone: bool = True) -> dict[str, str]:
        read.append(text)
        return plain(text, alone=alone)

    monkeypatch.setattr(module, "_keys", noting)
    assert named_things("a\n" * 500) == {}
    assert len(read) == 1  # nothing is named in the whole, so no clause is read
    found = named_things("I take warfarin\n" + "a\n" * 500)
    assert found["medicine:warfarin"].owners == {"asker"}
    assert len(read) < 8


def ends(phrase: Phrase, at: int, words: list[str], place: int) -> list[int]:
    """Where a phrase may end, in the order of preference: one way after the other."""
    if at == len(phrase):
        return [place]
    step, found = phrase[at], []
    if step.gap:
        for skipped in range(GAP + 1):
            if any(word in GAP_STOPS for word in words[place : place + skipped]):
                break
            if place + skipped <= len(words):
                found += ends(phrase, at + 1, words, place + skipped)
        return found
    if place < len(words) and step.fits(words[place]):
        found += ends(phrase, at + 1, words, place + 1)
    return found + (ends(phrase, at + 1, words, place) if step.optional else [])


@pytest.mark.parametrize("text", PHRASES)
def test_phrases_are_found_as_by_trying_every_way(text: str) -> None:
    phrases, matcher, draw = parse_phrase(text, {}), Matcher(), random.Random(7)
    matcher.add("it", phrases)
    for _ in range(300):
        words = draw.choices(WORDS, k=draw.randint(1, 14))
        firsts: dict[int, int] = {}
        for start, word in enumerate(words):
            for phrase in phrases:
                if phrase[0].fits(word) and (found := ends(phrase, 1, words, start + 1)):
                    firsts[start] = max(firsts.get(start, 0), found[0])
        assert {one.start: one.end for one in matcher.find(words)} == firsts, words


def test_clauses_are_those_of_walking_word_by_word() -> None:
    draw = random.Random(3)
    words = ["pain", "i", "have", "and", "my", "but", "fever", "so", "he", "cant"]
    for _ in range(200):
        text = "".join(draw.choice(words) + draw.choice((" ", " ", ", ")) for _ in range(60))
        [sentence] = sentences(text)
        start = draw.randrange(len(sentence.tokens) - 2)
        mention = Mention("it", start, start + draw.randint(1, 2))
        scope = Scope(sentence, [], [mention], about_risk=False, recurs=False)
        low, high = mention.start, mention.end
        while low > max(0, mention.start - CLAUSE) and not scope._breaks(low):
            low -= 1
        while high < min(len(sentence.tokens), mention.end + CLAUSE) and not scope._breaks(high):
            high += 1
        assert scope._clause(mention) == (low, high)


def test_words_seen_before_have_the_same_letters() -> None:
    known: dict[str, list[int]] = {}
    for text in ("My chest hurts.", "my chest, my arm", "it hurts my chest"):
        assert counts(tokens(text), known) == counts(tokens(text))
    assert set(known) == {"my", "chest", "hurts", ".", ",", "arm", "it"} & set(known)
    assert "chest" in known


@pytest.mark.parametrize("known", [_SELVES, _ACTS])
def test_misspelt_words_are_those_that_are_near(known: tuple[str, ...]) -> None:
    draw = random.Random(1)
    for _ in range(400):
        word = list(draw.choice(known))
        for _ in range(draw.randint(0, 2)):
            word.insert(draw.randrange(len(word) + 1), draw.choice("abht"))
            word.pop(draw.randrange(len(word)))
        given = "".join(word)
        assert _meant(given, known) == next((one for one in known if _is_near(given, one)), None)
    assert _meant("", known) is None
