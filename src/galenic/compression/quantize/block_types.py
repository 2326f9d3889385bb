"""kquant: every tensor in one of ggml's block types, with importance from calibration text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from galenic.compression.quantize.base import WEIGHTS
from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.typed import TypedQuantizer

if TYPE_CHECKING:
    from galenic.compression.quantize.importance import Sensitivity

__all__ = ["KQuant"]


class KQuant(TypedQuantizer):
    """Blocks of 32 or 256 weights with scales of their own, made by ggml."""

    name = "kquant"
    title = "ggml's block types, weighted by importance, mixed under a budget"
    reference_url = "https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h"

    importance: bool = Field(
        True,
        description="Weight errors by the activations that meet them, from calibration text.",
    )

    @property
    def calibrated(self) -> bool:
        return self.importance

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compression.quantize.kquant import quantize_gguf

        found = self.sensitivity(job, folder, advance) if self.importance else None
        types = self.choose(job, found, advance)
        job.watcher.stage("writing")
        columns = {} if found is None else found.columns
        quantize_gguf(job.source, folder / WEIGHTS, types, importance=columns)

    def sensitivity(
        self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]
    ) -> Sensitivity:
        """What weights the errors, from calibration text; arguments as `apply` has them."""
        from galenic.compression.quantize.importance import measure_sensitivity
        from galenic.models.paged import PagedModel

        tokens = job.tokens
        model = PagedModel(job.checkpoint, job.source)
        passes = 2 if self.mixed else 1
        total = passes * len(model.layout.blocks)
        job.watcher.stage("measuring what weights matter", total=total)
        return measure_sensitivity(
            model, tokens, folder, advance, gradients=self.mixed, seed=job.config.seed
        )
