"""Words that are spelt out, joined or written with digits."""

from __future__ import annotations

import pytest

from galenic.retrieval.hidden import LONGEST, Words, revealed

KNOWN = Words(
    frozenset({"chest", "pain", "breathe", "kill", "myself", "die", "want", "rapist", "stroke"}),
    frozenset({"bleed", "vomit"}),
    lambda words: words in ("chest pain", "cant breathe", "kill myself", "i want to die"),
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("c h e s t p a i n", "chest pain"),
        ("help, c.h.e.s.t  p.a.i.n since noon", "help, chest pain since noon"),
        ("i  c-a-n-t  b-r-e-a-t-h-e", "i cant breathe"),
        ("bad.chest.pain", "bad chest pain"),
        ("chestpain and Can'tBreathe", "chest pain and cant breathe"),
        ("k1ll mys3lf, 1 want to d1e", "kill myself, 1 want to die"),
        ("Iwanttodie", "i want to die"),
        ("v o m i t i n g", "vomiting"),
    ],
)
def test_what_is_hidden_is_read(text: str, read: str) -> None:
    assert revealed(text, KNOWN) == read


@pytest.mark.parametrize(
    "text",
    [
        "", "I have chest pain.", "therapist", "breaststroke", "order A1 B2", "N H S",
        "a b c d e f g", "8pm, B12, 10mg, H1N1, covid19", "3.5 and 4.2", "e.g. this",
        "x" * (2 * LONGEST), "pain. Then none", "order no. 5A1X77",
    ],
)  # fmt: skip
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert revealed(text, KNOWN) is None


def test_a_long_run_takes_no_time() -> None:
    assert revealed("a " * 50_000 + "chestpain " * 2, KNOWN) is not None
    assert revealed("chestpainx" * 20_000, KNOWN) is None
