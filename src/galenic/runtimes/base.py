"""Interface of all engines: ``loglikelihood`` and ``generate``; `Runtime.score` is the core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.runtimes.tree import Pack, Request, build_pack, sum_by_request

__all__ = [
    "LOWEST_TEMPERATURE",
    "Choices",
    "Generation",
    "Runtime",
    "RuntimeInfo",
    "TokenEncoder",
    "Writing",
    "check_room",
    "encode_request",
    "encode_requests",
]


LOWEST_TEMPERATURE = 0.001
"""Smallest sampling temperature other than 0; logits divided by less may overflow."""


@dataclass(frozen=True)
class RuntimeInfo:
    """Engine, model and settings of a run, so that it can be reproduced.

    Attributes:
        runtime: registry name of the engine.
        engine: library and version, for example ``"transformers 5.23.0, torch 2.13.0"``.
        model: the model as the user named it.
        sha256: hash of the weights, see `galenic.models.files.ModelFiles`.
        architecture: as stated by the model file, for example ``"llama"``.
        num_parameters: all parameters, embeddings included.
        weights: type of the weights during computation, for example ``"Q4_1"`` or ``"float32"``.
        context_length: longest accepted text in tokens.
        num_threads: number of compute threads.
    """

    runtime: str
    engine: str
    model: str
    sha256: str
    architecture: str
    num_parameters: int
    weights: str
    context_length: int
    num_threads: int


@dataclass(frozen=True)
class Generation:
    """A generated text; ``finished`` is False if it was cut off (token limit, interruption)."""

    text: str
    num_tokens: int
    finished: bool


class Choices(Protocol):
    """Constrains which tokens may follow (constrained decoding)."""

    def narrow(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits with disallowed tokens set to minus infinity, shape (vocab,)."""

    def take(self, token: int) -> bool:
        """Advance by the chosen token; returns whether the text is complete with it."""


@dataclass(frozen=True)
class Writing:
    """Settings of text generation.

    Attributes:
        max_tokens: maximum number of new tokens.
        stop: strings that end the answer; they are not part of it.
        temperature: 0 for greedy decoding, otherwise at least `LOWEST_TEMPERATURE`.
        top_p: nucleus sampling: total probability of the most likely tokens to draw from; 1 for all
            tokens.
        seed: seed of the sampler; same input and seed give the same text.
        choices: constraint on the tokens, good for one text only; None for none.
        watch: called with each chosen token and the model's logits for it, shape (vocab,).

    Raises:
        UserError: a value is out of range.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    choices: Choices | None = None
    watch: Callable[[int, NDArray[np.float32]], None] | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or "" in self.stop or not 0 < self.top_p <= 1:
            raise UserError("generate needs max_tokens >= 1, 0 < top_p <= 1, no empty stop text")
        if self.temperature != 0 and not self.temperature >= LOWEST_TEMPERATURE:
            raise UserError(f"generate needs a temperature of 0 or at least {LOWEST_TEMPERATURE}")


class TokenEncoder(Protocol):
    """Anything that turns texts into a model's token ids."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; see `Runtime.encode_batch`."""


