"""Token-by-token text generation, shared by all engines that generate text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.base import Generation, Writing

__all__ = ["Writer", "choose", "log_softmax", "write"]


@dataclass(frozen=True)
class Writer:
    """Functions of an engine that has processed a prompt.

    Attributes:
        step: appends a chosen token and returns the logits after it, shape (vocab,).
        whole: text of tokens without an incomplete last character, while more tokens may follow.
        last: text of tokens when no more follow.
        ends: whether a token ends the text.
    """

    step: Callable[[int], NDArray[np.float32]]
    whole: Callable[[Sequence[int]], str]
    last: Callable[[Sequence[int]], str]
    ends: Callable[[int], bool]


def write(
    logits: NDArray[np.float32],
    writer: Writer,
    how: Writing,
    room: int,
    should_continue: Callable[[], bool],
) -> Generator[str, None, Generation]:
    """Generate a text; yields pieces as soon as no stop string can change them any more.

    Args:
        logits: logits after the prompt, shape (vocab,).
        writer: functions of the engine.
        how: generation settings.
        room: maximum number of new tokens.
        should_continue: as in `Runtime.stream`.
    """
    chooser = np.random.default_rng(how.seed)
    waits = max(map(len, how.stop), default=1) - 1  # characters that may begin a stop string
    answer: list[int] = []
    text, given = "", 0
    while should_continue():
        allowed = logits if how.choices is None else how.choices.narrow(logits)
        token = choose(allowed, how.temperature, chooser, how.top_p)
        if how.watch is not None:
            how.watch(token, logits)
        ends = writer.ends(token)
        ended = (how.choices is not None and how.choices.take(token)) or ends
        if not ends:
            answer.append(token)
        full = len(answer) == room
        text = (writer.last if ended or full else writer.whole)(answer)
        cuts = [text.find(mark) for mark in how.stop if mark in text]
        if cuts:
            text, ended = text[: min(cuts)], True
        sure = len(text) if ended or full else len(text) - waits
        if sure > given:
            yield text[given:sure]
            given = sure
        if ended or full:
            return Generation(text, len(answer), finished=ended)
        logits = writer.step(token)
    return Generation(text[:given], len(answer), finished=False)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities in nats, shape (vocab,), computed in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def choose(
    logits: NDArray[np.float32], temperature: float, chooser: np.random.Generator, top_p: float = 1
) -> int:
    """Choose a token: the most likely one at temperature 0 (ties: lowest id), else sampled.

    With ``top_p`` below 1, only the most likely tokens that together reach this probability are
    sampled from (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751).

    Raises:
        UserError: a logit is NaN or the largest is infinite.
    """
    best = int(logits.argmax())  # index of a NaN, if there is one
    if not np.isfinite(logits[best]):
        raise UserError(
            "the model predicts values that are not finite: its weights are damaged, or too large "
            "for the type it is computed in."
        )
    if temperature == 0:
        return best
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= top_p]] = 0
        weights /= weights.sum()
    return int(chooser.choice(len(weights), p=weights))
