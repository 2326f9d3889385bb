"""The token tree against the plainest thing it could be: each request on its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo import EchoRuntime, echo_logprob
from galenic.runtimes.tree import Request, build_pack, common_prefix_length, sum_by_request

TOKENS = st.lists(st.integers(0, 3), min_size=2, max_size=9)


@st.composite
def requests(draw: st.DrawFn, prefix: tuple[int, ...] = ()) -> list[Request]:
    made = []
    for tail in draw(st.lists(TOKENS, min_size=1, max_size=12)):
        tokens = (*prefix, *tail)
        made.append(Request(tokens, draw(st.integers(len(prefix) + 1, len(tokens) - 1))))
    return made


def naive(request: Request) -> float:
    return sum(
        echo_logprob(request.tokens[:at], request.tokens[at])
        for at in range(request.start, len(request.tokens))
    )


@given(requests())
def test_sums_equal_separate_requests(asked: list[Request]) -> None:
    pack = build_pack(asked)
    found = sum_by_request(pack, EchoRuntime().score(pack))
    assert found == pytest.approx([naive(request) for request in asked])


@given(requests(prefix=(9, 8, 7)))
def test_prefix_is_left_out_of_the_rows_and_not_of_the_paths(asked: list[Request]) -> None:
    pack = build_pack(asked, (9, 8, 7))
    assert not set(pack.tokens.tolist()) & {9, 8, 7}
    found = sum_by_request(pack, EchoRuntime().score(pack))
    assert found == pytest.approx([naive(request) for request in asked])


@given(requests())
def test_rows_stand_depth_first_and_each_prefix_once(asked: list[Request]) -> None:
    pack = build_pack(asked)
    paths = [tuple(pack.path(row)) for row in range(len(pack.tokens))]
    needed = {r.tokens[:end] for r in asked for end in range(1, len(r.tokens))}
    assert len(set(paths)) == len(paths)
    assert set(paths) == needed
    # depth first: the ancestors of a row are those of the row before it, cut at some depth
    for before, path in itertools.pairwise(paths):
        assert path[:-1] == before[: len(path) - 1]
    assert [len(path) - 1 for path in paths] == pack.positions.tolist()


@given(requests())
def test_leaves_cover_every_row_with_whole_paths(asked: list[Request]) -> None:
    pack = build_pack(asked)
    for leaf in range(pack.num_leaves):
        rows = [row for row, through in enumerate(pack.leaves) if leaf in through]
        assert pack.parents[rows].tolist() == [-1, *rows[:-1]]
    assert all(pack.leaves)


def test_hand_computed_example() -> None:
    # one stem "1 2", options "3 4" and "5", and the last token of each is never computed
    pack = build_pack([Request((1, 2, 3, 4), 2), Request((1, 2, 5), 2)])
    assert pack.tokens.tolist() == [1, 2, 3]
    assert pack.parents.tolist() == [-1, 0, 1]
    reads = zip(pack.read_rows, pack.read_tokens, pack.read_requests, strict=True)
    assert [tuple(map(int, read)) for read in reads] == [(1, 3, 0), (2, 4, 0), (1, 5, 1)]
    assert pack.num_asked == 7
    assert pack.trees == ((0, 3),)


def test_trees_of_unrelated_texts() -> None:
    pack = build_pack([Request((1, 2, 3), 1), Request((4, 5, 6, 7), 1)])
    assert pack.trees == ((0, 2), (2, 5))


@pytest.mark.parametrize("start", [0, 3, -1])
def test_request_needs_context_and_continuation(start: int) -> None:
    with pytest.raises(ValueError, match="start"):
        Request((1, 2, 3), start)


def test_request_must_continue_the_prefix() -> None:
    with pytest.raises(ValueError, match="continue the prefix"):
        build_pack([Request((1, 2, 3), 2)], (9,))
    with pytest.raises(ValueError, match="continue the prefix"):
        build_pack([Request((1, 2, 3), 1)], (1,))  # its context is the prefix alone


@given(st.lists(TOKENS, max_size=6))
def test_common_prefix(sequences: list[list[int]]) -> None:
    expected = 0
    while (
        sequences
        and all(len(s) > expected for s in sequences)
        and (len({s[expected] for s in sequences}) == 1)
    ):
        expected += 1
    assert common_prefix_length([tuple(s) for s in sequences]) == expected


def test_empty_pack_sums() -> None:
    pack = build_pack([Request((1, 2), 1)])
    assert sum_by_request(pack, np.array([-0.5])).tolist() == [-0.5]


def test_nothing_is_cut_unless_it_is_said() -> None:
    assert Request((1, 2), 1).cut == 0
    assert Request((1, 2), 1, 3).cut == 3


def test_leaves_are_counted() -> None:
    """The last token of a text is read, not computed: it makes no row of its own."""
    assert build_pack([]).num_leaves == 0
    assert build_pack([Request((1, 2, 3), 1), Request((1, 2, 4), 1)]).num_leaves == 1
    assert build_pack([Request((1, 2, 3, 9), 1), Request((1, 2, 4, 9), 1)]).num_leaves == 2
    assert build_pack([Request((1, n, 9), 1) for n in range(2, 7)]).num_leaves == 5
