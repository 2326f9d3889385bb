"""Options of `galenic finetune` other than those of the method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from galenic.data.benchmarks.custom import is_custom
from galenic.errors import UserError
from galenic.registry import BENCHMARKS, FINETUNERS
from galenic.training.config import TrainConfig

__all__ = [
    "CacheConfig",
    "FinetuneConfig",
    "SourcesConfig",
    "TextsConfig",
    "default_folder",
    "sources_in_data",
]


class SourcesConfig(BaseModel):
    """Which texts a model learns from."""

    PANEL: ClassVar[str] = "Texts"

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: str = Field(
        "",
        description="Training data, comma-separated: medquad, benchmarks:train, medqa, "
        "medmcqa:text=0.5 (half as often), medmcqa:options@1, FILE.jsonl.",
    )
    data: str | None = Field(
        None,
        description="Folder with the data files; without it they come from the Hugging Face Hub. "
        "Source names, as in --train, may also be given here: the folder is then that "
        "of GALENIC_DATA.",
    )
    against: str = Field(
        "all",
        description="Test sets to keep out of the training data, comma-separated; all: the "
        "reported split of every benchmark; none: no check.",
    )
    allow_contaminated: bool = Field(
        False, description="Train on texts even if they are test questions, or nearly so."
    )
    max_length: int | None = Field(
        None,
        ge=16,
        description="Maximum tokens per text; questions are cut at the beginning, responses at "
        "the end. Default: 1024, or the model's limit if that is less.",
    )
    num_heldout: int = Field(100, ge=1, description="Held-out texts per source for validation.")

    @property
    def data_source(self) -> Path | Literal["sample"] | None:
        """The data folder, as an argument for `galenic.data.sources.open_source`."""
        return None if self.data is None else Path(self.data)


class TextsConfig(SourcesConfig):
    """Which texts a generative model learns from, and how they are prepared."""

    PANEL: ClassVar[str] = "Texts"

    permutations: int | None = Field(
        None,
        ge=1,
        description="Number of option orders per question, used in turn; default: a new random "
        "order each time. Where outputs are cached, a few, so that orders recur.",
    )
    side_by_side: bool = Field(
        False,
        description="Train on all texts of a question in one step, computing their common prefix "
        "once. For weights above 1, and for medqa with its two forms.",
    )


class CacheConfig(BaseModel):
    """Whether the outputs of frozen blocks are cached."""

    PANEL: ClassVar[str] = "Cache of frozen blocks"

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache: bool = Field(
        False,
        description="With --top-blocks: cache on disk the output of the frozen blocks below, "
        "computed once per text.",
    )
    cache_gb: float = Field(
        8.0,
        gt=0,
        description="Maximum size of the cache in GB; further texts are computed each time.",
    )


class FinetuneConfig(CacheConfig, TrainConfig, TextsConfig):
    """The model, the method's name, the texts, and training options."""

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    method: str = Field("lora", description=f"One of: {', '.join(FINETUNERS)}.")
    cache_folder: str | None = Field(
        None,
        description="Folder for the cache, to reuse it in other runs; default: inside the run, "
        "deleted at its end.",
    )
    threads: int | None = Field(None, ge=1, description="Compute threads; default: the idle cores.")


def default_folder(config: FinetuneConfig, options: Mapping[str, Any]) -> Path:
    """Return the default output folder; the same settings give the same folder.

    Args:
        config: settings of the run.
        options: options of the method.
    """
    machine = {"threads", "cache", "cache_gb", "cache_folder", "data"}
    facts = [config.model_dump(mode="json", exclude=machine), dict(options)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Path("tuned") / f"{Path(config.model).stem or 'model'}-{config.method}-{digest[:8]}"


def sources_in_data(values: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """Interpret ``--data medquad`` as ``--train medquad --data FOLDER``.

    Args:
        values: ``train`` and ``data`` as given by the user.
        folder: data folder from the environment, used if ``data`` names sources.

    Raises:
        UserError: no training data is named.
    """
    train, data = values["train"], values["data"]
    if train:
        return dict(values)
    if data is None or data == "sample" or _is_path(data):
        raise UserError("name what to learn from: --train medquad, benchmarks:train, FILE.jsonl.")
    return {**values, "train": data, "data": folder}


def _is_path(data: str) -> bool:
    names = [part.partition("=")[0].partition(":")[0].strip() for part in data.split(",")]
    if all(name in ("medquad", "benchmarks", "medqa", *BENCHMARKS) for name in names):
        return False  # even if such a folder exists: without --train it would be useless
    files = [is_custom(part.partition("=")[0].strip()) for part in data.split(",")]
    return Path(data).is_dir() or ("/" in data and not any(files))
