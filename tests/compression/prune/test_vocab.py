"""Models that lose tokens: smaller ends, the same logits for the tokens that stay."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from galenic.compression.prune.config import PruneConfig
from galenic.errors import UserError
from galenic.models.load import resolve_model
from tiny_hf import FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

from galenic.compression.prune.run import prune  # noqa: E402
from galenic.compression.prune.vocab import Vocab, choose_tokens, count_tokens  # noqa: E402
from galenic.models.tokenizers.bpe import read_bpe, read_tokenizer_file  # noqa: E402

TEXT = "Question: the patient of the doctor said yes, and then no."
STRANGE = "Ünïcode \U0001f9ec  maybe\n\tyes <|im_end|> Question"


class Silent:
    """Looks away."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...


def cut(
    tmp_path: Path, family: str, pieces: str | None = None, **options: Any
) -> tuple[Path, Path]:
    model = tmp_path / family
    write_tiny_hf(model, family, **({"pieces": pieces} if pieces else {}))
    notes = tmp_path / "notes.txt"
    notes.write_text("\n\n".join([TEXT] * 3), encoding="utf-8")
    config = PruneConfig(model=str(model), method="vocab", text=str(notes))
    output = tmp_path / f"{family}-cut"
    options = options or {"min_count": 1, "keep_first": 0}
    manifest = prune(config, Vocab(**options), output, Silent())
    checks = manifest.stages[-1].checks
    assert checks["calibration_text_growth"] == 0
    assert checks["tokens_after"] < checks["tokens_before"]
    return model, output


def both(model: Path, output: Path) -> tuple[Any, Any, Any, Any]:
    load = transformers.AutoModelForCausalLM.from_pretrained
    read = transformers.AutoTokenizer.from_pretrained
    return load(model).eval(), load(output).eval(), read(model), read(output)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_logits(tmp_path: Path, family: str) -> None:
    model, output = cut(tmp_path, family)
    dense, small, whole, kept = both(model, output)
    old = whole(TEXT)["input_ids"]
    new = kept(TEXT)["input_ids"]
    assert whole.convert_ids_to_tokens(old) == kept.convert_ids_to_tokens(new)
    place = [whole.convert_tokens_to_ids(t) for t in kept.convert_ids_to_tokens(range(len(kept)))]
    assert place == sorted(place)  # in their old order
    with torch.no_grad():
        expected = dense(torch.tensor([old])).logits[..., place]
        found = small(torch.tensor([new])).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert small.config.vocab_size == len(kept) == found.shape[-1]
    assert small.num_parameters() < dense.num_parameters()


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_keep_their_meaning(tmp_path: Path, family: str) -> None:
    model, output = cut(tmp_path, family)
    before, after, whole, kept = both(model, output)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        old, new = getattr(before.config, name), getattr(after.config, name)
        assert whole.convert_ids_to_tokens(old) == kept.convert_ids_to_tokens(new)
        old, new = getattr(before.generation_config, name), getattr(after.generation_config, name)
        assert whole.convert_ids_to_tokens(old) == kept.convert_ids_to_tokens(new)
    assert whole.all_special_tokens == kept.all_special_tokens
    assert kept.chat_template == whole.chat_template
    ids = kept(STRANGE, add_special_tokens=False)["input_ids"]
    assert kept.decode(ids) == STRANGE
    assert kept.convert_tokens_to_ids("<|im_end|>") in ids


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_llama_cpp_cuts_text_alike(tmp_path: Path, family: str) -> None:
    from galenic.models.gguf.folder import folder_to_gguf
    from galenic.runtimes.llama import LlamaRuntime

    model, output = cut(tmp_path, family)
    _, _, _, kept = both(model, output)
    gguf = tmp_path / "cut.gguf"
    folder_to_gguf(output, gguf, "F32")
    with LlamaRuntime(resolve_model(str(gguf)), threads=1) as runtime:
        for text in (TEXT, STRANGE, "maybe maybe", "  the\n\nof"):
            assert runtime.encode_batch([text])[0] == kept(text)["input_ids"]


def test_sizes_and_rules(tmp_path: Path) -> None:
    write_tiny_hf(tmp_path / "m", "llama")
    path = tmp_path / "m" / "tokenizer.json"
    bpe = read_bpe(path, read_tokenizer_file(path))
    counts = count_tokens(path, [TEXT, TEXT])
    smallest = len(bpe.close([]))
    for size in (smallest, smallest + 3, smallest + 9):
        kept = choose_tokens(Vocab(vocab_size=size), bpe, counts)
        assert len(kept) <= size
        assert bpe.close(kept) == kept
    assert len(choose_tokens(Vocab(vocab_size=smallest + 3), bpe, counts)) == smallest + 3
    often = choose_tokens(Vocab(min_count=4, keep_first=0), bpe, counts)
    assert "Ġthe" in often  # four times
    assert "Ġpatient" not in often  # twice
    with pytest.raises(UserError, match="bytes and special tokens alone"):
        choose_tokens(Vocab(vocab_size=5), bpe, counts)
    with pytest.raises(UserError, match="none to remove"):
        choose_tokens(Vocab(min_count=1, keep_first=10**6), bpe, Counter({0: 1}))


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--vocab-size 99999"):
        cut(tmp_path, "llama", vocab_size=99999)
    path = tmp_path / "llama" / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    path.write_text(json.dumps(facts))
    config = PruneConfig(model=str(path.parent), method="vocab", text=str(tmp_path / "notes.txt"))
    with pytest.raises(UserError, match="kind WordLevel"):
        prune(config, Vocab(), tmp_path / "out", Silent())
    assert {entry.name for entry in tmp_path.iterdir()} == {"llama", "notes.txt"}


def test_lists_of_tokens_are_renumbered() -> None:
    """By hand: tokens 3 and 5 are gone; words with them cannot be written any more."""
    from galenic.models.tokenizers.cut_vocabulary import named_ids, renumber_config

    new_ids = {0: 0, 1: 1, 2: 2, 4: 3, 6: 4, 7: 5}
    config: dict[str, Any] = {
        "eos_token_id": [4, 7],
        "forced_bos_token_id": 6,
        "suppress_tokens": [1, 3, 4],
        "begin_suppress_tokens": [3, 5],
        "bad_words_ids": [[4, 6], [3, 4], [7]],
        "force_words_ids": [[[1, 2], [4]], [[6, 7]]],
        "forced_decoder_ids": [[1, 4], [2, 7]],
        "sequence_bias": [[[4, 6], -2.0], [[3], 1.5]],
    }
    forced = {number for ids in named_ids(config).values() for number in ids}
    assert forced == {1, 2, 4, 6, 7}  # these stay in any case
    renumber_config(config, new_ids)
    assert config == {
        "eos_token_id": [3, 5],
        "forced_bos_token_id": 4,
        "suppress_tokens": [1, 3],
        "begin_suppress_tokens": None,
        "bad_words_ids": [[3, 4], [5]],
        "force_words_ids": [[[1, 2], [3]], [[4, 5]]],
        "forced_decoder_ids": [[1, 3], [2, 5]],
        "sequence_bias": [[[3, 4], -2.0]],
    }


def test_settings_of_an_earlier_training_cut_no_text(tmp_path: Path) -> None:
    """A tokenizer.json may hold the length that its model was last trained with."""
    from tiny_hf import write_tiny_tokenizer

    write_tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    whole = count_tokens(path, [TEXT])
    facts = json.loads(path.read_text())
    facts["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    facts["padding"] = {
        "strategy": {"Fixed": 999},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    path.write_text(json.dumps(facts))
    assert count_tokens(path, [TEXT]) == whole
