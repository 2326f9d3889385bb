"""A quantization job: the model and the calibration text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from galenic.compression.quantize.config import QuantizeConfig
from galenic.data.calibration import CalibrationText
from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.watcher import Watcher

if TYPE_CHECKING:
    from galenic.models.checkpoint import Checkpoint
    from galenic.models.gguf.write import GgufSource
    from galenic.models.layers import ParameterCounts

__all__ = [
    "QuantizeJob",
]

HELDOUT, FEWEST_HELDOUT = 16, 2
"""Maximum and minimum number of held-out sequences used to evaluate tuning."""


@dataclass(frozen=True)
class QuantizeJob:
    """A model to be quantized; its parts are loaded on first access.

    Attributes:
        config: the model and the calibration text.
        files: the model on disk.
        texts: calibration text; empty unless the method is ``calibrated`` or the result is tuned.
        watcher: reports progress; methods may start stages of their own.
        heldout: text from other documents, to evaluate tuning.
    """

    config: QuantizeConfig
    files: ModelFiles
    texts: tuple[CalibrationText, ...]
    watcher: Watcher
    heldout: tuple[CalibrationText, ...] = ()

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The model as a transformers checkpoint (for a GGUF, a dequantized copy)."""
        from galenic.models.opened import open_model

        return open_model(self.files)

    @cached_property
    def has_experts(self) -> bool:
        """Whether it is a mixture-of-experts model."""
        from galenic.models.families import EXPERTS

        return self.checkpoint.shapes.family in EXPERTS

    @cached_property
    def counts(self) -> ParameterCounts:
        """Parameter counts of the model."""
        from galenic.models.layers import count_parameters

        return count_parameters(self.checkpoint.shapes)

    @cached_property
    def source(self) -> GgufSource:
        """All tensors in float32 by GGUF name, and the GGUF metadata."""
        from galenic.compression.quantize.kquant import model_source

        return model_source(self.files)

    @cached_property
    def tokens(self) -> Any:
        """Token ids of the calibration text, shape (num_samples, seq_len).

        Raises:
            UserError: there is too little text, or the sequences are too long for the model.
        """
        from galenic.compression.blocks.tokens import as_tensor, pack_tokens

        return as_tensor(pack_tokens(self.config, self.texts, self.checkpoint))

    @cached_property
    def heldout_tokens(self) -> Any:
        """Token ids of the held-out text, with fewer sequences if there is little text.

        Raises:
            UserError: there is not enough text for two sequences.
        """
        from galenic.compression.blocks.tokens import as_tensor, pack_tokens

        count = HELDOUT
        while True:
            config = self.config.model_copy(update={"num_samples": count})
            try:
                return as_tensor(pack_tokens(config, self.heldout, self.checkpoint))
            except UserError:
                if count <= FEWEST_HELDOUT:
                    raise
                count //= 2