class Runtime(ABC):
    """A model loaded by an engine. Not thread-safe; close it when done."""

    name: ClassVar[str]
    info: RuntimeInfo
    scorings: ClassVar[tuple[str, ...]] = ("letter", "text", "text_per_byte", "generate")
    """Registry names of the scorings that this engine supports."""
    pack_tokens: ClassVar[int] = 1024
    """Target number of rows of a pack, at which this engine is fastest."""
    max_leaves: ClassVar[int] = 1 << 30
    """Maximum number of paths in a pack."""
    dtypes: ClassVar[tuple[str, ...]] = ()
    """Allowed values of the ``dtype`` argument; if empty, the engine takes no such argument."""
    converts: ClassVar[tuple[str, ...]] = ()
    """Kinds of model files (`ModelFiles.kind`) that must be converted before loading."""

    @classmethod
    def convert(cls, model: ModelFiles) -> None:
        """Convert a model of a kind in ``converts`` ahead of time; loading also does it if needed.

        Raises:
            UserError: the model cannot be converted.
        """
        raise NotImplementedError(f"the {cls.name} runtime loads {model.kind} as it is")

    @property
    @abstractmethod
    def chat_template(self) -> str | None:
        """The model's Jinja chat template, or None."""

    @property
    @abstractmethod
    def special_tokens(self) -> dict[str, str]:
        """Special tokens that chat templates use, by name (``bos_token``, ``eos_token``, ...).

        Only those that the model has.
        """

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Control tokens, which stand for no text, such as ``<|im_end|>``.

        They are recognised in prompts, except in parts marked by `galenic.runtimes.literal`.
        """
        return tuple(self.special_tokens.values())

    @property
    @abstractmethod
    def end_tokens(self) -> tuple[int, ...]:
        """Ids of the tokens that end generation."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; special tokens spelled out in the text are recognised.

        The start token is added where the model's tokenizer does so.
        """

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""

    @abstractmethod
    def vocabulary(self) -> list[str | None]:
        """Vocabulary entry of every token id; None for ids without one.

        The length equals the last axis of `log_probs`. Entries are the same for a GGUF and a
        folder.
        """

    @abstractmethod
    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Log-probability in nats of each read of the pack, shape (p,), in the pack's order.

        For an encoder: the head's score of the whole text that ends with the read's token.
        """

    @abstractmethod
    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities in nats of every next token along one text.

        Args:
            tokens: the text from its start token on; at least one token.

        Returns:
            shape (len(tokens), vocabulary): row i is ``log p(. | tokens[: i + 1])``.

        Raises:
            ValueError: ``tokens`` is empty or longer than the context.
        """

    @abstractmethod
    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:
        """Time from the call to each of exactly ``num_tokens`` new tokens, in seconds.

        Continues the prompt greedily, as `generate` does, but does not stop at an end token.

        Raises:
            UserError: the prompt and the new tokens do not fit into the context.
        """

    def generate(self, prompt: str, how: Writing | None = None) -> Generation:
        """Continue the prompt.

        Args:
            prompt: text, with the chat template already applied if one is wanted.
            how: generation settings; default settings (greedy) if None.

        Raises:
            UserError: as `stream`.
        """
        pieces = self.stream(prompt, how or Writing())
        while True:
            try:
                next(pieces)
            except StopIteration as done:
                found: Generation = done.value
                return found

    @abstractmethod
    def stream(
        self,
        prompt: str | Sequence[int],
        how: Writing,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Generator[str, None, Generation]:
        """Continue the prompt, yielding text in pieces of whole characters.

        The pieces add up to the text of the `Generation` that the generator returns.

        Args:
            prompt: as in `generate`, or its token ids.
            how: generation settings.
            should_continue: called repeatedly; when it returns False, generation stops, unfinished.

        Raises:
            UserError: the prompt is empty or leaves no room for an answer in the context.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model. May be called more than once."""

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float64]]:
        """Log-probabilities in nats of every next token along one text, one position at a time.

        An engine may reuse the tokens that the text shares with the previous one.

        Args:
            tokens: the text from its start token on; at least one token.
            first: first position to yield, in [0, len(tokens)).

        Yields:
            ``log p(. | tokens[: i + 1])`` for i from ``first`` on, shape (vocabulary,).

        Raises:
            ValueError: as `log_probs`.
        """
        for row in self.log_probs(tokens)[first:]:
            yield row.astype(np.float64)

    def after(self, tokens: Sequence[int], ends: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        """Log-probabilities in nats of every next token after a text and each of several ends.

        An engine may compute the ends together.

        Args:
            tokens: the text from its start token on; at least one token.
            ends: single tokens that may follow it.

        Yields:
            ``log p(. | tokens, end)`` for each end, shape (vocabulary,).

        Raises:
            ValueError: as `log_probs`.
        """
        for end in ends:
            yield from self.follow((*tokens, end), len(tokens))

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Request]:
        """Encode (context, continuation) pairs as requests; see `encode_requests`.

        An encoder joins the two texts with its own special tokens and truncates them to fit.
        """
        return encode_requests(self, pairs)

    def num_computed(self, pack: Pack) -> int:
        """Number of tokens that this engine computes for a pack; shared tokens count once."""
        return len(pack.tokens)

    def loglikelihood(self, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Log-probability in nats of each continuation after the prefix, summed over its tokens."""
        pack = build_pack([encode_request(self, prefix, text) for text in continuations])
        return [float(value) for value in sum_by_request(pack, self.score(pack))]

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_room(num_prompt: int, num_new: int, context_length: int) -> None:
    """Check that a prompt and the new tokens fit into the context.

    Raises:
        UserError: the prompt is empty, or they do not fit.
    """
    if num_prompt < 1 or num_prompt + num_new > context_length:
        raise UserError(
            f"the prompt has {num_prompt} tokens and {num_new} more were asked for; it needs at "
            f"least 1, and this model takes {context_length} in all. Shorten one of the two."
        )


def encode_request(runtime: TokenEncoder, context: str, continuation: str) -> Request:
    """Encode one (context, continuation) pair; see `encode_requests`."""
    return encode_requests(runtime, [(context, continuation)])[0]


def encode_requests(runtime: TokenEncoder, pairs: Sequence[tuple[str, str]]) -> list[Request]:
    """Encode (context, continuation) pairs.

    Context and continuation are encoded together, so that the tokens are those of running text.
    Scoring starts at the first token that differs from the context encoded alone. White space at
    the end of a context belongs to the continuation, because tokenizers attach it to the next word.
    """
    contexts = sorted({context.rstrip() for context, _ in pairs})
    wholes = [context + continuation for context, continuation in pairs]
    alone = dict(zip(contexts, runtime.encode_batch(contexts), strict=True))
    requests = []
    for (context, _), tokens in zip(pairs, runtime.encode_batch(wholes), strict=True):
        before = alone[context.rstrip()]
        shared = 0
        for a, b in zip(before, tokens, strict=False):
            if a != b:
                break
            shared += 1
        requests.append(Request(tuple(tokens), min(shared, len(tokens) - 1)))
    return requests
