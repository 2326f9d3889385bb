"""YAML from outside: what is refused, and that the refusal is short."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.limits import YAML_BYTES, YAML_DEPTH, YAML_NODES
from galenic.strict_yaml import parse_yaml, read_yaml

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (LAUGHS, "aliases"),
        ("[" * (YAML_DEPTH + 1) + "]" * (YAML_DEPTH + 1), "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("\n".join(f"k{n}: 1" for n in range(YAML_NODES)), "keys and values"),
        ("a: 1\nb: 2\na: 3", "appears twice"),
        ("1: a\ntrue: b", "appears twice"),
        ("a: 1\n<<: {b: 2}", "merge"),
        ("a: !!int ''", "cannot be read"),
        ("a: !!float ''", "cannot be read"),
        ("a: !!bool x", "cannot be read"),
        ("a: [" + "x" * 10_000, "YAML"),
    ],
)
def test_bombs_and_mistakes_are_refused_at_once(text: str, word: str) -> None:
    start = time.process_time()
    with pytest.raises(UserError, match=word) as raised:
        parse_yaml(text, "file.yaml")
    assert time.process_time() - start < 10
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("#" * (YAML_BYTES + 1), encoding="utf-8")
    with pytest.raises(UserError, match="bytes"):
        read_yaml(path)


def test_many_keys_are_read_quickly() -> None:
    text = "\n".join(f"k{n}: 1" for n in range(YAML_NODES // 2 - 1))
    start = time.process_time()
    assert len(parse_yaml(text, "file.yaml")) == YAML_NODES // 2 - 1
    assert time.process_time() - start < 20
