"""The kquant method: ggml's block types, with importance weights from calibration text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from galenic.compression.quantize.base import WEIGHTS
from galenic.compression.quantize.job import QuantizeJob
from galenic.compression.quantize.typed import TypedQuantizer
from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.compression.quantize.importance import Sensitivity
    from galenic.models.gguf.write import SourceTensor

__all__ = ["KQuant"]


class KQuant(TypedQuantizer):
    """Quantization by ggml in blocks of 32 or 256 weights, each with its own scales."""

    name = "kquant"
    title = "ggml's block types, weighted by importance, mixed under a budget"
    reference_url = "https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h"

    importance: bool = Field(
        True,
        description="Weight rounding errors by the activations measured on calibration text.",
    )

    imatrix: str | None = Field(
        None,
        description="Read the importance from a llama.cpp imatrix file (GGUF form) instead of "
        "calibration text; not for mixed types, which need gradients.",
    )
    save_imatrix: str | None = Field(
        None, description="Write the measured importance to this file, for llama.cpp."
    )

    @model_validator(mode="after")
    def _one_importance(self) -> KQuant:
        if self.imatrix and not self.importance:
            raise UserError("--imatrix and --no-importance contradict each other.")
        if self.imatrix and self.mixed:
            raise UserError("--imatrix: a mix needs gradients, which such a file does not have.")
        if self.save_imatrix and (self.imatrix or not self.importance):
            raise UserError("--save-imatrix needs an importance that is measured here.")
        if self.imatrix and not Path(self.imatrix).is_file():
            raise UserError(f"--imatrix: there is no file {self.imatrix}.")
        return self

    @property
    def calibrated(self) -> bool:
        return self.importance and not self.imatrix

    def candidates(self, tensor: SourceTensor) -> tuple[str, ...]:
        from galenic.compression.quantize.kquant import needs_importance

        known = super().candidates(tensor)
        return tuple(kind for kind in known if self.importance or not needs_importance(kind))

    def check(self, job: QuantizeJob) -> int:
        from galenic.compression.quantize.kquant import needs_importance

        if self.type and not self.importance and needs_importance(self.type):
            raise UserError(f"--type {self.type} needs an importance: leave --no-importance out.")
        if self.imatrix:
            self._read(job)
        return super().check(job)

    def _read(self, job: QuantizeJob) -> Sensitivity:
        from galenic.compression.quantize.imatrix import read_imatrix
        from galenic.compression.quantize.importance import Sensitivity

        return Sensitivity(read_imatrix(Path(self.imatrix or ""), job.source), {})

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        from galenic.compression.quantize.kquant import quantize_gguf

        # checked here, for a run that is resumed while tuning has written this file itself
        if self.save_imatrix and Path(self.save_imatrix).exists():
            raise UserError(f"--save-imatrix: {self.save_imatrix} is there already.")
        found = self.sensitivity(job, folder, advance) if self.importance else None
        types = self.choose(job, found, advance)
        job.watcher.stage("writing")
        columns = {} if found is None else found.columns
        quantize_gguf(job.source, folder / WEIGHTS, types, importance=columns)
        if self.save_imatrix:
            from galenic.compression.quantize.imatrix import write_imatrix

            chunks, size = job.tokens.shape
            sources = [text.source for text in job.texts]
            write_imatrix(
                Path(self.save_imatrix), columns, sources=sources, chunks=chunks, chunk_size=size
            )

    def sensitivity(
        self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]
    ) -> Sensitivity:
        """Read or measure the importance that weights the errors; arguments as for `apply`."""
        if self.imatrix:
            return self._read(job)
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
