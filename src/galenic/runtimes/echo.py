"""A runtime without a model, for tests: bytes are tokens and scores come from a hash of the path.

A score depends on the tokens before it and on nothing else, as in a real model, so plans, records
and resuming can be checked exactly and fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.models.load import ModelFiles
from galenic.runtimes.base import Generation, Runtime, RuntimeInfo
from galenic.runtimes.tree import Pack

__all__ = ["EchoRuntime"]


class EchoRuntime(Runtime):
    """Scores by hash; generates ``Answer: A``."""

    name = "echo"

    def __init__(self, model: ModelFiles, *, threads: int = 1) -> None:
        self.info = RuntimeInfo(
            runtime="echo",
            engine="echo",
            model=model.name,
            sha256=model.sha256,
            architecture="echo",
            num_parameters=0,
            weights="none",
            context_length=4096,
            num_threads=threads,
        )

    @property
    def chat_template(self) -> str | None:
        return "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"

    @property
    def special_tokens(self) -> dict[str, str]:
        return {}

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [[0, *text.encode()] for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token).decode(errors="replace")

    def score(self, pack: Pack) -> NDArray[np.float64]:
        values = np.empty(len(pack.read_rows), dtype=np.float64)
        for i, (row, token) in enumerate(zip(pack.read_rows, pack.read_tokens, strict=True)):
            path = np.array([*pack.path(int(row)), int(token)], dtype=np.int32)
            digest = hashlib.sha256(path.tobytes()).digest()
            values[i] = -(1 + int.from_bytes(digest[:4], "little") / 2**30)
        return values

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Generation:
        return Generation("Answer: A"[:max_tokens], num_tokens=min(9, max_tokens), finished=True)

    def close(self) -> None:
        """Nothing to free."""
