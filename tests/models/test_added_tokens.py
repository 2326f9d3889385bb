"""Added tokens keep the ids and the spelling of their file, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from galenic.errors import UserError
from galenic.models.gguf.vocab import read_vocabulary
from galenic.models.tokenizers.added import check_added_ids
from galenic.models.tokenizers.load import read_tokenizer
from tiny_hf import write_tiny_tokenizer
from tiny_pieces import write_tiny_pieces


def edited(folder: Path, gone: str = "", **more: Any) -> Path:
    """Take a token out of the vocabulary; add one with these settings behind all others."""
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text())
    facts["model"]["vocab"].pop(gone, None)
    if more:
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        top = max(token["id"] for token in facts["added_tokens"])
        last = max(top, *facts["model"]["vocab"].values())
        facts["added_tokens"].append({"id": last + 1, "content": "<x>", **flags, **more})
    path.write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize(
    ("gone", "more", "right"),
    [
        ("", {}, True),
        ("", {"special": True}, True),
        ("\u0100", {}, False),
        ("", {"id": 900}, False),
    ],
    ids=["as written", "one more", "a hole in the vocabulary", "another id"],
)
def test_ids_are_those_that_the_library_gives(
    tmp_path: Path, gone: str, more: dict[str, Any], right: bool
) -> None:
    from tokenizers import Tokenizer

    write_tiny_tokenizer(tmp_path)
    path = edited(tmp_path, gone, **more)
    core, facts = Tokenizer.from_file(str(path)), json.loads(path.read_text())
    kept = all(core.token_to_id(one["content"]) == one["id"] for one in facts["added_tokens"])
    assert kept == right
    if right:
        check_added_ids(path, facts)
        read_tokenizer(tmp_path)
        return
    for read in (read_tokenizer, lambda folder: read_vocabulary(folder, 1000)):
        with pytest.raises(UserError, match=r"the added token '.*' the id \d+, and transformers"):
            read(tmp_path)


def test_ids_of_a_list_of_pieces() -> None:
    """The vocabulary of a unigram model."""
    facts = {"model": {"vocab": [["<unk>", 0.0], ["a", -1.0]]}}
    check_added_ids(Path("t"), facts | {"added_tokens": [{"content": "a", "id": 1}]})
    check_added_ids(Path("t"), facts | {"added_tokens": [{"content": "<x>", "id": 2}]})
    with pytest.raises(UserError, match="the id 1, and transformers would give it 0"):
        check_added_ids(Path("t"), facts | {"added_tokens": [{"content": "<unk>", "id": 1}]})


@pytest.mark.parametrize(("kind", "refused"), [("llama2", True), ("gemma3", False)])
def test_tokens_that_are_spelled_anew_before_they_are_looked_for(
    tmp_path: Path, kind: str, refused: bool
) -> None:
    tokenizer = write_tiny_pieces(tmp_path, kind)
    size = len(tokenizer) + 1
    edited(tmp_path, content="<x>", normalized=True)
    found = read_tokenizer(tmp_path).tokenize("a<x>")
    assert ("<x>" not in found) == refused
    if refused:
        with pytest.raises(UserError, match="the added token '<x>' is normalized"):
            read_vocabulary(tmp_path, size)
    else:
        assert "<x>" in read_vocabulary(tmp_path, size).tokens


def test_merges_that_are_missing_or_make_no_token(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    facts = json.loads(path.read_text())
    merges = facts["model"].pop("merges")
    for model, why in (({}, "Missing vocab/merges"), ({"merges": [*merges, ["Q", "Z"]]}, "`QZ`")):
        path.write_text(json.dumps(facts | {"model": facts["model"] | model}))
        for read in (read_tokenizer, lambda folder: read_vocabulary(folder, 1000)):
            with pytest.raises(UserError, match=why):
                read(tmp_path)


def test_special_tokens_that_are_not_to_be_found(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split_special_tokens": True}))
    with pytest.raises(UserError, match="says split_special_tokens"):
        read_vocabulary(tmp_path, 1000)
