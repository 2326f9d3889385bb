"""A tokenizer that makes texts many times longer is refused before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from galenic.compression.prune.vocab import count_tokens
from galenic.errors import UserError
from galenic.limits import ADDED_TOKENS, TOKENIZER_GROWTH
from galenic.models.tokenizers.load import read_tokenizer
from tiny_hf import write_tiny_tokenizer

pytest.importorskip("transformers", reason="needs the train extra")


def replace(pattern: Mapping[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def in_turn(name: str, *steps: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", name: list(steps)}


def template(*pieces: str, ids: int = 1) -> dict[str, Any]:
    items = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if piece == "$A"
        else {"SpecialToken": {"id": piece, "type_id": 0}}
        for piece in pieces
    ]
    special = {"id": "<s>", "ids": [1] * ids, "tokens": ["<s>"] * ids}
    return {
        "type": "TemplateProcessing",
        "single": items,
        "pair": items,
        "special_tokens": {"<s>": special},
    }


def write(folder: Path, **changes: Any) -> Path:
    write_tiny_tokenizer(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")
    return folder


BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}
DOUBLED = in_turn("normalizers", *[replace({"String": "e"}, "ee")] * 20)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"normalizer": replace({"String": "e"}, "x" * 200)}, "a text 400 times longer; 100 times"),
        ({"normalizer": replace({"String": ""}, "x" * 60)}, "122 times longer"),
        ({"normalizer": replace({"Regex": "e*"}, "x" * 60)}, "122 times longer"),
        ({"normalizer": replace({"Regex": "\\p{L}"}, "x" * 60)}, "122 times longer"),
        ({"normalizer": replace({"Regex": "e"}, "x" * 60)}, "120 times longer"),
        ({"normalizer": DOUBLED}, "2,097,152 times"),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 99}}, "200 times"),
        ({"pre_tokenizer": in_turn("pretokenizers", *[BYTE_LEVEL] * 9)}, "512 times"),
        ({"post_processor": template(*["$A"] * 200)}, "repeats each text 200 times"),
        (
            {"post_processor": in_turn("processors", *[template("$A", "$A")] * 20)},
            "1,048,576 times",
        ),
        ({"post_processor": template("<s>", "$A", ids=1000)}, "adds 1,000 tokens to each text"),
    ],
)
def test_what_multiplies_texts(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    folder = write(tmp_path, **changes)
    with pytest.raises(UserError, match=f"the tokenizer of .*{why}") as refused:
        read_tokenizer(folder)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=why):
        count_tokens(folder / "tokenizer.json", ["eee"])


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": in_turn("normalizers", *[replace({"String": "``"}, '"')] * 99)},
        {"normalizer": in_turn("normalizers", *[replace({"Regex": " {2,}"}, " ")] * 99)},
        {"normalizer": replace({"String": "e"}, "x" * (TOKENIZER_GROWTH // 2))},
        {
            "normalizer": in_turn(
                "normalizers",
                {"type": "Prepend", "prepend": "▁"},
                replace({"String": " "}, "▁"),
                {"type": "NFKC"},
            )
        },
        {"post_processor": template("<s>", "$A", "<s>", ids=ADDED_TOKENS // 2)},
    ],
)
def test_what_tokenizers_do_is_taken(changes: dict[str, Any], tmp_path: Path) -> None:
    assert read_tokenizer(write(tmp_path, **changes))("ee")["input_ids"]


def test_the_longest_text_of_a_table_counts(tmp_path: Path) -> None:
    """A table of SentencePiece holds the texts that characters become."""
    import base64

    from galenic.models.tokenizers.growth import _growth

    table = (4).to_bytes(4, "little") + bytes(4) + b"ab\0" + b"x" * 1800 + b"\0"
    step = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    assert _growth(step) == 100
