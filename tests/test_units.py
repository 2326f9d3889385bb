"""Sizes as people write them."""

from __future__ import annotations

import pytest

from galenic.errors import UserError
from galenic.units import format_size, parse_size


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
    ],
)
def test_sizes_are_shown_with_three_digits(num_bytes: int, text: str) -> None:
    assert format_size(num_bytes) == text
