"""Prepare training texts: read sources, check them for test questions, and tokenize them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.checkpoint import Checkpoint
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.training.contamination import TestSets, read_test_sets, refuse_contaminated
from galenic.training.distributed import rank
from galenic.training.finetune.config import SourcesConfig, TextsConfig
from galenic.training.finetune.items import TokenTexts, choose_length
from galenic.training.sources import RANKED, TrainingSet, read_training
from galenic.watcher import Watcher

__all__ = [
    "REMOVED",
    "LearnableTexts",
    "TrainingSources",
    "describe_sources",
    "keep_untested",
    "prepare_texts",
    "read_sources",
]

REMOVED = "removed.jsonl"
"""File with rows that match test questions; they are removed unless ``allow_contaminated``."""
NO_CHECK = "none"


@dataclass(frozen=True)
class TrainingSources:
    """Training sets before any removal, and the test sets to check them for."""

    train: tuple[TrainingSet, ...]
    tests: TestSets


@dataclass(frozen=True)
class LearnableTexts:
    """Training texts ready to be learnt.

    Attributes:
        data: the tokenized texts.
        described: sources with hashes and counts, and settings of the preparation, as JSON types.
    """

    data: TokenTexts
    described: dict[str, Any]


def read_sources(config: SourcesConfig, *, keeps: bool = False) -> TrainingSources:
    """Read the training sets and test sets named in the config.

    Args:
        config: names of the sources.
        keeps: whether the form ``kept`` is supported, that is, an untuned model is available.

    Raises:
        UserError: a source or test set is unknown, missing or damaged; or the form ``kept`` is not
            supported.
    """
    train = read_training(config.train, config.data_source)
    if not keeps and any(one.form == "kept" for one in train):
        raise UserError(
            "the form kept works only with `galenic finetune --method lora`, not federated."
        )
    checked = config.against != NO_CHECK
    tests = read_test_sets(config.against, config.data_source) if checked else []
    return TrainingSources(tuple(train), tests)


def prepare_texts(
    config: TextsConfig,
    sources: TrainingSources,
    checkpoint: Checkpoint,
    folder: Path,
    seed: int,
    watcher: Watcher,
) -> LearnableTexts:
    """Remove rows that match test questions, and tokenize the rest for a model.

    Args:
        config: settings of the preparation.
        sources: result of `read_sources`.
        checkpoint: the model.
        folder: existing folder; the removed rows are written to `REMOVED` in it.
        seed: seed for the order of texts.
        watcher: reports progress.

    Raises:
        UserError: too many rows of a source match test questions, or no text is left to learn.
    """
    kept = keep_untested(config, sources, folder, watcher)
    longest = int(checkpoint.shapes.model.config.max_position_embeddings)
    config = config.model_copy(update={"max_length": choose_length(config.max_length, longest)})
    watcher.stage("encoding the texts")
    encoder = TextEncoder(checkpoint.folder, checkpoint.files.kind)
    data = TokenTexts(kept, encoder, config, seed=seed)
    first = data.first
    if first.cut or first.skipped:
        watcher.say(
            f"of {len(first.items) + first.skipped:,} texts {first.cut:,} are longer than "
            f"{config.max_length} tokens and were truncated, {first.skipped:,} were left out"
        )
    return LearnableTexts(data, _describe(config, sources.train, data, _removed(folder), seed))


def keep_untested(
    config: SourcesConfig, sources: TrainingSources, folder: Path, watcher: Watcher
) -> list[TrainingSet]:
    """Remove rows that match test questions, as for `prepare_texts`.

    Raises:
        UserError: too many rows of a source match test questions.
    """
    removed = _removed(folder)
    if not sources.tests:
        removed.write_text("", encoding="utf-8")
        watcher.say("the training data is not checked for test questions (--against none)")
        return list(sources.train)
    kept, _ = refuse_contaminated(
        list(sources.train),
        sources.tests,
        removed=removed,
        watcher=watcher,
        allow=config.allow_contaminated,
    )
    return kept


def describe_sources(
    before: Sequence[TrainingSet], kept: Sequence[TrainingSet]
) -> list[dict[str, Any]]:
    """Describe sources with hashes and counts; ``before`` and ``kept`` are before/after removal."""
    return [
        {
            "source": one.name,
            "form": one.form,
            "weight": one.weight,
            "scale": one.scale if one.form in RANKED else None,
            "sha256": one.sha256,
            "texts": len(one.train),
            "heldout": len(one.heldout),
            "removed": len(old.train) + len(old.heldout) - len(one.train) - len(one.heldout),
        }
        for old, one in zip(before, kept, strict=True)
    ]


def _removed(folder: Path) -> Path:
    return folder / (REMOVED if rank() == 0 else f".{rank()}-{REMOVED}")


def _describe(
    config: TextsConfig, before: tuple[TrainingSet, ...], data: TokenTexts, removed: Path, seed: int
) -> dict[str, Any]:
    return {
        "sources": describe_sources(before, data.sets),
        "documents": len(data.first.items),
        "heldout": len(data.heldout),
        "cut": data.first.cut,
        "skipped": data.first.skipped,
        "against": config.against,
        "removed_sha256": hashlib.sha256(removed.read_bytes()).hexdigest(),
        "allow_contaminated": config.allow_contaminated,
        "max_length": config.max_length,
        "permutations": config.permutations,
        "side_by_side": config.side_by_side,
        "num_heldout": config.num_heldout,
        "seed": seed,
    }
