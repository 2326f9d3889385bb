"""Base class of methods that use ggml's block types, chosen by bits, by name, or under a budget.

Under a budget, types are mixed so that the total measured error is minimal
(`galenic.compression.quantize.allocate`). Types: https://github.com/ggml-org/llama.cpp
(ggml/src/ggml-common.h).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from galenic.compression.quantize.base import Quantizer
from galenic.compression.quantize.job import QuantizeJob
from galenic.errors import UserError, unknown_name
from galenic.models.safe_pattern import check_pattern
from galenic.units import format_size, parse_size, split_commas

if TYPE_CHECKING:
    from galenic.compression.quantize.allocate import TypeChoice
    from galenic.compression.quantize.importance import Sensitivity
    from galenic.models.gguf.write import GgufSource, SourceTensor

__all__ = ["TypedQuantizer"]

MOST_BITS = {2: 2.625, 3: 3.4375, 4: 4.5, 5: 5.5, 6: 6.5625, 7: 7.5, 8: 8.5}
"""Maximum bits per weight, including scales, of the types allowed for each value of ``--bits``."""


def _check_type(kind: str) -> str:
    from galenic.compression.quantize.kquant import BLOCK_TYPES

    if kind.upper() not in BLOCK_TYPES:
        raise unknown_name("block type", kind, BLOCK_TYPES)
    return kind.upper()


def _check_rule(rule: str) -> str:
    """Validate a ``NAME=TYPE`` rule; return it with the type in upper case.

    Raises:
        UserError: the form, the type or the regular expression is invalid.
    """
    from galenic.compression.quantize.kquant import fitting_type

    pattern, _, kind = rule.rpartition("=")
    if not pattern:
        raise UserError(f"--tensor-type {rule!r} is not of the form NAME=TYPE, as ffn_down=Q8_0.")
    check_pattern(pattern, f"--tensor-type {rule!r}")
    fitting_type((1, 256), kind.upper())
    return f"{pattern}={kind.upper()}"


class TypedQuantizer(Quantizer):
    """Quantization in blocks of 32 or 256 weights, each with its own scales."""

    bits: int | None = Field(
        None,
        ge=2,
        le=8,
        description="Bits per weight, scales not counted: each tensor gets the type of that size "
        "with the smallest error; default: 4, unless a type or target is given.",
    )
    type: str | None = Field(
        None,
        description="Use exactly this block type (Q4_K, IQ4_NL ...) for every matrix; llama.cpp's "
        "fallback type where its blocks do not divide the rows.",
    )
    target_size: str | None = Field(
        None, description="Mix types to reach at most this file size: 90MB, 86MiB ..."
    )
    target_bpw: float | None = Field(
        None, gt=0, le=16, description="Mix types to reach at most this many bits per weight."
    )
    prefer: Literal["size", "speed"] = Field(
        "size",
        description="speed: use only types that are fast in llama.cpp for their size, timed once "
        "on this machine.",
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(split_commas)] = Field(
        (), description="Comma-separated types not to use."
    )
    tensor_type: Annotated[tuple[str, ...], BeforeValidator(split_commas)] = Field(
        (),
        description="Comma-separated NAME=TYPE: tensors whose GGUF name matches NAME (a regular "
        "expression) get this type; the first match counts.",
    )

    @field_validator("type")
    @classmethod
    def _known_type(cls, kind: str | None) -> str | None:
        return None if kind is None else _check_type(kind)

    @field_validator("exclude")
    @classmethod
    def _known_types(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_check_type(kind) for kind in kinds)

    @field_validator("tensor_type")
    @classmethod
    def _readable_rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_check_rule(rule) for rule in rules)

    @field_validator("target_size")
    @classmethod
    def _known_size(cls, size: str | None) -> str | None:
        if size is not None:
            parse_size(size, "--target-size")
        return size

    @model_validator(mode="after")
    def _one_aim(self) -> TypedQuantizer:
        aims = ("bits", "type", "target_size", "target_bpw")
        given = [f"--{aim.replace('_', '-')}" for aim in aims if getattr(self, aim) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} contradict each other. Give one of them.")
        if self.type and (self.exclude or self.prefer == "speed"):
            raise UserError("--type is exact: leave --exclude and --prefer out.")
        if not self._known():
            raise UserError("--exclude leaves no type to choose from.")
        return self

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"bits": self._bits}

    @property
    def mixed(self) -> bool:
        """Whether types are mixed under a budget."""
        return self.target_size is not None or self.target_bpw is not None

    @property
    def _bits(self) -> int | None:
        return self.bits or (None if self.mixed or self.type else 4)

    def notes(self, job: QuantizeJob) -> tuple[str, ...]:
        from galenic.compression.quantize.kquant import quantizes

        others: list[str] = []
        for tensor in job.source.tensors if self.type else ():
            if quantizes(tensor) and self._ruled(tensor.name) is None:
                others += self._options(tensor).keys() - set(self.candidates(tensor))
        if not others:
            return ()
        kinds = ", ".join(sorted(set(others)))
        return (f"{len(others)} tensors have rows that {self.type} does not divide: {kinds}",)

    def candidates(self, tensor: SourceTensor) -> tuple[str, ...]:  # noqa: ARG002
        """Candidate types for a matrix, before checking row lengths; methods may restrict them."""
        return self._quick(self._known())

    def _quick(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Filter types by the ``prefer`` option."""
        if self.prefer != "speed":
            return kinds
        from galenic.compression.quantize.types.speeds import fast_types

        return fast_types(kinds)

    def _known(self) -> tuple[str, ...]:
        from galenic.compression.quantize.kquant import BLOCK_TYPES

        if self.type:
            return (self.type,)
        return tuple(kind for kind in BLOCK_TYPES if kind not in self.exclude)

    def _ruled(self, name: str) -> str | None:
        """Return the type that a rule of ``tensor_type`` assigns to a tensor; None if none does."""
        rules = (rule.rpartition("=") for rule in self.tensor_type)
        return next((kind for pattern, _, kind in rules if re.search(pattern, name)), None)

    def check(self, job: QuantizeJob) -> int:
        source = job.source
        self._check_rules(source)
        job.checkpoint  # noqa: B018  raises if the model cannot be opened
        options = self.type_choices(source)
        if not self.mixed:
            return sum(max(sizes.values()) for sizes in options.values())
        smallest = sum(min(sizes.values()) for sizes in options.values())
        budget = self._budget(source)
        if smallest > budget:
            raise UserError(
                f"the smallest types take {format_size(smallest)}, and {format_size(budget)} are "
                "left for the tensors. Raise the target, or allow smaller types."
            )
        return budget

    def _check_rules(self, source: GgufSource) -> None:
        from galenic.compression.quantize.kquant import quantizes

        names = [tensor.name for tensor in source.tensors if quantizes(tensor)]
        for rule in self.tensor_type:
            if not any(re.search(rule.rpartition("=")[0], name) for name in names):
                raise UserError(
                    f"--tensor-type {rule} fits no matrix of the model. They are called "
                    f"{names[0]}, {names[-1]} and the like."
                )

    def type_choices(self, source: GgufSource) -> dict[str, dict[str, int]]:
        """Possible types of each tensor, from small to large, with the tensor's size in bytes."""
        return {tensor.name: self._options(tensor) for tensor in source.tensors}

    def _options(self, tensor: SourceTensor) -> dict[str, int]:
        from galenic.compression.quantize.kquant import fitting_type, quantizes
        from galenic.models.gguf.write import stored_bytes

        if not quantizes(tensor):
            return {"F32": stored_bytes(tensor.shape, "F32")}
        if ruled := self._ruled(tensor.name):
            kind = fitting_type(tensor.shape, ruled)
            return {kind: stored_bytes(tensor.shape, kind)}
        fitting = {fitting_type(tensor.shape, kind) for kind in self.candidates(tensor)}
        fitting = fitting - set(self.exclude) or fitting  # excluded types are no fallback
        found = [(stored_bytes(tensor.shape, kind), kind) for kind in fitting]
        sizes = {kind: size for size, kind in sorted(found)}
        if self._bits is None:
            return sizes
        most = MOST_BITS[self._bits] / 8 * math.prod(tensor.shape)
        # the largest size within the limit, or the smallest of all
        size = max((s for s in sizes.values() if s <= most), default=min(sizes.values()))
        return {kind: s for kind, s in sizes.items() if s == size}

    def choose(
        self, job: QuantizeJob, found: Sensitivity | None, advance: Callable[[int], None]
    ) -> dict[str, str]:
        """Choose a type for each tensor by measured errors; returns types by tensor name.

        Args:
            job: the model.
            found: importance that weights the errors; None: equal weights.
            advance: called with the number of tensors done.
        """
        options = self.type_choices(job.source)
        if all(len(kinds) == 1 for kinds in options.values()):
            return {name: kind for name, kinds in options.items() for kind in kinds}
        job.watcher.stage("measuring errors", total=len(job.source.tensors))
        return self.pick(job.source, self.measure(job.source, options, found, advance))

    def measure(
        self,
        source: GgufSource,
        options: Mapping[str, Iterable[str]],
        found: Sensitivity | None,
        advance: Callable[[int], None],
    ) -> dict[str, tuple[TypeChoice, ...]]:
        """Measure the error of each possible type of each tensor; arguments as for `choose`."""
        from galenic.compression.quantize.allocate import measure_choices

        return measure_choices(
            source,
            options,
            importance=found.columns if found else None,
            row_importance=found.rows if found else None,
            advance=advance,
        )

    def pick(
        self, source: GgufSource, choices: Mapping[str, Sequence[TypeChoice]]
    ) -> dict[str, str]:
        """Choose a type for each tensor, given the measured errors; returns types by name."""
        from galenic.compression.quantize.allocate import allocate

        if self.mixed:
            return allocate(choices, self._budget(source))
        return {name: min(options, key=_by_error).type for name, options in choices.items()}

    def _budget(self, source: GgufSource) -> int:
        """Maximum size of all tensors together, in bytes."""
        if self.target_bpw is not None:
            weights = sum(math.prod(tensor.shape) for tensor in source.tensors)
            return int(self.target_bpw * weights / 8)
        from galenic.models.gguf.write import header_bytes

        if self.target_size is None:
            raise ValueError("no budget is given")
        return parse_size(self.target_size, "--target-size") - header_bytes(source)


def _by_error(choice: TypeChoice) -> tuple[float, str]:
    return choice.error, choice.type
