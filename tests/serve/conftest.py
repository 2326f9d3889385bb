"""A browser and a scripted server for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import BROWSERS, Chromium, Tab, find_browser
from scripted import Scripted


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} is on the PATH")
    found = Chromium(path, tmp_path_factory.mktemp("browser") / "profile")
    yield found
    found.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Scripted]:
    found = Scripted()
    yield found
    found.close()


@pytest.fixture
def server(running: Scripted) -> Iterator[Scripted]:
    running.reset()
    yield running
    running.gate.set()


@pytest.fixture
def tab(browser: Chromium, server: Scripted) -> Iterator[Tab]:
    found = Tab(browser)
    found.shape(1280, 900)
    found.open(f"{server.origin}/")
    found.until("document.querySelector('#about').textContent !== ''")
    yield found
    asked_for = found.requests()
    complaints = found.complaints()
    found.close()
    assert asked_for
    assert all(address.startswith(f"{server.origin}/") for address in asked_for), asked_for
    # The browser asks for the icon when it likes, also while the server is away.
    complaints = [one for one in complaints if "/favicon" not in one]
    refusals = [one for one in complaints if "Failed to load resource" in one]
    assert len(refusals) == server.refused, complaints
    assert len(complaints) == len(refusals), complaints
