"""A folder in transformers' own hands, to compare llama.cpp with: all of it in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.models.gguf.family import ModelShape
    from galenic.models.gguf.write import GgufSource, SourceTensor

__all__ = ["WholeModel"]


class WholeModel:
    """A model in float32.

    Args:
        folder: a Hugging Face model.
        types: type of each tensor of the GGUF that it is compared with.

    Raises:
        UserError: transformers cannot load it.
    """

    def __init__(self, folder: Path, types: Mapping[str, str]) -> None:
        import torch

        from galenic.models.configuration import read_configuration
        from galenic.models.weights import load_causal

        config = read_configuration(folder, str(folder))
        try:
            self.model: Any = load_causal(folder, config, str(folder), dtype=torch.float32).eval()
        except (ValueError, OSError, KeyError, ImportError, RuntimeError) as error:
            raise UserError(f"transformers cannot load {folder}: {error}") from error
        self.folder, self.types = folder, types

    def logits(self, tokens: Any) -> Any:
        """Shape (texts, length, vocab), float32, of tokens of shape (texts, length)."""
        import torch

        with torch.no_grad():
            return self.model(input_ids=tokens, use_cache=False).logits

    def gguf_name(self, name: str) -> str:
        """The GGUF name of a parameter; of an unknown family, of one of the usual type."""
        from galenic.models.gguf.names import gguf_name

        return self._usual if self._shape is None else gguf_name(self._shape, name)

    @cached_property
    def _shape(self) -> ModelShape | None:
        from galenic.models.folder import config_json
        from galenic.models.gguf.family import read_shape

        try:
            return read_shape(config_json(self.folder), str(self.folder))
        except UserError:
            return None

    @cached_property
    def _usual(self) -> str:
        [(usual, _)] = Counter(kind for kind in self.types.values() if kind != "F32").most_common(1)
        return next(name for name, kind in self.types.items() if kind == usual)

    def fill_(self, source: GgufSource) -> None:
        """Take every weight from a GGUF of the same model; experts are parts of one tensor there.

        Raises:
            UserError: it lacks one.
        """
        import torch

        stored = {tensor.name: tensor for tensor in source.tensors}
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name == "lm_head.weight" and "output.weight" not in stored:
                    continue  # it is the embedding
                parameter.copy_(torch.from_numpy(self._values(name, stored)))

    def _values(self, name: str, stored: Mapping[str, SourceTensor]) -> Any:
        from galenic.models.gguf.names import read_values

        if self._shape is None:
            raise UserError(f"{self.folder} is of an architecture that no GGUF is compared with.")
        return np.array(read_values(self._shape, name, stored), np.float32)
