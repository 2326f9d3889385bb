"""Who says that weights are spread over processes, and where that is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.training.distributed import check_spread, num_local, rank, spreads

PLAIN: Any = SimpleNamespace(fsdp=False)
SPREAD: Any = SimpleNamespace(fsdp=True)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_FSDP", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("said", "expected"),
    [(None, False), ("true", True), ("True", True), ("false", False), ("", False)],
)
def test_accelerate_launch_spreads_the_weights(
    said: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is not None:
        monkeypatch.setenv("ACCELERATE_USE_FSDP", said)
    assert spreads(PLAIN) == expected
    assert spreads(SPREAD)


def test_one_process_and_what_clashes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_spread(PLAIN, {"--cache": True})
    with pytest.raises(UserError, match="this is the only one"):
        check_spread(SPREAD)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="this is the only one"):
        check_spread(PLAIN)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_spread(PLAIN, {"--cache": False})
    with pytest.raises(UserError, match="cannot be combined with --cache"):
        check_spread(PLAIN, {"--base-bits": False, "--cache": True})


def test_the_launcher_says_who_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (rank(), num_local()) == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (rank(), num_local()) == (3, 4)
