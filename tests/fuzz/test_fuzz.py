"""Inputs of strangers, made up by Hypothesis: each is taken or refused in one line, quickly.

Seeded and bounded, so that every run is the same; `make fuzz` looks further (GALENIC_FUZZ examples
of each kind). What was found to break something is an ``@example``.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from galenic.data.jsonl import read_jsonl
from galenic.errors import UserError
from galenic.models.gguf.check import check_model
from galenic.models.safe_pattern import check_pattern
from galenic.models.tensors import read_table
from galenic.record.fhir import read_record
from galenic.retrieval.documents.base import SkipError, joined
from galenic.retrieval.documents.pdf import read_pdf
from galenic.strict_json import parse_json
from galenic.strict_yaml import parse_yaml
from raw_gguf import CODES, RawGguf
from record.fhir_bundle import BUNDLE
from tiny import write_tiny_gguf

MANY = int(os.environ.get("GALENIC_FUZZ", "0"))
LINE = 700
"""Characters of a message, its paths among them."""


def fuzz(examples: int) -> Any:
    return settings(
        max_examples=MANY or examples,
        derandomize=not MANY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def refused_or_taken(call: Any, *given_values: Any) -> None:
    try:
        call(*given_values)
    except (UserError, SkipError) as error:
        assert len(str(error)) < LINE, str(error)[:2000]
        assert "\n" not in str(error)


def in_file(call: Any, data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        refused_or_taken(call, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def good_gguf() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_tiny_gguf(Path(folder) / "tiny.gguf").read_bytes()


GGUF = good_gguf()


@fuzz(60)
@given(st.lists(st.tuples(st.integers(0, 8000), st.binary(min_size=1, max_size=8)), max_size=4))
@example([(8, struct.pack("<Q", 2**63))])
def test_gguf_bytes(edits: list[tuple[int, bytes]]) -> None:
    data = bytearray(GGUF)
    for at, new in edits:
        data[at : at + len(new)] = new
    in_file(check_model, bytes(data), "x.gguf")


@fuzz(60)
@given(st.data())
def test_gguf_fields_and_tensors(draw: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        path.write_bytes(GGUF)
        raw = RawGguf.read(path)
        entry = draw.draw(st.sampled_from(raw.entries))
        kind = draw.draw(st.sampled_from(sorted(CODES)))
        size = struct.calcsize(CODES[kind])
        bits = draw.draw(st.binary(min_size=size, max_size=size))
        entry.kind, entry.value = kind, struct.unpack("<" + CODES[kind], bits)[0]
        row = draw.draw(st.sampled_from(raw.rows))
        row.dims = draw.draw(st.lists(st.integers(0, 2**64 - 1), max_size=5))
        row.offset = draw.draw(st.integers(0, 2**64 - 1))
        refused_or_taken(check_model, raw.write(path))


@fuzz(150)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.binary(max_size=40))
@example({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, bytes(8))
def test_safetensors(table: dict[str, Any], data: bytes) -> None:
    header = json.dumps(table).encode()
    in_file(read_table, struct.pack("<Q", len(header)) + header + data, "x.safetensors")


@fuzz(150)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'["\\ud800"]')
@example(b"9" * 5000)
@example(b"[" * 5000)
def test_json_and_lines(data: bytes) -> None:
    refused_or_taken(parse_json, data, "x.json")
    in_file(lambda path: list(read_jsonl(path).rows()), data, "x.jsonl")
    in_file(lambda path: list(read_jsonl(path).rows()), b"\x1f\x8b" + data, "x.jsonl.gz")


@fuzz(150)
@given(st.text(max_size=200) | st.text(alphabet="ab: -[]{}&*!?|>'\"\n0.9,%@`", max_size=60))
@example("a: 1" + "0" * 9999)
@example("a: !!timestamp x")
@example("2020-99-99: 1")
def test_yaml(text: str) -> None:
    refused_or_taken(parse_yaml, text, "x.yaml")


@fuzz(60)
@given(st.data())
def test_fhir(draw: st.DataObject) -> None:
    bundle = json.loads(json.dumps(BUNDLE))
    whole = [one for one in bundle["entry"] if isinstance(one, dict) and one.get("resource")]
    resource = draw.draw(st.sampled_from(whole))["resource"]
    resource[draw.draw(st.sampled_from(sorted(resource)))] = draw.draw(JSON)
    refused_or_taken(read_record, json.dumps(bundle).encode(), "x.json")


@fuzz(60)
@given(st.binary(max_size=300))
def test_pdf(data: bytes) -> None:
    refused_or_taken(read_pdf, b"%PDF-1.4\n" + data, "x.pdf")


@fuzz(150)
@given(st.text(alphabet="ab()*+?|[]{}1,\\^$.", max_size=14))
@example("(a+)+$")
def test_patterns_that_are_taken_end(pattern: str) -> None:
    import re
    import time
    import warnings

    try:
        check_pattern(pattern, "x")
    except UserError:
        return
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = re.compile(pattern)
    compiled.search("model.layers.31.self_attn.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
    assert time.process_time() - begun < 5


@fuzz(60)
@given(st.lists(st.text(max_size=12), max_size=9))
def test_joined_lines_lose_nothing_but_hyphens(rows: list[str]) -> None:
    kept = "".join(joined(rows)).replace(" ", "").replace("-", "")
    assert kept == "".join(rows).replace(" ", "").replace("-", "")
