"""The `encoder` runtime: an encoder with a multiple-choice head, run by transformers.

It supports one scoring, ``head``: a request is a pair of text and option, and its single read is
the head's score. Attention is bidirectional, so pairs share no computation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.encoders.encoder import load_encoder
from galenic.models.files import ModelFiles
from galenic.runtimes.base import Generation, Runtime, RuntimeInfo, Writing
from galenic.runtimes.threads import choose_threads
from galenic.runtimes.tree import Pack, Request

__all__ = ["EncoderRuntime"]

BATCH_TOKENS = 2048
"""Maximum tokens of a batch, padding included."""


class EncoderRuntime(Runtime):
    """An encoder with a multiple-choice head, run by PyTorch in float32.

    Args:
        model: a folder written by `galenic encoder` or transformers.
        threads: compute threads; None chooses them by the current load.
        context_length: maximum tokens of a pair; None uses the model's own limit.
    """

    name = "encoder"
    scorings = ("head",)
    pack_tokens = 512  # rows count shared tokens once, but an encoder computes them for each pair

    def __init__(
        self, model: ModelFiles, *, threads: int | None = None, context_length: int | None = None
    ) -> None:
        num_threads = threads or choose_threads()
        torch.set_num_threads(num_threads)
        self._encoder = load_encoder(model, longest=context_length)
        module = self._encoder.model
        self.info = RuntimeInfo(
            runtime=self.name,
            engine=f"transformers {transformers.__version__}, torch {torch.__version__}",
            model=model.name,
            sha256=model.sha256,
            architecture=str(module.config.model_type),
            num_parameters=int(module.num_parameters()),
            weights="float32",
            context_length=self._encoder.pairs.longest,
            num_threads=num_threads,
        )

    @property
    def chat_template(self) -> str | None:
        return None

    @property
    def special_tokens(self) -> dict[str, str]:
        return {}

    @property
    def end_tokens(self) -> tuple[int, ...]:
        return ()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self._encoder.pairs.tokenizer
        return [list(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Request]:
        found = self._encoder.pairs.encode(pairs)
        return [Request(pair.tokens, len(pair.tokens) - 1, pair.cut) for pair in found]

    def decode(self, tokens: Sequence[int]) -> str:
        tokenizer = self._encoder.pairs.tokenizer
        return str(tokenizer.decode(list(tokens), skip_special_tokens=True))

    def vocabulary(self) -> list[str | None]:
        tokenizer = self._encoder.pairs.tokenizer
        return list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))

    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Score of the head for the whole pair that ends with each read's token, shape (p,)."""
        reads = zip(pack.read_rows.tolist(), pack.read_tokens.tolist(), strict=True)
        pairs = [(*pack.path(row), token) for row, token in reads]
        values = np.empty(len(pairs), dtype=np.float64)
        with torch.inference_mode():
            for batch in _by_length([len(pair) for pair in pairs]):
                scores = self._encoder.scores([pairs[number] for number in batch])
                values[batch] = scores.double().numpy()
        return values

    def num_computed(self, pack: Pack) -> int:
        return int((pack.positions[pack.read_rows] + 2).sum())

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:  # noqa: ARG002
        raise self._writes_nothing()

    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:  # noqa: ARG002
        raise self._writes_nothing()

    def stream(
        self,
        prompt: str | Sequence[int],  # noqa: ARG002
        how: Writing,  # noqa: ARG002
        should_continue: Callable[[], bool] = lambda: True,  # noqa: ARG002
    ) -> Generator[str, None, Generation]:
        raise self._writes_nothing()

    def close(self) -> None:
        self._encoder = None  # type: ignore[assignment]

    def _writes_nothing(self) -> UserError:
        return UserError(
            f"{self.info.model} is an encoder with a multiple-choice head: it chooses among "
            "options and writes no text."
        )


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group indices of pairs into batches of similar length, of at most `BATCH_TOKENS` padded.

    A pair that is longer than that is a batch of its own.
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        width = lengths[batches[-1][0]] if batches else 0
        if batches and width * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
