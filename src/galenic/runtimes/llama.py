"""Runs a GGUF model in this process through a prebuilt llama.cpp library."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.models.gguf.header import check_gguf, quantization_label
from galenic.runtimes.base import Generation, Runtime, RuntimeInfo, Writing, check_room
from galenic.runtimes.llama_context import MAX_LEAVES, Interrupted
from galenic.runtimes.llama_engine import LlamaEngine
from galenic.runtimes.llama_trial import check_loads
from galenic.runtimes.selftest import verified_library
from galenic.runtimes.threads import choose_threads
from galenic.runtimes.tree import Pack
from galenic.runtimes.writing import Writer, write

__all__ = ["LlamaRuntime"]


class LlamaRuntime(Runtime):
    """A GGUF model, run on the CPU.

    Args:
        model: a GGUF file.
        threads: compute threads; None uses the cores that other programs leave free.
        context_length: maximum length of a text in tokens; at most, and by default, the model's.

    Raises:
        UserError: the library is missing or fails its self-test, the file cannot be loaded, or an
            argument is out of range.
    """

    name = "llama"
    pack_tokens = 512  # does not affect speed, only the granularity of progress and resuming
    max_leaves = MAX_LEAVES

    def __init__(
        self, model: ModelFiles, *, threads: int | None = None, context_length: int | None = None
    ) -> None:
        for name, value in (("threads", threads), ("context_length", context_length)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1, or left out.")
        if model.kind != "gguf":
            raise UserError(
                f"{model.name} is a folder of weights; the llama runtime reads GGUF files. "
                "Use the torch runtime, or convert the model to GGUF."
            )
        library = verified_library()
        check_loads(library, model)
        self._engine = LlamaEngine(
            library, model.path, threads=threads or choose_threads(), adapter=model.adapter
        )
        if context_length is not None:
            self._engine.context_length = min(self._engine.context_length, context_length)
        self.info = RuntimeInfo(
            runtime=self.name,
            engine=f"llama.cpp {library.files.name} ({library.build})",
            model=model.name,
            sha256=model.sha256,
            architecture=self._engine.metadata("general.architecture") or "unknown",
            num_parameters=self._engine.num_parameters,
            weights=quantization_label(check_gguf(model.path))
            + (" + adapter" if model.adapter else ""),
            context_length=self._engine.context_length,
            num_threads=self._engine.threads,
        )

    @property
    def chat_template(self) -> str | None:
        """Jinja chat template of the GGUF file, or None."""
        return self._engine.chat_template

    @property
    def special_tokens(self) -> dict[str, str]:
        """``bos_token``, ``eos_token``, ``pad_token`` and ``unk_token`` of the file, if present."""
        return self._engine.special_tokens()

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """Control tokens of the vocabulary, as stored in the file."""
        return self._engine.control_tokens()

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """Ids of all tokens that llama.cpp treats as the end of generation."""
        size = self._engine.vocab_size
        return tuple(token for token in range(size) if self._engine.ends(token))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without the end token that the tokenizer may add."""
        return [self._engine.encode(text) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; incomplete characters become U+FFFD."""
        return self._engine.detokenize(tokens).decode(errors="replace")

    def vocabulary(self) -> list[str | None]:
        """Vocabulary entry of every token id, as stored in the file."""
        return list(self._engine.pieces())

    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Log-probability in nats of each read, shape (p,).

        Values are bit-identical to those of each request computed alone.

        Raises:
            ValueError: a tree has more than ``max_leaves`` paths, or a path exceeds the context.
        """
        return self._engine.score(pack)

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities of all next tokens, equal to those of `score`; see the base class."""
        return self._engine.log_probs(tokens)

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float64]]:
        """As `Runtime.follow`; values are bit-identical to those of `score`."""
        return self._engine.follow(tokens, first)

    def after(self, tokens: Sequence[int], ends: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        """As `Runtime.after`; values are bit-identical to those of `score`."""
        return self._engine.after(tokens, ends)

    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:
        """Seconds until each new token; see `Runtime.time_tokens`."""
        begun = time.perf_counter()
        tokens = self._engine.encode(prompt)
        self._engine.forget()
        check_room(len(tokens), num_tokens, self.info.context_length)
        times: list[float] = []
        answer: list[int] = []
        logits = self._engine.start(tokens, room=num_tokens)
        while True:
            answer.append(int(logits.argmax()))
            self._whole(answer)
            times.append(time.perf_counter() - begun)
            if len(times) == num_tokens:
                return times
            logits = self._engine.step(answer[-1], len(tokens) + len(answer) - 1)

    def stream(
        self,
        prompt: str | Sequence[int],
        how: Writing,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Generator[str, None, Generation]:
        """Continue the prompt piece by piece; see `Runtime.stream`.

        A full context ends the text as ``max_tokens`` does: ``finished`` is then False.
        """
        tokens = self._engine.encode(prompt) if isinstance(prompt, str) else list(prompt)
        room = self.info.context_length - len(tokens)
        if not tokens or room < 1:
            raise UserError(
                f"the prompt has {len(tokens)} tokens; it must have at least 1 and leave room for "
                f"an answer in a context of {self.info.context_length}. Change the prompt."
            )
        room = min(room, how.max_tokens)
        places = count(len(tokens))
        try:
            logits = self._engine.start(tokens, room=room, should_continue=should_continue)
        except Interrupted:
            return Generation("", 0, finished=False)
        writer = Writer(
            step=lambda token: self._engine.step(token, next(places)),
            whole=self._whole,
            last=self._whole,
            ends=self._engine.ends,
        )
        return (yield from write(logits, writer, how, room, should_continue))

    def close(self) -> None:
        """Free the model's memory. May be called more than once."""
        self._engine.close()

    def _whole(self, tokens: Sequence[int]) -> str:
        """Text of tokens without an incomplete last character, which a later token may complete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(self._engine.detokenize(tokens))
