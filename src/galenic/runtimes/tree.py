"""Merge many scoring requests into one token tree, so that shared tokens are computed once.

A request asks for the log-probability of a continuation after a context. Requests about one
question share most of their tokens: every option follows the same question, the 4- and 5-option
versions share the case description, few-shot examples precede all of them. A `Pack` stores such
requests as one flat list of rows (tokens) without padding, with the parent of each row. Runtimes
compute each row once and read only the next-token distributions that a score needs.
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

    ``cut`` is the number of tokens that were truncated because they did not fit.
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
        parents: the parent row of each row; -1 for the end of the prefix, shape (n,). Rows are in
            depth-first order: a parent before its children, each subtree contiguous.
        read_rows: the row whose next-token distribution each read uses, shape (p,).
        read_tokens: the token whose log-probability each read returns, shape (p,).
        read_requests: index of the request that each read belongs to, shape (p,).
        num_requests: number of requests.
        num_asked: number of tokens of all requests, i.e. without sharing.
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
        """Position of each row in its text, counted from the start of the prefix, shape (n,)."""
        positions = np.empty(len(self.tokens), dtype=np.int32)
        for row, parent in enumerate(self.parents):
            positions[row] = len(self.prefix) if parent < 0 else positions[parent] + 1
        return positions

    @cached_property
    def trees(self) -> tuple[tuple[int, int], ...]:
        """Row ranges [start, end) of the separate trees; rows only attend within their own tree."""
        roots = [int(row) for row in np.flatnonzero(self.parents < 0)]
        return tuple(zip(roots, [*roots[1:], len(self.tokens)], strict=True))

    @cached_property
    def leaves(self) -> tuple[tuple[int, ...], ...]:
        """For each row, the indices of the paths through it; each path ends in a leaf row."""
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
        """Number of paths of the forest."""
        return 1 + max((path for paths in self.leaves for path in paths), default=-1)

    def path(self, row: int) -> list[int]:
        """Tokens of the text up to the given row, including the prefix and the row's own token."""
        tail: list[int] = []
        while row >= 0:
            tail.append(int(self.tokens[row]))
            row = int(self.parents[row])
        return [*self.prefix, *reversed(tail)]


def common_prefix_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest common prefix of the sequences; 0 if there are none."""
    if not sequences:
        return 0
    low, high = min(sequences), max(sequences)  # in sorted order all others lie between these
    length = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        length += 1
    return length


def build_pack(requests: Sequence[Request], prefix: tuple[int, ...] = ()) -> Pack:
    """Merge requests into one forest.

    The last token of a request is scored but needs no row, because nothing is predicted after it.

    Args:
        requests: at least one; each must begin with ``prefix`` and have at least one context
            token after it, so that no read falls on the prefix itself.
        prefix: tokens shared by all requests.

    Raises:
        ValueError: a request does not meet this.
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
            key = (row, request.tokens[position])  # equal keys have equal texts from the root on
            if key not in children:
                children[key] = len(rows)
                rows.append(key[1])
                parents.append(row)
            row = children[key]
            if position + 1 >= request.start:  # this row predicts the next token
                reads.append((row, request.tokens[position + 1], number))
    order = _depth_first(parents)  # a subtree is then one range of rows, as attention needs it
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
    """Row indices in depth-first order, siblings in given order: subtrees are contiguous."""
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
    """Sum the reads of each request: log-likelihoods in nats, shape (num_requests,)."""
    totals = np.zeros(pack.num_requests, dtype=np.float64)
    np.add.at(totals, pack.read_requests, logprobs)
    return totals
