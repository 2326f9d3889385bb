"""kquant: every tensor in one of ggml's block types, with importance from calibration text.

Which type: one number of bits for all, an exact type, or a mix under a budget of bytes that spends
bits where the measured error falls most per byte. Types: https://github.com/ggml-org/llama.cpp
(ggml/src/ggml-common.h).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from galenic.compress.quantize.base import WEIGHTS, QuantizeJob, Quantizer
from galenic.errors import UserError, unknown_name
from galenic.units import parse_size

if TYPE_CHECKING:
    from galenic.compress.quantize.allocate import Choice
    from galenic.compress.quantize.importance import Sensitivity
    from galenic.models.gguf_write import GgufSource, SourceTensor

__all__ = ["FAST_TYPES", "KQuant"]

FAST_TYPES = ("Q4_0", "Q8_0")
"""Types that llama.cpp computes in its fast form on processors with AVX2."""
MOST_BITS = {2: 2.625, 3: 3.4375, 4: 4.5, 5: 5.5, 6: 6.5625, 7: 7.5, 8: 8.5}
"""Bits a weight of the largest type that ``--bits`` allows: scales come on top of the bits."""


def _split_names(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip().upper() for part in value.split(",") if part.strip())
    return value


class KQuant(Quantizer):
    """Blocks of 32 or 256 weights with scales of their own, made by ggml."""

    name = "kquant"
    title = "ggml's block types, weighted by importance, mixed under a budget"
    reference_url = "https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h"

    bits: int | None = Field(
        None,
        ge=2,
        le=8,
        description="Bits of a weight, scales not counted: each tensor takes the type with the "
        "least error among those of that size; default 4, unless a type or target is given.",
    )
    type: str | None = Field(
        None,
        description="Exactly this block type (Q4_K, IQ4_NL ...) for every matrix, with llama.cpp's "
        "stand-in where its blocks do not divide the rows.",
    )
    target_size: str | None = Field(
        None, description="Mix types so that the file is at most so large: 90MB, 86MiB ..."
    )
    target_bpw: float | None = Field(
        None, gt=0, le=16, description="Mix types so that a weight takes at most so many bits."
    )
    importance: bool = Field(
        True,
        description="Weight errors by the activations that meet them, from calibration text.",
    )
    prefer: Literal["size", "speed"] = Field(
        "size",
        description=f"speed: only types that compute fast on AVX2 ({', '.join(FAST_TYPES)}).",
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(_split_names)] = Field(
        (), description="Comma-separated types that are not to be used."
    )

    @field_validator("type")
    @classmethod
    def _known_type(cls, kind: str | None) -> str | None:
        from galenic.compress.quantize.kquant import BLOCK_TYPES

        if kind is not None and kind.upper() not in BLOCK_TYPES:
            raise unknown_name("block type", kind, BLOCK_TYPES)
        return None if kind is None else kind.upper()

    @field_validator("exclude")
    @classmethod
    def _known_types(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            cls._known_type(kind)
        return kinds

    @field_validator("target_size")
    @classmethod
    def _known_size(cls, size: str | None) -> str | None:
        if size is not None:
            parse_size(size, "--target-size")
        return size

    @model_validator(mode="after")
    def _one_aim(self) -> KQuant:
        aims = ("bits", "type", "target_size", "target_bpw")
        given = [f"--{aim.replace('_', '-')}" for aim in aims if getattr(self, aim) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} contradict each other. Give one of them.")
        if self.type and (self.exclude or self.prefer == "speed"):
            raise UserError("--type is exact: leave --exclude and --prefer out.")
        if not self.candidates:
            raise UserError("--exclude leaves no type to choose from.")
        return self

    @property
    def knobs(self) -> dict[str, Any]:
        return super().knobs | {"bits": self._bits}

    @property
    def calibrated(self) -> bool:
        return self.importance

    @property
    def mixed(self) -> bool:
        """Whether types are chosen under a budget."""
        return self.target_size is not None or self.target_bpw is not None

    @property
    def candidates(self) -> tuple[str, ...]:
        """Types that may be used."""
        from galenic.compress.quantize.kquant import BLOCK_TYPES

        known = FAST_TYPES if self.prefer == "speed" else BLOCK_TYPES
        return tuple(kind for kind in known if kind not in self.exclude)

    @property
    def _bits(self) -> int | None:
        return self.bits or (None if self.mixed or self.type else 4)

    def check(self, job: QuantizeJob) -> int:
        source = job.source
        job.checkpoint  # noqa: B018  what it cannot open cannot be read back either
        if not self.mixed:
            return sum(max(sizes.values()) for sizes in self._allowed(source).values())
        smallest = sum(min(sizes.values()) for sizes in self._allowed(source).values())
        budget = self._budget(source)
        if smallest > budget:
            raise UserError(
                f"the smallest types take {smallest:,} bytes, and {budget:,} are left for the "
                "tensors. Raise the target, or allow smaller types."
            )
        return budget

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compress.quantize.kquant import quantize_gguf, uniform_types

        found = self._measure(job, folder, advance) if self.importance else None
        columns = {} if found is None else found.columns
        if self.type:
            types = uniform_types(job.source, self.type)
        else:
            types = self._choose(job, found, advance)
        job.watcher.stage("writing")
        quantize_gguf(job.source, folder / WEIGHTS, types, importance=columns)

    def _measure(
        self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]
    ) -> Sensitivity:
        from galenic.compress.quantize.importance import measure_sensitivity
        from galenic.models.paged import PagedModel

        tokens = job.tokens
        model = PagedModel(job.checkpoint, job.source)
        passes = 2 if self.mixed else 1
        total = passes * len(model.layout.blocks)
        job.watcher.stage("measuring what weights matter", total=total)
        return measure_sensitivity(
            model, tokens, folder, advance, gradients=self.mixed, seed=job.config.seed
        )

    def _choose(
        self, job: QuantizeJob, found: Sensitivity | None, advance: Callable[[int], None]
    ) -> dict[str, str]:
        from galenic.compress.quantize.allocate import measure_choices

        job.watcher.stage("measuring errors", total=len(job.source.tensors))
        choices = measure_choices(
            job.source,
            self.candidates,
            importance=found.columns if found else None,
            row_importance=found.rows if found else None,
            advance=advance,
        )
        return self.pick(job.source, choices)

    def pick(self, source: GgufSource, choices: Mapping[str, Sequence[Choice]]) -> dict[str, str]:
        """Tensor name to type, the errors of its choices known."""
        from galenic.compress.quantize.allocate import allocate

        if self.mixed:
            return allocate(choices, self._budget(source))
        allowed = self._allowed(source)
        types = {}
        for name, options in choices.items():
            fitting = [option for option in options if option.type in allowed[name]]
            types[name] = min(fitting, key=_by_error).type
        return types

    def _allowed(self, source: GgufSource) -> dict[str, dict[str, int]]:
        """Types that each tensor may take, with its bytes in them."""
        return {tensor.name: self._allowed_types(tensor) for tensor in source.tensors}

    def _allowed_types(self, tensor: SourceTensor) -> dict[str, int]:
        from galenic.compress.quantize.kquant import fitting_type, quantizes
        from galenic.models.gguf_write import stored_bytes

        if not quantizes(tensor):
            return {"F32": stored_bytes(tensor.shape, "F32")}
        wanted: Sequence[str] = (self.type,) if self.type else self.candidates
        fitting = {fitting_type(tensor.shape, kind) for kind in wanted}
        sizes = {kind: stored_bytes(tensor.shape, kind) for kind in sorted(fitting)}
        if self._bits is None:
            return sizes
        most = MOST_BITS[self._bits] / 8 * math.prod(tensor.shape)
        # the largest that is small enough, or the smallest where none is
        size = max((s for s in sizes.values() if s <= most), default=min(sizes.values()))
        return {kind: s for kind, s in sizes.items() if s == size}

    def _budget(self, source: GgufSource) -> int:
        """Bytes of all tensors together."""
        if self.target_bpw is not None:
            weights = sum(math.prod(tensor.shape) for tensor in source.tensors)
            return int(self.target_bpw * weights / 8)
        from galenic.models.gguf_write import header_bytes

        if self.target_size is None:
            raise ValueError("no budget is given")
        return parse_size(self.target_size, "--target-size") - header_bytes(source)


def _by_error(choice: Choice) -> tuple[float, str]:
    return choice.error, choice.type
