"""Options of an evaluation; flags, run manifest and docs are generated from these classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from galenic.data.calibration import CalibrationConfig
from galenic.data.exams.answers import AnswersAre
from galenic.data.exams.exam import ExamOptions, parse_map
from galenic.errors import UserError
from galenic.registry import RUNTIMES, SCORINGS
from galenic.units import split_commas

__all__ = ["DivergenceConfig", "EvaluateConfig", "SpeedConfig"]


AUTO = "auto"
LATER = {"adapter": None, "map": None, "answers_are": None, "chat_template_kwargs": "{}"}
"""Settings that are missing in runs of versions 0.1 and 0.2, with their defaults."""


def _known_runtime(name: str) -> str:
    return name if name == AUTO else RUNTIMES.check(name)


RuntimeName = Annotated[str, AfterValidator(_known_runtime)]
"""A name in `galenic.registry.RUNTIMES`, or ``auto``."""
Dtype = Annotated[
    Literal["float32", "mixed", "bfloat16", "float16"],
    Field(
        description="Precision of the torch runtime; mixed: float32, products alone in bfloat16, "
        "several times as fast where the CPU has AMX."
    ),
]
Names = Annotated[tuple[str, ...], BeforeValidator(split_commas), Field(min_length=1)]


class EvaluateConfig(BaseModel):
    """Configuration of an evaluation. Runs with equal configurations do the same work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    adapter: str | None = Field(
        None,
        description="LoRA adapter to apply to a GGUF at run time: a folder made by `galenic "
        "finetune`, or a GGUF.",
    )
    benchmarks: Names = Field(
        ("pubmedqa", "medqa", "medmcqa"),
        description="Comma-separated: pubmedqa, medqa (both forms), medqa_4options, "
        "medqa_5options, medmcqa, or paths of your own exams (.jsonl, .json, .csv, "
        ".tsv, .parquet, .xlsx, also .gz, .zst) or of a folder of them.",
    )
    data: str | None = Field(
        None,
        description="Folder with the benchmark files, or the word `sample` for the questions "
        "that ship with Galenic. Without it the sets come from the Hugging Face Hub.",
    )
    split: str | None = Field(
        None,
        description="Split to evaluate; default: the one each benchmark is reported on (test; "
        "MedMCQA: validation).",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Maximum number of questions per benchmark: a random sample fixed by --seed, "
        "the same for the 4- and 5-option forms.",
    )
    map: str | None = Field(
        None,
        description="Columns of your own exam file: question=stem,answer=key; options in separate "
        "columns as options=a+b+c. Fields: question, options, answer, context, id.",
    )
    answers_are: AnswersAre | None = Field(
        None,
        description="How your exam file gives the answers, where that is ambiguous: letters, "
        "indices (from 0), numbers (from 1) or texts.",
    )
    scoring: Names = Field(
        (AUTO,),
        description="Comma-separated: letter (the option's letter or word), text (the option's "
        "text, summed), text_per_byte (the same per byte), generate (reason, then parse), head "
        "(an encoder's multiple-choice head); auto is the first three, or head for an encoder.",
    )
    debias: Literal["none", "permutations", "prior"] = Field(
        "none",
        description="permutations: average over cyclic orders of the options; prior: divide by "
        "the probabilities for a content-free question.",
    )
    num_fewshot: int = Field(
        0, ge=0, le=32, description="Solved examples before each question, from the training split."
    )
    chat_template: bool = Field(False, description="Use the model's own chat template.")
    chat_template_kwargs: str = Field(
        "{}",
        description="Arguments of the chat template as JSON, such as "
        "'{\"enable_thinking\": false}'.",
    )
    max_tokens: int = Field(
        256, ge=1, description="Maximum generated tokens, for the generate scoring."
    )
    seed: int = Field(0, ge=0, description="Random seed, for sampling and few-shot examples.")
    runtime: RuntimeName = Field(
        "auto",
        description="Engine. auto: encoder for an encoder with a multiple-choice head, torch for "
        "other folders, llama for a GGUF unless torch is clearly faster (1.3 times) "
        "and fits into memory.",
    )
    dtype: Dtype = "float32"
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's load."
    )
    context_length: int | None = Field(
        None, ge=16, description="Context length in tokens; default: the model's own limit."
    )

    @field_validator("scoring")
    @classmethod
    def _known_scoring(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if AUTO in names and len(names) > 1:
            raise UserError(f"--scoring: {AUTO} stands alone, or name the scorings.")
        return tuple(dict.fromkeys(n if n == AUTO else SCORINGS.check(n) for n in names))

    @field_validator("map")
    @classmethod
    def _known_fields(cls, text: str | None) -> str | None:
        if text is not None:
            parse_map(text)
        return text

    @model_serializer(mode="wrap")
    def _without_unset(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit newer settings that have their defaults, so that older versions' runs can resume."""
        found: dict[str, Any] = serialize(self)
        return {n: v for n, v in found.items() if n not in LATER or v != LATER[n]}

    @property
    def exam_options(self) -> ExamOptions:
        """How to read the user's own exams."""
        return ExamOptions(() if self.map is None else parse_map(self.map), self.answers_are)

    @property
    def data_source(self) -> Path | Literal["sample"] | None:
        """The ``data`` setting as the argument of `galenic.data.sources.open_source`."""
        if self.data is None or self.data == "sample":
            return self.data  # type: ignore[return-value]
        return Path(self.data)


class DivergenceConfig(CalibrationConfig):
    """Configuration of a perplexity and divergence measurement."""

    model: str = Field(description="A GGUF file, a model folder, smollm2-135m, or a Hub id.")
    against: str | None = Field(
        None,
        description="Model to compare with; default: the parent named by the model's manifest; "
        "`none` for none.",
    )
    data: str | None = Field(
        None,
        description="Folder with medquad/medquad.jsonl.gz; its held-out tenth is read, which no "
        "method calibrates on.",
    )
    num_samples: int = Field(32, ge=1, description="Number of text sequences.")
    runtime: RuntimeName = Field(
        "auto",
        description="Engine. auto: llama for a GGUF, torch for a folder.",
    )
    dtype: Dtype = "float32"
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's load."
    )


class SpeedConfig(BaseModel):
    """Configuration of a speed and memory measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    against: str | None = None
    runtime: RuntimeName = "auto"
    dtype: Dtype = "float32"
    threads: int | None = Field(None, ge=1)
    prompt_tokens: int = Field(256, ge=8)
    new_tokens: int = Field(64, ge=2)
    rounds: int = Field(5, ge=1)
