"""Base class of quantization methods: a frozen pydantic model whose fields are the options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from galenic.compression.quantize.job import QuantizeJob

if TYPE_CHECKING:
    pass

__all__ = [
    "WEIGHTS",
    "Quantizer",
]

WEIGHTS = "model.gguf"
"""File name of the result of methods that write a GGUF."""


class Quantizer(BaseModel, ABC):
    """A method of storing the weights of a model in fewer bits.

    Attributes:
        name: name in the registry.
        title: one-line description for users.
        reference_url: URL of the paper, or of the format's definition.
        extra: optional extra of this package that the method needs; None if it needs none.
        tunable: whether it writes a GGUF that can be tuned afterwards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    extra: ClassVar[str | None] = None
    tunable: ClassVar[bool] = True

    @property
    def options(self) -> dict[str, Any]:
        """All options with the values in use, as JSON types."""
        return self.model_dump(mode="json")

    def require(self) -> None:
        """Check that the packages that only this method needs are installed.

        Raises:
            UserError: one is missing; the message names the extra.
        """

    def notes(self, job: QuantizeJob) -> tuple[str, ...]:  # noqa: ARG002
        """Notes about the result for the user."""
        return ()

    @property
    @abstractmethod
    def calibrated(self) -> bool:
        """Whether it needs calibration text, given its options."""

    @abstractmethod
    def check(self, job: QuantizeJob) -> int:
        """Check, before any slow work, that the model can be quantized with these options.

        Returns:
            Upper bound of the size of all tensors in bytes; the written file is checked against it.

        Raises:
            UserError: it cannot be quantized, or the extra is missing.
        """

    @abstractmethod
    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        """Write the quantized model.

        Args:
            job: the model.
            folder: an empty folder, for `WEIGHTS` or all files that transformers needs.
            advance: called with the progress of the watcher's current stage.
        """

    def verify(self, job: QuantizeJob, folder: Path) -> dict[str, float]:
        """Read back and check the result; overridden by methods that do not write a GGUF.

        Returns:
            Measured values and tolerances by name, among them ``tensor_bytes``, which is compared
            with the bound returned by `check`.

        Raises:
            UserError: a check failed.
        """
        from galenic.compression.quantize.verify import verify_gguf

        return verify_gguf(job, folder / WEIGHTS)
