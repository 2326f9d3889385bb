"""Vocabulary pruning: remove unused tokens, with their rows in embedding and head.

Ushio et al., Efficient Multilingual Language Model Compression through Vocabulary Trimming (2023),
https://arxiv.org/abs/2305.15020. See `galenic.models.tokenizers.bpe` for which tokens can be
removed without changing the use of the others. Blocks are not changed, so the method has no
``--sparsity`` option.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from galenic.compression.prune.base import Pruner
from galenic.errors import UserError
from galenic.models.configuration import refusals
from galenic.models.layers import Layout
from galenic.models.tokenizers.bpe import Bpe, read_bpe, read_tokenizer_file
from galenic.models.tokenizers.growth import check_growth

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["Vocab", "choose_tokens"]

USED_SHARE = 1 / 3
"""Estimated fraction of the tokens beyond ``keep_first`` that are used; counting them would take
half a minute. SmolLM2 keeps 24,597 tokens for MedQuAD, 12,252 of them regardless of the text."""


class Vocab(Pruner):
    """Remove the tokens that medical and general text does not use."""

    name = "vocab"
    title = "tokens that the text does not use"
    reference_url = "https://arxiv.org/abs/2305.15020"
    shrinks = True
    keeps_experts = True
    whole_texts = True

    min_count: int = Field(
        2, ge=1, description="Keep tokens that occur at least this often in the calibration text."
    )
    keep_first: int = Field(
        12000,
        ge=0,
        description="Also keep the tokens of this many first merges: they are the most frequent "
        "ones of the tokenizer's training text, so general language is preserved.",
    )
    vocab_size: int | None = Field(
        None,
        ge=1,
        description="Keep this many tokens instead of applying the two rules above: the most "
        "frequent in the calibration text, then the first merges.",
    )

    @property
    def calibrated(self) -> bool:
        return True

    def check(self, layout: Layout) -> None:
        size = int(layout.model.config.vocab_size)
        if self.vocab_size is not None and self.vocab_size >= size:
            raise UserError(
                f"--vocab-size {self.vocab_size}: the model has {size} tokens; give fewer."
            )

    def resulting_configs(self, layout: Layout) -> list[Any]:
        before = int(layout.model.config.vocab_size)
        sure = min(before, self.keep_first)
        expected = sure + round(USED_SHARE * (before - sure))
        kept = expected if self.vocab_size is None else self.vocab_size
        if kept >= before:
            raise UserError(
                f"the model has {before:,} tokens, and vocab keeps the first {self.keep_first:,} "
                "merges: none would be removed. Lower --keep-first or set --vocab-size."
            )
        config = deepcopy(layout.model.config)
        config.vocab_size = kept
        if (config.pad_token_id or 0) >= kept:
            config.pad_token_id = None  # special tokens get new ids; shapes stay
        return [config]

    def apply(
        self, stream: Stream, tokens: Any | None, folder: Path, advance: Callable[[int], None]
    ) -> dict[str, float]:
        from galenic.models.save import LICENCE_FILES, FolderWriter
        from galenic.models.tokenizers.cut_vocabulary import (
            COPIED_FILES,
            renumber_config,
            write_cut_tokenizer,
        )

        source, model = stream.checkpoint.folder, stream.layout.model
        facts = read_tokenizer_file(source / "tokenizer.json")
        bpe = _within(read_bpe(source / "tokenizer.json", facts), model.config, source)
        texts = [document for text in tokens or () for document in text.documents]
        counts = count_tokens(source / "tokenizer.json", texts)
        kept = choose_tokens(self, bpe, counts)
        with refusals(lambda why: UserError(f"the tokenizer of {source} is damaged: {why}.")):
            new_ids = write_cut_tokenizer(source, folder, facts, bpe, kept)
        settings = deepcopy(model.config.to_dict())
        renumber_config(settings, new_ids)
        config = type(model.config).from_dict(settings | {"vocab_size": len(new_ids)})
        kept_files = (*COPIED_FILES, *LICENCE_FILES)
        writer = FolderWriter(folder, config, source, stream.checkpoint.dtype, kept=kept_files)
        with writer:
            _write_outer(writer, stream.layout, list(new_ids))
            for index in range(len(stream.layout.blocks)):
                with stream.block(index) as block:
                    writer.write_block(block)
                advance(index + 1)
        after = sum(count_tokens(folder / "tokenizer.json", texts).values())
        return writer.checks | {
            "tokens_before": float(model.config.vocab_size),
            "tokens_after": float(len(new_ids)),
            "calibration_text_growth": after / sum(counts.values()) - 1,
        }


def count_tokens(tokenizer: Path, texts: Sequence[str]) -> Counter[int]:
    """Count the occurrences of each token id in the texts.

    Raises:
        UserError: the texts contain no tokens, or the tokenizer makes them far longer.
    """
    from tokenizers import Tokenizer

    core = Tokenizer.from_file(str(tokenizer))
    core.no_truncation()  # a tokenizer.json may hold the settings of its last training
    core.no_padding()
    check_growth(core, str(tokenizer.parent))
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), 1000):
        for encoded in core.encode_batch(texts[start : start + 1000], add_special_tokens=False):
            counts.update(encoded.ids)
    if not counts:
        raise UserError("the calibration text is empty, so it does not show which tokens are used.")
    return counts


def choose_tokens(method: Vocab, bpe: Bpe, counts: Counter[int]) -> frozenset[str]:
    """Choose the tokens to keep, including all that their merges need.

    Raises:
        UserError: ``vocab_size`` is too small for the required tokens, or none would be removed.
    """
    used = [
        token
        for token in sorted(
            bpe.vocab, key=lambda token: (-counts[bpe.vocab[token]], bpe.vocab[token])
        )
        if counts[bpe.vocab[token]]
    ]
    if method.vocab_size is None:
        often = [token for token in used if counts[bpe.vocab[token]] >= method.min_count]
        kept = bpe.close([*often, *bpe.by_rank[: method.keep_first]])
    else:
        kept = _fill(bpe, [*used, *bpe.by_rank], method.vocab_size)
    if len(kept) == len(bpe.vocab):
        raise UserError(
            f"all {len(kept)} tokens are used or among the first merges: none to remove. Raise "
            "--min-count, lower --keep-first, or give --vocab-size."
        )
    return kept


def _fill(bpe: Bpe, wanted: Sequence[str], size: int) -> frozenset[str]:
    kept = set(bpe.close([]))
    if len(kept) > size:
        raise UserError(
            f"--vocab-size {size}: bytes and special tokens alone are {len(kept)}, which must stay."
        )
    for token in wanted:
        new = bpe.ancestors(token) - kept
        if len(kept) + len(new) <= size:
            kept |= new
        if len(kept) == size:
            break
    return frozenset(kept)


def _within(bpe: Bpe, config: Any, source: Path) -> Bpe:
    """Add the tokens that are named in the model's configs to those that are always kept.

    Raises:
        UserError: a token has no row in the embedding.
    """
    from dataclasses import replace

    from galenic.models.tokenizers.cut_vocabulary import named_ids

    if beyond := [token for token, number in bpe.vocab.items() if number >= config.vocab_size]:
        raise UserError(
            f"the tokenizer has {len(beyond)} tokens without a row in the embedding, among them "
            f"{beyond[0]!r}: tokenizer and model do not fit."
        )
    file = source / "generation_config.json"
    generation = json.loads(file.read_bytes()) if file.is_file() else {}
    both = (named_ids(config.to_dict()), named_ids(generation))
    named = {number for one in both for ids in one.values() for number in ids}
    tokens = {token for token, number in bpe.vocab.items() if number in named}
    return replace(bpe, always=bpe.always | tokens)


def _write_outer(writer: Any, layout: Layout, ids: list[int]) -> None:
    """Write the kept rows of embedding and head, and the unchanged final norm."""
    from galenic.models.stream import outer_names

    model = layout.model
    ends = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    state = model.state_dict(keep_vars=True)
    for name in outer_names(layout):
        tensor = state[name].detach()
        writer.write(name, tensor[ids] if any(state[name] is end for end in ends) else tensor)
