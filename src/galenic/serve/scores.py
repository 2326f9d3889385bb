"""Log-probabilities of prompts, token by token, as `galenic evaluate` computes them.

Harnesses send one prompt for each answer to a question: they share all but their ends. Prompts are
taken in the order of their tokens, so that what one shares with the one before is neither computed
nor read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.base import Runtime
from galenic.runtimes.tree import common_prefix_length

__all__ = ["Likely", "Scorer", "Scores", "likeliest"]


@dataclass(frozen=True)
class Likely:
    """One place of a text.

    Attributes:
        log_prob: of the token that is there, in nats.
        top: the likeliest tokens and their log-probabilities, the likeliest first.
    """

    log_prob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Scores:
    """A prompt.

    Attributes:
        tokens: those of the prompt.
        places: one for each token; None where nothing is before it.
        after: log-probabilities of what may follow, shape (vocabulary,).
    """

    tokens: tuple[int, ...]
    places: tuple[Likely | None, ...]
    after: NDArray[np.float64]


class Scorer:
    """Scores prompts in the model's thread; keeps the places of the last one.

    Args:
        runtime: the model.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last: Scores | None = None
        self._top = 0

    def score(
        self, prompts: Sequence[tuple[int, ...]], top: int, should_continue: Callable[[], bool]
    ) -> dict[tuple[int, ...], Scores]:
        """Scores by prompt.

        Args:
            prompts: tokens of each, at least one.
            top: how many of the likeliest tokens to name at each place.
            should_continue: asked between two prompts.

        Raises:
            UserError: a prompt is too long, or there was no time for all of them.
        """
        if top != self._top:
            self._last, self._top = None, top
        found: dict[tuple[int, ...], Scores] = {}
        for prompt in sorted(set(prompts)):
            if not should_continue():
                raise UserError(
                    "the prompts take longer than this server allows (--max-seconds); send fewer "
                    "at once, or start it with more"
                )
            self._last = found[prompt] = self._one(prompt)
        return found

    def _one(self, prompt: tuple[int, ...]) -> Scores:
        longest = self._runtime.info.context_length
        if not 1 <= len(prompt) <= longest:
            raise UserError(f"a prompt has {len(prompt)} tokens; 1 to {longest} are taken")
        known: tuple[Likely | None, ...] = (None,)
        if self._last is not None:
            shared = common_prefix_length([self._last.tokens, prompt])
            known = self._last.places[:shared] or known
        places, rest = list(known), prompt[len(known) :]
        rows = self._runtime.follow(prompt, len(known) - 1)
        for token in rest:
            row = next(rows)
            places.append(Likely(float(row[token]), likeliest(row, self._top)))
        return Scores(prompt, tuple(places), next(rows))


def likeliest(row: NDArray[np.float64], top: int) -> tuple[tuple[int, float], ...]:
    """The tokens of the highest log-probabilities, the lowest token of equals first."""
    if top == 0:
        return ()
    if top == 1:
        first = int(row.argmax())
        return ((first, float(row[first])),)
    high = np.flatnonzero(row >= np.partition(row, -top)[-top])
    order = sorted(high.tolist(), key=lambda token: (-row[token], token))[:top]
    return tuple((token, float(row[token])) for token in order)
