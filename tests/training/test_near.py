"""Near-duplicate search against the naive way, and duplicates of every kind planted."""

from __future__ import annotations

import random
import string

import pytest

from galenic.training.near import ComparedText, ScanConfig, Scanner, jaccard, shingles, words_of

ONE = "A 54-year-old man comes to the physician because of a 3-day history of fever, chills and a "
TEST = ONE + "productive cough; which of the following drugs is the best next step in management?"
CONFIG = ScanConfig.model_validate({})


def passages(*texts: str) -> list[ComparedText]:
    return [ComparedText(f"r{i}", "question", text) for i, text in enumerate(texts)]


def scan(train: str, *tests: str, **options: float) -> list[tuple[str, str]]:
    scanner = Scanner([("set", passages(*tests))], ScanConfig.model_validate(options))
    return [(hit.kind, hit.test.row) for hit in scanner.scan(passages(train))]


def test_words_forget_case_accents_signs_and_forms() -> None:
    assert words_of("  Sjögren’s  SYNDROME (ﬁne)\n") == ("sjogren", "s", "syndrome", "fine")
    assert words_of("Sjo\u0308gren") == words_of("sjögren") == words_of("SJÖGREN")
    assert words_of("ＡＢＣ１２ snake_case µg") == ("abc12", "snake", "case", "μg")
    assert words_of("…?! —") == ()


