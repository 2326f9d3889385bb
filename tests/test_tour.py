"""The notebook of the docs runs to its end, with a plot, a table and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the dev extra")
    nbclient = pytest.importorskip("nbclient", reason="needs the dev extra")
    if not NOTEBOOK.is_file():
        pytest.skip("installed without the repository's docs folder")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tour = nbformat.read(NOTEBOOK, 4)
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
