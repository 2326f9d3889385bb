"""A runtime without a model: bytes are tokens, scores come from a hash of the path.

A score depends on the tokens before it and on nothing else, as in a real model, so plans can be
checked exactly and fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.runtimes.base import Generation, Runtime, RuntimeInfo, Writing
from galenic.runtimes.tree import Pack

__all__ = ["EchoRuntime", "echo_logprob"]


def echo_logprob(path: Sequence[int], token: int) -> float:
    digest = hashlib.sha256(np.array([*path, token], dtype=np.int32).tobytes()).digest()
    return -(1 + int.from_bytes(digest[:4], "little") / 2**30)


class EchoRuntime(Runtime):
    name = "echo"
    pack_tokens = 1024

    def __init__(self, *, context_length: int = 4096, answer: str = "Answer: A") -> None:
        self.answer = answer
        self.packs: list[Pack] = []
        self.info = RuntimeInfo(
            runtime="echo",
            engine="echo",
            model="echo",
            sha256="0" * 64,
            architecture="echo",
            num_parameters=0,
            weights="none",
            context_length=context_length,
            num_threads=1,
        )

    @property
    def chat_template(self) -> str | None:
        return (
            "<s>{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}"
        )

    @property
    def special_tokens(self) -> dict[str, str]:
        return {"bos_token": "<s>"}

    @property
    def end_tokens(self) -> tuple[int, ...]:
        return (0,)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [[0, *text.encode()] for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token).decode(errors="replace")

    def score(self, pack: Pack) -> NDArray[np.float64]:
        self.packs.append(pack)
        reads = zip(pack.read_rows, pack.read_tokens, strict=True)
        return np.array([echo_logprob(pack.path(int(row)), int(token)) for row, token in reads])

    def vocabulary(self) -> list[str | None]:
        return [chr(0x100 + byte) for byte in range(256)]

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        rows = [
            [echo_logprob(tokens[: i + 1], new) for new in range(256)] for i in range(len(tokens))
        ]
        return np.array(rows, dtype=np.float32)

    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:
        return [0.5 + 0.1 * i for i in range(num_tokens)]

    def stream(
        self, prompt: str, how: Writing, should_continue: Callable[[], bool] = lambda: True
    ) -> Generator[str, None, Generation]:
        yield self.answer
        return Generation(self.answer, num_tokens=len(self.answer), finished=True)

    def close(self) -> None:
        self.packs.clear()
