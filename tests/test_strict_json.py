"""JSON and patterns of others: refused in one line, quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from galenic import strict_json
from galenic.errors import UserError
from galenic.retrieval.documents.base import joined
from galenic.strict_json import parse_json, parse_object, read_object
from galenic.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "not readable as JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b"\xff", "not readable as JSON"),
        (b"9" * 10_000, "not readable as JSON"),
    ],
)
def test_what_is_no_json(text: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_json(text, "x.json")


def test_what_is_json() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": ["\\ud83d\\ude00", NaN]}', "x")["a"][0] == "\U0001f600"
    with pytest.raises(UserError, match="x is damaged: a JSON object was expected"):
        parse_object(b"[]", "x")


def test_a_large_file_is_refused_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert read_object(path) == {}
    monkeypatch.setattr(strict_json, "JSON_BYTES", 1)
    with pytest.raises(UserError, match="has 2 bytes; 1 are allowed"):
        read_object(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_object(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["a: 1" + "0" * 9999, "a: !!timestamp x", "2020-99-99: 1"])
def test_yaml_values_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=r"x\.yaml"):
        parse_yaml(text, "x.yaml")


@pytest.mark.parametrize("row", ["Iron helps", "a-"])
def test_many_short_lines_are_joined_in_little_time(row: str) -> None:
    begun = time.process_time()
    assert len(joined([row] * 100_000)) >= 100_000
    assert time.process_time() - begun < 10
