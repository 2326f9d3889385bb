"""The notebook of the docs runs to its end, with a plot, a table and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiny import write_tiny_gguf

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"
MODEL = '"smollm2-135m"'
"""A tiny model stands for it; `make quickstart` and tools/newcomer.sh run on this one."""


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the dev extra")
    nbclient = pytest.importorskip("nbclient", reason="needs the dev extra")
    if not NOTEBOOK.is_file():
        pytest.skip("installed without the repository's docs folder")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tour = nbformat.read(NOTEBOOK, 4)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    asks = [cell for cell in tour.cells if MODEL in cell.source]
    assert len(asks) == 2  # to measure it, and to make it smaller
    for cell in asks:
        cell.source = cell.source.replace(MODEL, f'"{model}"')
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(tour, timeout=900, kernel_name="python3", resources=where).execute()
    shown: dict[str, Any] = {
        cell.source: output for cell in tour.cells for output in cell.get("outputs", [])
    }
    assert any("image/png" in output.get("data", {}) for output in shown.values())
    assert any("text/html" in output.get("data", {}) for output in shown.values())
    triage = next(output for source, output in shown.items() if "galenic.triage" in source)
    assert triage["text"].startswith("today")
    answer = next(cell for cell in tour.cells if "galenic.ask" in cell.source)
    assert "sore throat" in answer.outputs[0]["text"]
