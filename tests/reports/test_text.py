"""How numbers are written."""

from __future__ import annotations

import pytest

from galenic.reports import text


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.3124, ".312"), (1.0, "1.000"), (0.0, ".000"), (1.25, "1.250"), (None, "–")],
)
def test_proportion(value: float | None, written: str) -> None:
    assert text.proportion(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0314, "+.031"), (-0.0314, "−.031"), (0.0001, ".000"), (-0.0001, ".000"), (None, "–")],
)
def test_signed_never_shows_a_signed_zero(value: float | None, written: str) -> None:
    assert text.signed(value) == written


def test_spans_counts_methods_and_p_values() -> None:
    assert text.span(0.25, 0.4) == ".250–.400"
    assert text.count(134515008) == "134,515,008"
    assert text.method("letter", "none") == "letter"
    assert text.method("letter", "prior") == "letter + prior"
    assert text.p_value(0.03125) == ".0312"
    assert text.p_value(0.00003) == "<.0001"


def test_shorten_cuts_at_words_and_keeps_one_line() -> None:
    assert text.shorten("a\n b  c", 10) == "a b c"
    assert text.shorten("alpha beta gamma delta", 14) == "alpha beta…"
    assert text.shorten("x" * 50, 10) == "x" * 9 + "…"


def test_spark_shows_every_label() -> None:
    assert text.spark({"A": 80, "B": 0, "C": 1, "D": 40}) == "A█ B· C▁ D▄"
    assert text.spark({"A": 0}) == "A·"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("org/model", "org/model"),
        ("models/x-Q4.gguf", "x-Q4.gguf"),
        ("/data/models/dense/", "dense"),
        ("./dense", "dense"),
        ("C:\\models\\x", "x"),
    ],
)
def test_a_path_is_named_by_its_last_part(model: str, name: str) -> None:
    assert text.model_name(model) == name


def test_how_a_file_is_stored() -> None:
    assert text.stored({"bits_per_weight": 32.0}) == "float32"
    assert text.stored({"bits_per_weight": 16.0}) == "16 bits"
    assert text.stored({"bits_per_weight": 4.501}) == "4.5 bits"
    assert text.stored({"bits_per_weight": None}) == text.stored({}) == ""
