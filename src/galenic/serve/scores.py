"""Log-probabilities of prompt tokens, computed the same way as in `galenic evaluate`.

Evaluation harnesses send one prompt for each option of a question; these differ only at the end.
Prompts are scored in sorted order, so that the prefix shared with the previous prompt is not
computed again; those that differ in their last token only (letters) share all their batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.runtimes.base import Runtime
from galenic.runtimes.tree import common_prefix_length

__all__ = ["Likely", "Scorer", "Scores", "likeliest"]


@dataclass(frozen=True)
class Likely:
    """Scores at one token position.

    Attributes:
        log_prob: log-probability of the actual token, in nats.
        top: the most likely tokens and their log-probabilities, most likely first.
    """

    log_prob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Scores:
    """Scores of one prompt.

    Attributes:
        tokens: token ids of the prompt.
        places: one entry per token; None for the first, which has no context.
        after: log-probabilities of the next token, shape (vocabulary,).
    """

    tokens: tuple[int, ...]
    places: tuple[Likely | None, ...]
    after: NDArray[np.float64]


class Scorer:
    """Scores prompts; must be used in the model's thread. Caches the scores of the last prompt.

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
        """Return the scores of each prompt, keyed by the prompt.

        Args:
            prompts: token ids, at least one per prompt.
            top: number of most likely tokens to list at each position.
            should_continue: checked before each prompt; False stops the work.

        Raises:
            UserError: a prompt is too long, or ``should_continue`` returned False.
        """
        if top != self._top:
            self._last, self._top = None, top
        found: dict[tuple[int, ...], Scores] = {}
        longest = self._runtime.info.context_length
        for prompt in set(prompts):
            if not 1 <= len(prompt) <= longest:
                raise UserError(f"a prompt has {len(prompt)} tokens; 1 to {longest} are allowed")
        for _, alike in groupby(sorted(set(prompts)), key=lambda one: one[:-1]):
            if not should_continue():
                raise UserError(
                    "the prompts take longer than this server allows (--max-seconds); send fewer "
                    "at once, or start it with more"
                )
            group = list(alike)
            for one in self._several(group) if len(group) > 1 else [self._one(group[0])]:
                self._last = found[one.tokens] = one
        return found

    def _several(self, prompts: Sequence[tuple[int, ...]]) -> Iterator[Scores]:
        """Score prompts that differ in their last token only: its rows are computed together."""
        stem = prompts[0][:-1]
        if not stem:
            yield from map(self._one, prompts)
            return
        known = self._one(stem)
        rows = self._runtime.after(stem, [prompt[-1] for prompt in prompts])
        top = likeliest(known.after, self._top)
        for prompt, row in zip(prompts, rows, strict=True):
            last = Likely(float(known.after[prompt[-1]]), top)
            yield Scores(prompt, (*known.places, last), row)

    def _one(self, prompt: tuple[int, ...]) -> Scores:
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
    """Return the ``top`` most likely tokens with log-probabilities; ties go to the lower id."""
    if top == 0:
        return ()
    if top == 1:
        first = int(row.argmax())
        return ((first, float(row[first])),)
    high = np.flatnonzero(row >= np.partition(row, -top)[-top])
    order = sorted(high.tolist(), key=lambda token: (-row[token], token))[:top]
    return tuple((token, float(row[token])) for token in order)
