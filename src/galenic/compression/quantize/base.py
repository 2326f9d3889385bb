"""What a quantization method is: a frozen class whose fields are its options."""

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
"""Name of the file that a method which makes a GGUF writes."""


class Quantizer(BaseModel, ABC):
    """A way of storing the weights of a model in fewer bits.

    Attributes:
        name: registry name.
        title: one line for people.
        reference_url: the paper, or the definition of the format.
        extra: of the package, which brings what the method needs; None without.
        tunable: whether it makes a GGUF, whose numbers can be tuned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    reference_url: ClassVar[str]
    extra: ClassVar[str | None] = None
    tunable: ClassVar[bool] = True

    @property
    def options(self) -> dict[str, Any]:
        """Every option with the value that is used, as JSON has it."""
        return self.model_dump(mode="json")

    def require(self) -> None:
        """Check that the packages are there which only this method needs.

        Raises:
            UserError: one is missing; names the extra.
        """

    def notes(self, job: QuantizeJob) -> tuple[str, ...]:  # noqa: ARG002
        """What people should know of the result."""
        return ()

    @property
    @abstractmethod
    def calibrated(self) -> bool:
        """Whether it needs calibration text, with its options as they are."""

    @abstractmethod
    def check(self, job: QuantizeJob) -> int:
        """Check, before any slow work, that the model can be quantized so.

        Returns:
            The most bytes that the tensors will take. What is written is held to it.

        Raises:
            UserError: it cannot, or the extra is missing.
        """

    @abstractmethod
    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:
        """Write the quantized model.

        Args:
            job: the model.
            folder: an empty folder: `WEIGHTS` goes into it, or all files that transformers needs.
            advance: told how much is done of the stage that the method began last.
        """

    def verify(self, job: QuantizeJob, folder: Path) -> dict[str, float]:
        """Read back what was written; methods that do not make a GGUF have their own way.

        Returns:
            What was checked, with the values found and the tolerances: among them
            ``tensor_bytes``, which is held against what `check` promised.

        Raises:
            UserError: something is not as it should be.
        """
        from galenic.compression.quantize.verify import verify_gguf

        return verify_gguf(job, folder / WEIGHTS)
