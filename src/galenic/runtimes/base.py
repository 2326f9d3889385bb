"""What every engine offers: ``loglikelihood`` and ``generate``, on one packed primitive."""

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
"""Above 0: below it logits divided by it overflow."""


@dataclass(frozen=True)
class RuntimeInfo:
    """What ran: everything a reader needs to run it again.

    Attributes:
        runtime: registry name of the engine.
        engine: library and version behind it, for example ``"transformers 5.23.0, torch 2.13.0"``.
        model: the model as the user named it.
        sha256: hash of the weights file (of all weight files, sorted, for a folder).
        architecture: as the model file states it, for example ``"llama"``.
        num_parameters: all parameters, embeddings included.
        weights: how the weights are held while computing, for example ``"Q4_1"`` or ``"float32"``.
        context_length: longest text in tokens that the model accepts here.
        num_threads: threads used.
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
    """A generated text. ``finished`` is False when ``max_tokens`` cut it."""

    text: str
    num_tokens: int
    finished: bool


class Choices(Protocol):
    """What narrows the tokens that may follow."""

    def narrow(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits, minus infinity for what cannot follow, shape (vocab,)."""

    def take(self, token: int) -> bool:
        """This token was chosen; whether the text is complete with it."""


@dataclass(frozen=True)
class Writing:
    """How a text is continued.

    Attributes:
        max_tokens: most new tokens.
        stop: texts that end the answer; they are not part of it.
        temperature: 0 = greedy, else `LOWEST_TEMPERATURE` or more.
        top_p: of the tokens, the likeliest whose share is this much together may be drawn; 1 = all.
        seed: of the sampler; same input and seed give the same text.
        choices: what narrows the choice of each token, used up by one text; None for all tokens.
        watch: told of each chosen token, and the logits that it was chosen from, shape (vocab,).

    Raises:
        UserError: one of them is out of range.
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
    """Whatever turns texts into tokens as a model is to see them."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """As `Runtime.encode_batch`."""


class Runtime(ABC):
    """One loaded model behind one engine. Not thread-safe; close it when done."""

    name: ClassVar[str]
    info: RuntimeInfo
    scorings: ClassVar[tuple[str, ...]] = ("letter", "text", "text_per_byte", "generate")
    """The scorings that this engine's models can be asked for, by registry name."""
    pack_tokens: ClassVar[int] = 1024
    """Rows per pack at which this engine is fastest; a planner aims at it."""
    max_leaves: ClassVar[int] = 1 << 30
    """Most separate paths a pack may have."""
    dtypes: ClassVar[tuple[str, ...]] = ()
    """What the argument ``dtype`` may be; an engine without any is not given one."""
    converts: ClassVar[tuple[str, ...]] = ()
    """Kinds of model files that `convert` must turn into something else before they load."""

    @classmethod
    def convert(cls, model: ModelFiles) -> None:
        """Convert a model of one of the kinds in ``converts``, once; loading would do it too.

        Raises:
            UserError: it cannot be converted.
        """
        raise NotImplementedError(f"the {cls.name} runtime loads {model.kind} as it is")

    @property
    @abstractmethod
    def chat_template(self) -> str | None:
        """The model's Jinja chat template, or None when it has none."""

    @property
    @abstractmethod
    def special_tokens(self) -> dict[str, str]:
        """Texts that chat templates name: ``bos_token``, ``eos_token`` (only those that exist)."""

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Texts of the tokens that steer the model and stand for no text, such as ``<|im_end|>``.

        In prompts they are recognised, but for parts marked by `galenic.runtimes.literal`.
        """
        return tuple(self.special_tokens.values())

    @property
    @abstractmethod
    def end_tokens(self) -> tuple[int, ...]:
        """Ids of the tokens that end a generated text."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; special tokens in the text are recognised.

        The model's own start token is put first where its tokenizer says so.
        """

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""

    @abstractmethod
    def vocabulary(self) -> list[str | None]:
        """The piece of every token id as the tokenizer spells it; None where it has none.

        As long as the last axis of `log_probs`. Spelling is the same in a GGUF and in a folder.
        """

    @abstractmethod
    def score(self, pack: Pack) -> NDArray[np.float64]:
        """Log-probability in nats of each read of the pack, shape (p,), in the pack's order.

        Of an encoder: its head's score of the whole text that ends with the read's token.
        """

    @abstractmethod
    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities in nats of every next token along one text.

        Args:
            tokens: the text from its start token on; at least one token.

        Returns:
            shape (len(tokens), vocabulary): row i is ``log p(. | tokens[: i + 1])``.

        Raises:
            ValueError: no token, or more than the context takes.
        """

    @abstractmethod
    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:
        """Seconds from the call until each of exactly ``num_tokens`` new tokens was there.

        Continues the prompt greedily on the path of `generate`, but does not stop at an end token.

        Raises:
            UserError: the prompt and the new tokens do not fit the context.
        """

    def generate(self, prompt: str, how: Writing | None = None) -> Generation:
        """Continue the prompt.

        Args:
            prompt: text, with the chat template already applied if one is wanted.
            how: how much and how; greedy without.

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
        """Continue the prompt piece by piece, whole characters at a time; the pieces together are
        the text of the `Generation` that is returned at the end.

        Args:
            prompt: as `generate` has it, or its tokens as the model is to see them.
            how: likewise.
            should_continue: asked now and then; where it says no, the text ends there, unfinished.

        Raises:
            UserError: the prompt is empty or leaves no room for an answer.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model. Safe to call twice."""

    def follow(self, tokens: Sequence[int], first: int) -> Iterator[NDArray[np.float64]]:
        """Log-probabilities in nats of every next token along one text, place by place.

        An engine that keeps what the text shares with the one before computes the rest alone.

        Args:
            tokens: the text from its start token on; at least one token.
            first: the place from which on they are wanted, in [0, len(tokens)).

        Yields:
            ``log p(. | tokens[: i + 1])`` for i from ``first`` on, shape (vocabulary,).

        Raises:
            ValueError: as `log_probs`.
        """
        for row in self.log_probs(tokens)[first:]:
            yield row.astype(np.float64)

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Request]:
        """Requests of (context, continuation) pairs; see `encode_requests`.

        An encoder joins the two texts with its own marks, and cuts what does not fit.
        """
        return encode_requests(self, pairs)

    def num_computed(self, pack: Pack) -> int:
        """Tokens that this engine computes for a pack: what texts share counts once."""
        return len(pack.tokens)

    def loglikelihood(self, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Log-probability in nats of each continuation after the prefix (sum over its tokens)."""
        pack = build_pack([encode_request(self, prefix, text) for text in continuations])
        return [float(value) for value in sum_by_request(pack, self.score(pack))]

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_room(num_prompt: int, num_new: int, context_length: int) -> None:
    """Check that a prompt and the tokens to come fit the context.

    Raises:
        UserError: they do not.
    """
    if num_prompt < 1 or num_prompt + num_new > context_length:
        raise UserError(
            f"the prompt has {num_prompt} tokens and {num_new} more were asked for; it needs at "
            f"least 1, and this model takes {context_length} in all. Shorten one of the two."
        )


def encode_request(runtime: TokenEncoder, context: str, continuation: str) -> Request:
    """Encode one request; see `encode_requests` for how the boundary is found."""
    return encode_requests(runtime, [(context, continuation)])[0]


def encode_requests(runtime: TokenEncoder, pairs: Sequence[tuple[str, str]]) -> list[Request]:
    """Encode (context, continuation) pairs.

    Context and continuation are encoded together, so that the tokens are those the model would see
    in running text; what differs from the context encoded alone is scored. White space at the end
    of a context belongs to the continuation, as tokenizers put it before the next word.
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
