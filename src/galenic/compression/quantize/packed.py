"""Base class of the bitsandbytes methods, which write a transformers folder with packed weights.

Only the linear layers of the blocks are quantized. Embedding, head and norms keep ``dtype``, which
makes up most of the file for a small model with a large vocabulary.

Format: https://huggingface.co/docs/transformers/quantization/bitsandbytes
"""

from __future__ import annotations

import math
import shutil
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from galenic.compression.quantize.base import Quantizer
from galenic.compression.quantize.job import QuantizeJob
from galenic.errors import UserError
from galenic.models.tensors import StoredTensor

__all__ = ["TOLERANCE", "PackedQuantizer"]

TOLERANCE = 1e-3
"""Largest accepted difference of logits between the model in memory and the one read back,
relative to the largest logit. They hold the same bytes; only the order of sums may differ."""
CHECKED_TOKENS = 32
LARGEST_HALF = 65504.0


class PackedQuantizer(Quantizer):
    """Quantization of the blocks' linear layers to a data type of bitsandbytes."""

    extra = "bnb"
    tunable = False
    through_half: ClassVar[bool] = False
    """Whether bitsandbytes converts weights to float16 before quantizing, whatever ``dtype`` is."""

    dtype: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="Data type of what is not quantized: embedding, head, norms, biases."
    )
    _expected: Any = PrivateAttr(default=None)

    @property
    def calibrated(self) -> bool:
        return False

    @abstractmethod
    def packed_bytes(self, outputs: int, inputs: int) -> int:
        """Upper bound of the bytes of a weight of this shape, including scales and metadata."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Arguments for transformers' ``BitsAndBytesConfig``."""

    def require(self) -> None:
        from galenic.models.packing.bitsandbytes import require_bitsandbytes

        require_bitsandbytes()

    def check(self, job: QuantizeJob) -> int:
        import torch

        quantized = _quantized(job)
        width = getattr(torch, self.dtype).itemsize
        promised = 0
        for name, tensor in job.checkpoint.tensors.items():
            halved = self.dtype == "float16" or (self.through_half and name in quantized)
            if halved and isinstance(tensor, StoredTensor):  # always: experts were refused
                _check_half(tensor)
            if name in quantized:
                promised += self.packed_bytes(*tensor.shape)
            else:
                promised += math.prod(tensor.shape) * width
        return promised

    def notes(self, job: QuantizeJob) -> tuple[str, ...]:
        import torch

        quantized = _quantized(job)
        rest = sum(
            math.prod(tensor.shape)
            for name, tensor in job.checkpoint.tensors.items()
            if name not in quantized
        )
        size = rest * getattr(torch, self.dtype).itemsize
        return (
            "for the torch runtime: llama.cpp cannot read it",
            f"embedding, head, norms and biases are not quantized: {rest:,} weights, {size:,} "
            f"bytes in {self.dtype}",
        )

    def apply(self, job: QuantizeJob, folder: Path, advance: Callable[[int], None]) -> None:  # noqa: ARG002
        from galenic.models.quiet import quiet_transformers
        from galenic.models.save import LICENCE_FILES, TOKENIZER_FILES

        job.watcher.stage(f"quantizing with {self.name}")
        model = _load(
            job.checkpoint.folder, self.dtype, quantization_config=_config(self.settings())
        )
        job.watcher.stage("writing")
        with quiet_transformers():
            model.save_pretrained(folder)
        for pattern in (*TOKENIZER_FILES, *LICENCE_FILES):
            for file in sorted(job.checkpoint.folder.glob(pattern)):
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)
        self._expected = _logits(model)

    def verify(self, job: QuantizeJob, folder: Path) -> dict[str, float]:  # noqa: ARG002
        from galenic.compression.quantize.verify import failed
        from galenic.models.folder import check_folder
        from galenic.models.tensors import list_tensors

        tensors = list_tensors(check_folder(folder))
        for tensor in tensors.values():
            _check_finite(tensor)
        found = _logits(_load(folder, "float32"))
        expected, self._expected = self._expected, None
        difference = float((found - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:  # also true for NaN
            raise failed(
                f"its logits differ by {difference:.2g} of the largest from those in memory"
            )
        return {
            "tensor_bytes": float(sum(tensor.num_bytes for tensor in tensors.values())),
            "logit_difference": difference,
            "tolerance": TOLERANCE,
        }


def _quantized(job: QuantizeJob) -> set[str]:
    """Names of the weights that are quantized."""
    shapes = job.checkpoint.shapes
    packed = {id(linear.module) for block in shapes.blocks for linear in block.linears.values()}
    names = {name for name, module in shapes.model.named_modules() if id(module) in packed}
    return {f"{name}.weight" for name in names}


def _check_half(tensor: StoredTensor) -> None:
    import numpy as np

    largest = float(np.abs(tensor.decode(tensor.map())).max())
    if not largest <= LARGEST_HALF:  # also true for NaN
        raise UserError(
            f"{tensor.name} holds {largest:g}, which float16 cannot: at most {LARGEST_HALF:g}. "
            "--dtype bfloat16 helps where the tensor is not quantized itself, and with nf4."
        )


def _check_finite(tensor: StoredTensor) -> None:
    import numpy as np

    from galenic.compression.quantize.verify import failed

    if tensor.is_floating and not np.isfinite(tensor.decode(tensor.map())).all():
        raise failed(f"{tensor.name} holds values that are not finite")


def _config(settings: dict[str, Any]) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**settings, llm_int8_skip_modules=["lm_head"])


def _load(folder: Path, dtype: str, **others: Any) -> Any:
    import torch
    import transformers

    from galenic.models.quiet import quiet_transformers

    with quiet_transformers():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), device_map={"": "cpu"}, **others
        )
    return model.eval()


def _logits(model: Any) -> Any:
    """Logits for a few fixed tokens, the same for all models with this vocabulary size."""
    import torch

    from galenic.models.packing.bitsandbytes import cast_rest_

    generator = torch.Generator().manual_seed(0)
    cast_rest_(model, torch.float32)  # as the runtime does
    vocabulary = model.get_input_embeddings().weight.shape[0]
    tokens = torch.randint(vocabulary, (1, CHECKED_TOKENS), generator=generator)
    with torch.inference_mode():
        return model(input_ids=tokens, use_cache=False).logits.float()
