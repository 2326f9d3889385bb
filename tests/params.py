"""Parameters of tests of which some are slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from galenic.compression.quantize.kquant import BLOCK_TYPES

__all__ = ["block_types", "one_fast"]


def one_fast(values: Iterable[Any]) -> list[Any]:
    """The first is tried by `make test-fast`, and all by `make test`."""
    first, *others = values
    return [first, *(pytest.param(one, marks=pytest.mark.slow) for one in others)]


def block_types(names: Iterable[str] = BLOCK_TYPES) -> list[Any]:
    """ggml makes tables for IQ2 and IQ3 at their first use, which takes seconds: they are slow."""
    return [
        pytest.param(name, marks=pytest.mark.slow if name[:3] in ("IQ2", "IQ3") else ())
        for name in names
    ]
