"""Many requests as one token tree, so that what they share is computed once.

A request asks for the log-probability of a continuation after a context. Requests about one
question share most of their tokens: every option follows the same stem, the 4- and 5-option forms
share the vignette, few-shot examples stand before all of them. A `Pack` lays such requests out as
one flat run of rows without padding, where each row knows the row before it. Runtimes compute the
rows once and read only the next-token distributions that a score needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pack", "Request", "build_pack", "common_prefix_length", "sum_by_request"]


@dataclass(frozen=True)
class Request:
    """Score ``tokens[start:]`` after ``tokens[:start]``; ``1 <= start < len(tokens)``.

    ``cut`` tokens of the text were left out because they did not fit.
    """

    tokens: tuple[int, ...]
    start: int
    cut: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise ValueError(f"start {self.start} must be in [1, {len(self.tokens)})")


@dataclass(frozen=True)
class Pack:
    """A forest of token paths after one shared prefix.

    Attributes:
        prefix: tokens before every path; the runtime may keep their state between packs.
        tokens: the token of each row, shape (n,).
        parents: the row before each row; -1 = the prefix's end, shape (n,). Rows stand in
            depth-first order: a parent before its children, a subtree in one run.
        read_rows: the row whose next-token distribution each read looks at, shape (p,).
        read_tokens: the token whose log-probability each read wants, shape (p,).
        read_requests: the request each read belongs to, shape (p,).
        num_requests: how many requests the reads add up to.
        num_asked: tokens a runtime without sharing would have computed for them.
    """

    prefix: tuple[int, ...]
    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    read_rows: NDArray[np.int32]
    read_tokens: NDArray[np.int32]
    read_requests: NDArray[np.int32]
    num_requests: int
    num_asked: int

    @cached_property
    def positions(self) -> NDArray[np.int32]:
        """Place of each row in its own text, counted from the prefix's first token, shape (n,)."""
        positions = np.empty(len(self.tokens), dtype=np.int32)
        for row, parent in enumerate(self.parents):
            positions[row] = len(self.prefix) if parent < 0 else positions[parent] + 1
        return positions

    @cached_property
    def trees(self) -> tuple[tuple[int, int], ...]:
        """Row ranges [start, end) of the separate trees: no row looks outside its own range."""
        roots = [int(row) for row in np.flatnonzero(self.parents < 0)]
        return tuple(zip(roots, [*roots[1:], len(self.tokens)], strict=True))

    @cached_property
    def leaves(self) -> tuple[tuple[int, ...], ...]:
        """For each row the indices of the paths that run through it; a path ends in a leaf row."""
        through: list[list[int]] = [[] for _ in self.tokens]
        has_child = np.zeros(len(self.tokens), dtype=bool)
        has_child[self.parents[self.parents >= 0]] = True
        for leaf, end in enumerate(np.flatnonzero(~has_child)):
            row = int(end)
            while row >= 0:
                through[row].append(leaf)
                row = int(self.parents[row])
        return tuple(tuple(paths) for paths in through)

    @property
    def num_leaves(self) -> int:
        """How many paths the forest has."""
        return 1 + max((path for paths in self.leaves for path in paths), default=-1)

    def path(self, row: int) -> list[int]:
        """All tokens from the prefix's first to the given row's own."""
        tail: list[int] = []
        while row >= 0:
            tail.append(int(self.tokens[row]))
            row = int(self.parents[row])
        return [*self.prefix, *reversed(tail)]


def common_prefix_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest run of tokens that all sequences begin with; 0 for none."""
    if not sequences:
        return 0
    low, high = min(sequences), max(sequences)  # all others lie between these two
    length = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        length += 1
    return length


def build_pack(requests: Sequence[Request], prefix: tuple[int, ...] = ()) -> Pack:
    """Lay requests out as one forest.

    The last token of a request is read but never computed: no score looks behind it.

    Args:
        requests: at least one; each must begin with ``prefix`` and have at least one context
            token after it, so that no read falls on the prefix itself.
        prefix: tokens shared by all requests.
    """
    rows: list[int] = []
    parents: list[int] = []
    reads: list[tuple[int, int, int]] = []
    children: dict[tuple[int, int], int] = {}
    asked = 0
    for number, request in enumerate(requests):
        if request.tokens[: len(prefix)] != prefix or request.start <= len(prefix):
            raise ValueError(f"request {number} does not continue the prefix")
        asked += len(request.tokens)
        row = -1
        for position in range(len(prefix), len(request.tokens) - 1):
            key = (row, request.tokens[position])
            if key not in children:
                children[key] = len(rows)
                rows.append(key[1])
                parents.append(row)
            row = children[key]
            if position + 1 >= request.start:
                reads.append((row, request.tokens[position + 1], number))
    order = _depth_first(parents)
    place = np.empty(len(order) + 1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    place[-1] = -1  # the parent of a root stays -1
    read = np.array(reads, dtype=np.int32).reshape(-1, 3)
    return Pack(
        prefix=prefix,
        tokens=np.array(rows, dtype=np.int32)[order],
        parents=place[np.array(parents, dtype=np.int32)[order]],
        read_rows=place[read[:, 0]],
        read_tokens=read[:, 1],
        read_requests=read[:, 2],
        num_requests=len(requests),
        num_asked=asked,
    )


def _depth_first(parents: Sequence[int]) -> NDArray[np.int64]:
    """Rows in depth-first order, siblings as they came: each subtree is then one run of rows."""
    children: list[list[int]] = [[] for _ in range(len(parents) + 1)]
    for row, parent in enumerate(parents):
        children[parent].append(row)  # -1, the roots' parent, is the last list
    order: list[int] = []
    waiting = list(reversed(children[-1]))
    while waiting:
        row = waiting.pop()
        order.append(row)
        waiting.extend(reversed(children[row]))
    return np.array(order, dtype=np.int64)


def sum_by_request(pack: Pack, logprobs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the reads of each request up: log-likelihoods in nats, shape (num_requests,)."""
    totals = np.zeros(pack.num_requests, dtype=np.float64)
    np.add.at(totals, pack.read_requests, logprobs)
    return totals