def test_shingles_and_jaccard_by_hand() -> None:
    assert shingles(["a", "b", "c", "d"], 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert shingles(["a"], 3) == {("a",)}
    assert shingles([], 3) == frozenset()
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    assert jaccard(frozenset(), frozenset()) == 0


def test_planted_duplicates_of_every_kind() -> None:
    assert scan(TEST, TEST) == [("exact", "r0")]
    assert scan(TEST.upper().replace(",", " -- "), TEST) == [("normalised", "r0")]
    pasted = f"Answer with a letter.\n\nQuestion: {TEST}\nA. aspirin\nB. rest\n" + "and so on " * 99
    assert scan(pasted, TEST) == [("contained", "r0")]
    assert scan(TEST.replace("54", "55").replace("cough", "couch"), TEST) == [("near", "r0")]
    assert scan("Sepsis?", "sepsis") == [("normalised", "r0")]
    # A short test text inside a longer one is no sign of anything.
    assert scan("What is the cause of sepsis in the old?", "sepsis") == []


def test_unrelated_text_and_templates_are_no_hits() -> None:
    assert scan("Marfan syndrome is a disorder of connective tissue. " * 9, TEST) == []
    form = "Which of the following statements is not true about {}?"
    assert scan(form.format("apoptosis"), form.format("the larynx")) == []
    assert scan("?", "!", TEST) == []
    assert Scanner([]).scan(passages(TEST)) == []


def test_rows_agree_once_and_in_every_set() -> None:
    train = [
        ComparedText("t", "question", TEST.upper()),
        ComparedText("t", "item", TEST + " aspirin rest"),
    ]
    tests = [
        ComparedText("x", "question", TEST),
        ComparedText("x", "item", TEST + " Aspirin, rest"),
    ]
    hits = Scanner([("one", tests), ("two", tests[:1])]).scan(train)
    assert [(hit.test_set, hit.kind) for hit in hits] == [
        ("one", "normalised"),
        ("two", "normalised"),
    ]


def varied(rng: random.Random, base: list[str], share: float) -> str:
    return " ".join(word if rng.random() > share else "".join(rng.choices(string.ascii_lowercase,
                    k=5)) for word in base)  # fmt: skip


@pytest.mark.parametrize("shingle", [1, 3])
@pytest.mark.parametrize("threshold", [0.4, 0.7])
def test_near_equals_the_naive_way(threshold: float, shingle: int) -> None:
    rng = random.Random(5)
    vocabulary = ["".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(400)]
    bases = [rng.choices(vocabulary, k=rng.randint(20, 80)) for _ in range(40)]
    tests = passages(*(" ".join(base) for base in bases))
    train = passages(*(varied(rng, rng.choice(bases), rng.random() / 3) for _ in range(150)))
    config = ScanConfig.model_validate({"threshold": threshold, "shingle": shingle})
    found = {(h.train.row, h.test.row): h.similarity
             for h in Scanner([("set", tests)], config).scan(train)}  # fmt: skip

    def similarity(a: str, b: str) -> float:
        one, two = a.split(), b.split()
        x = {tuple(one[i : i + shingle]) for i in range(len(one) - shingle + 1)}
        y = {tuple(two[i : i + shingle]) for i in range(len(two) - shingle + 1)}
        return len([each for each in x if each in y]) / len(x | y)

    naive = {(a.row, b.row): similarity(a.text, b.text) for a in train for b in tests}
    naive = {pair: value for pair, value in naive.items() if value >= threshold}
    assert len(naive) > 20
    assert found == pytest.approx(naive)


def words_from(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def test_similarity_at_the_threshold_is_near() -> None:
    """Of 20 and 20 words 15 are common: 15 of 25 in all, .6 exactly."""
    one, other = words_from(0, 20), words_from(5, 20)
    assert scan(one, other, shingle=1, threshold=0.6) == [("near", "r0")]
    assert scan(one, other, shingle=1, threshold=0.601) == []


def test_lengths_from_which_texts_are_compared() -> None:
    inside = "before {} behind"
    assert scan(inside.format(words_from(0, 8)), words_from(0, 8)) == [("contained", "r0")]
    assert scan(inside.format(words_from(0, 7)), words_from(0, 7)) == []
    for length, found in ((16, [("near", "r0")]), (15, [])):
        test = words_from(0, length)
        assert scan(f"{words_from(0, length - 1)} other", test, min_words=30) == found
    # one text that is long enough is not: both have to be
    assert scan(words_from(0, 16), words_from(0, 15), min_words=30) == []
    assert scan(words_from(0, 15), words_from(0, 16), min_words=30) == []


def test_candidates_are_few() -> None:
    """Otherwise each text would be compared with all others."""
    scanner = Scanner([("set", passages(*(words_from(100 * n, 20) for n in range(20))))])
    for n in (0, 7, 40):
        words = words_from(100 * n, 20).split()
        found = scanner._lsh.query(scanner._minhash(shingles(words, 3)))
        assert found == ([tuple(words)] if n < 20 else [])


def test_a_text_at_the_end_and_one_a_word_too_long() -> None:
    assert scan(f"before {words_from(0, 8)}", words_from(0, 8)) == [("contained", "r0")]
    assert scan(words_from(0, 10), words_from(0, 11), near_words=30) == []


def test_progress_counts_passages_and_the_strictest_agreement_is_kept() -> None:
    done: list[int] = []
    test = ComparedText("x", "question", words_from(0, 20))
    longer = ComparedText("t", "item", words_from(0, 25))
    same = ComparedText("t", "question", words_from(0, 20).upper())
    scanner = Scanner([("set", [test])])
    for train in ([longer, same], [same, longer]):
        (hit,) = scanner.scan(train, done.append)
        assert (hit.kind, hit.train.part, hit.similarity) == ("normalised", "question", 1.0)
    assert done == [1, 2, 1, 2]
    near = [ComparedText("t", "a", words_from(2, 20)), ComparedText("t", "b", words_from(1, 20))]
    for train in (near, near[::-1]):
        (hit,) = scanner.scan(train)
        assert hit.train.part == "b"  # the more similar of two


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("threshold", (0.01, 1), (0, 1.01)),
        ("shingle", (1,), (0,)),
        ("num_perm", (16, 1024), (15, 1025)),
        ("min_words", (1,), (0,)),
        ("near_words", (1,), (0,)),
        ("seed", (0, 2**32 - 1), (-1, 2**32)),
    ],
)
def test_bounds_of_the_settings(
    name: str, allowed: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    for value in allowed:
        assert getattr(ScanConfig.model_validate({name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=name):
            ScanConfig.model_validate({name: value})


def test_settings_are_those_of_the_docs() -> None:
    assert CONFIG.model_dump() == {
        "threshold": 0.5, "shingle": 3, "num_perm": 128, "min_words": 8, "near_words": 16,
        "seed": 0,
    }  # fmt: skip


def test_settings_of_a_scan_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CONFIG.threshold = 0.9
    with pytest.raises(ValueError, match="Extra inputs"):
        ScanConfig.model_validate({"treshold": 0.9})
