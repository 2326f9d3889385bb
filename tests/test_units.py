"""Sizes as people write them."""

from __future__ import annotations

import pytest

from galenic.errors import UserError
from galenic.units import (
    about_time,
    format_size,
    format_threads,
    format_time,
    parse_size,
    split_commas,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8_000_000_000),
        ("8 gb", 8_000_000_000),
        ("8G", 8_000_000_000),
        ("512MB", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1KiB", 1024),
        ("1kB", 1000),
        (".5 MB", 500_000),
        ("4096", 4096),
        ("4096B", 4096),
        ("1", 1),
        ("3 tb", 3_000_000_000_000),
        ("7.b", 7),
        ("2TiB", 2_199_023_255_552),
    ],
)
def test_sizes_are_understood(text: str, size: int) -> None:
    assert parse_size(text, "--ram") == size


@pytest.mark.parametrize("text", ["", "GB", "8XB", "-1GB", "1e9", "8GB!", "nan", "0", "0.0001B"])
def test_what_is_no_size_is_refused_with_the_flag(text: str) -> None:
    with pytest.raises(UserError, match="--target-size"):
        parse_size(text, "--target-size")


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (512, "512 B"),
        (91_730_000, "91.7 MB"),
        (999_999, "1.00 MB"),
        (8_000_000_000, "8.00 GB"),
        (123_456_789, "123 MB"),
        (2_500_000_000_000, "2.50 TB"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_949, "99.9 kB"),
        (99_951, "100 kB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1.00 GB"),
        (999_600_000_000, "1.00 TB"),
    ],
)
def test_sizes_are_shown_with_three_digits(num_bytes: int, text: str) -> None:
    assert format_size(num_bytes) == text


def test_commas_part_texts_and_leave_all_else() -> None:
    assert split_commas(" a, b,,c ,") == ("a", "b", "c")
    assert split_commas("") == ()
    assert split_commas(("a,b",)) == ("a,b",)
    assert split_commas(3) == 3


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(9_995_000, "10.0 MB"), (99_950_000, "100 MB"), (999_500, "1.00 MB")]
)
def test_sizes_at_the_border_of_a_digit(num_bytes: int, text: str) -> None:
    assert format_size(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (15.4, "15 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (245, "4 min 5 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (605, "10 min"),  # seconds no longer matter
        (2400, "40 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "25 h"),
    ],
)
def test_durations_are_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (40, "40 seconds"),
        (44, "40 seconds"),
        (46, "50 seconds"),
        (89, "90 seconds"),
        (90, "2 minutes"),
        (720, "12 minutes"),
        (5399, "90 minutes"),
        (5400, "1.5 hours"),
        (9000, "2.5 hours"),
    ],
)
def test_estimates_are_rounded(seconds: float, text: str) -> None:
    assert about_time(seconds) == text


def test_one_thread_is_no_plural() -> None:
    assert (format_threads(1), format_threads(2)) == ("1 thread", "2 threads")
