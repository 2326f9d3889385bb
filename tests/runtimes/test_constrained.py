"""Texts that follow a JSON schema, and the bytes of tokens, against the tokenizers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from galenic.errors import UserError
from galenic.models.load import resolve_model
from galenic.runtimes.base import Writing
from galenic.runtimes.constrained import JsonForm
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.pieces import piece_bytes
from tiny import write_tiny_gguf

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tier": {"enum": ["emergency", "today"]},
        "days": {"type": "integer", "minimum": 0, "maximum": 9},
        "why": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["tier", "days", "why"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> LlamaRuntime:
    path = write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")
    return LlamaRuntime(resolve_model(str(path)), threads=1)


def write(runtime: LlamaRuntime, schema: dict[str, Any], **options: Any) -> str:
    choices = JsonForm(runtime).text(schema)
    stream = runtime.stream("The heart", Writing(choices=choices, **options))
    while True:
        try:
            next(stream)
        except StopIteration as done:
            assert done.value.finished
            return str(done.value.text)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_written_follows_the_schema(runtime: LlamaRuntime, seed: int) -> None:
    temperature = 0.0 if seed == 0 else 1.5
    found = json.loads(write(runtime, SCHEMA, max_tokens=400, temperature=temperature, seed=seed))
    assert found["tier"] in ("emergency", "today")
    assert found["days"] in range(10)
    assert len(found["why"]) <= 2
    assert all(isinstance(one, str) and len(one) <= 3 for one in found["why"])
    assert set(found) == set(SCHEMA["properties"])


def test_only_what_can_follow_keeps_its_logit(runtime: LlamaRuntime) -> None:
    text = JsonForm(runtime).text({"enum": ["a"]})
    logits = np.arange(len(runtime.vocabulary()), dtype=np.float32)
    narrowed = text.narrow(logits)
    kept = np.flatnonzero(np.isfinite(narrowed))
    assert {runtime.decode([int(token)]) for token in kept} == {'"'}
    assert (narrowed[kept] == logits[kept]).all()


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"type": 5}, {"$ref": "#/nowhere"}])
def test_what_is_no_schema_is_refused(runtime: LlamaRuntime, schema: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="JSON schema"):
        JsonForm(runtime).text(schema)


LOOP = {"$ref": "#/$defs/a"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "pattern": "("}, "a pattern in it cannot be read: unclosed group$"),
        ({"type": "string", "pattern": r"(a)\1"}, "cannot be read: backreferences are not"),
        ({"patternProperties": {"*": {}}}, "cannot be read: repetition operator"),
        ({"$defs": {"a": LOOP}, **LOOP}, "no text matches it"),
        ({"enum": []}, "Unsatisfiable schema"),
    ],
)
def test_why_a_schema_is_refused(runtime: LlamaRuntime, schema: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        JsonForm(runtime).text(schema)


def test_a_schema_of_endless_texts_is_refused_as_it_is_written(runtime: LlamaRuntime) -> None:
    deeper = {"type": "object", "properties": {"x": LOOP}, "required": ["x"]}
    with pytest.raises(UserError, match="cannot be followed: it is too complicated"):
        write(runtime, {"$defs": {"a": deeper}, **LOOP})


def test_bytes_of_byte_level_pieces_are_those_of_the_library() -> None:
    step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "Fièvre 39 °C\n\t<ok> 😀"
    [(spelled, _)] = step.pre_tokenize_str(text)
    assert piece_bytes(["Ġ", "Ċ", spelled, None])[2:] == [text.encode(), b""]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(piece_bytes(["Ġ", "Ċ", *alphabet])[2:]) == [bytes([b]) for b in range(256)]


def test_bytes_of_other_pieces() -> None:
    assert piece_bytes(["▁the", "<0x0A>", "é", None]) == [b" the", b"\n", "é".encode(), b""]


@pytest.mark.slow
def test_the_embedded_models_tokens_are_spelled_right(embedded: str) -> None:
    with LlamaRuntime(resolve_model(embedded), threads=1) as real:
        found = piece_bytes(real.vocabulary())
        for text in ("A 45-year-old man with fièvre", '{"tier": "today"}', "\n\n  x\t😀"):
            tokens = real.encode_batch([text])[0]
            assert b"".join(found[token] for token in tokens) == text.encode()
        text = write(real, SCHEMA, max_tokens=80)
        assert set(json.loads(text)) == set(SCHEMA["properties"])


def test_a_model_without_an_end_has_no_json(tmp_path: Path) -> None:
    from echo import EchoRuntime

    class Endless(EchoRuntime):
        @property
        def end_tokens(self) -> tuple[int, ...]:
            return ()

    with pytest.raises(UserError, match="no end-of-text token"):
        JsonForm(Endless())
