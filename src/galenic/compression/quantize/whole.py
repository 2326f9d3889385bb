"""A transformers model loaded entirely into memory, as a reference for llama.cpp."""

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
    """A transformers model in float32.

    Args:
        folder: folder of a Hugging Face model.
        types: types of the tensors of the GGUF that it is compared with, by name.

    Raises:
        UserError: transformers cannot load the model.
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
        """Return float32 logits (texts, length, vocab) for tokens of shape (texts, length)."""
        import torch

        with torch.no_grad():
            return self.model(input_ids=tokens, use_cache=False).logits

    def gguf_name(self, name: str) -> str:
        """Return a parameter's GGUF name; for an unknown family, any tensor of the main type."""
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
        """Copy all weights, including those of experts, from a GGUF of the same model.

        Raises:
            UserError: a tensor is missing, or the architecture is unknown.
        """
        import torch

        from galenic.models.gguf.names import HEAD

        stored = {tensor.name: tensor for tensor in source.tensors}
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name == "lm_head.weight" and HEAD not in stored:
                    continue  # tied head
                parameter.copy_(torch.from_numpy(self._values(name, stored)))

    def _values(self, name: str, stored: Mapping[str, SourceTensor]) -> Any:
        from galenic.models.gguf.names import read_values

        if self._shape is None:
            raise UserError(
                f"{self.folder}: a GGUF of this architecture cannot be compared with it."
            )
        return np.array(read_values(self._shape, name, stored), np.float32)
