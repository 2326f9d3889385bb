"""Open models of the llama runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_llama import model_files, open_tiny

from galenic.runtimes.llama import LlamaRuntime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LlamaRuntime]:
    with open_tiny(tmp_path) as runtime:
        yield runtime


@pytest.fixture
def small_model(smollm2: Path) -> Iterator[LlamaRuntime]:
    with LlamaRuntime(model_files(smollm2), threads=1) as runtime:
        yield runtime
