"""The page in a real browser: no sideways scrolling at desktop and phone width, no requests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from galenic.reports.document import build_report
from galenic.reports.html import to_html
from galenic.reports.runs import load_runs
from galenic.reports.study import build_study_report
from galenic.reports.study_html import study_html
from runs import write_run
from studies import write_study

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,1000",
    "--dump-dom",
)
# The page runs inside a frame of the wanted width: a window cannot be made as narrow as a phone.
# The page's own policy allows one script, the search.
WRAPPER = """<!DOCTYPE html><meta charset="utf-8"><pre id="out"></pre>
<iframe width="1280" height="800" srcdoc="{page}"></iframe>
<iframe width="390" height="800" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const results = [...document.querySelectorAll("iframe")].map(frame => {{
    const inside = frame.contentWindow, root = frame.contentDocument.documentElement;
    const closed = root.scrollWidth;
    frame.contentDocument.querySelectorAll("details").forEach(one => {{ one.open = true; }});
    const cut = [...frame.contentDocument.querySelectorAll("svg")]
      .filter(svg => svg.checkVisibility() && svg.getBoundingClientRect().width < 100).length;
    const page = frame.contentDocument, box = page.querySelector("input[type=search]");
    const cards = [...box.closest("section").querySelectorAll(".card")];
    const find = text => {{
      box.value = text;
      box.dispatchEvent(new inside.Event("input"));
      return cards.filter(card => card.getClientRects().length).length;
    }};
    const cell = page.querySelector("tbody td");
    return {{all: find(""), none: find("nothing-has-this"), wrong: find("{word}"),
      cards: cards.length, offered: box.getClientRects().length,
      label: inside.getComputedStyle(cell, "::before").content,
      width: inside.innerWidth, closed, open: root.scrollWidth, cut,
      requests: inside.performance.getEntriesByType("resource").map(one => one.name),
      ink: getComputedStyle(frame.contentDocument.body).color,
      plots: frame.contentDocument.querySelectorAll("svg").length}};
  }});
  document.getElementById("out").textContent = "RESULT" + JSON.stringify(results) + "END";
}});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} is on the PATH")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("runs")
    common = {"scorings": ["letter", "generate"], "debias": "permutations", "num_items": 25}
    folders = [
        write_run(
            root / "a-run-with-a-rather-long-name-that-has-no-place-to-break-0123456789abcdef",
            benchmarks=["pubmedqa", "medqa_5options"],
            question="Long" + "word" * 60 + " {benchmark} {number}",
            model="organisation/a-model-with-a-long-name-0.5B-instruct-Q4_K_M-imatrix.gguf",
            **common,  # type: ignore[arg-type]
        ),
        write_run(root / "b", benchmarks=["medmcqa"], position_bias=30, keep=40, **common),  # type: ignore[arg-type]
    ]
    runs = load_runs(folders)
    return to_html(build_report(runs), runs)


@pytest.fixture(scope="module")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study") / "long"
    titles = {"small": "Pruned-and-quantized-" + "on-and-on-" * 9, "pruned": "Pruned " * 12}
    write_study(folder, question="Long" + "word" * 60 + " not {benchmark} {number}", titles=titles)
    return study_html(build_study_report(folder))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("which", ["page", "study_page"])
def test_page_fits_desktop_and_phone_and_asks_for_nothing(
    browser: str, which: str, dark: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(which)
    wrapper = tmp_path / "wrapper.html"
    word = "WRONG" if which == "page" else "Newly broken"
    wrapper.write_text(WRAPPER.format(page=escape(page), word=word), encoding="utf-8")
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [browser, *FLAGS, *colours, f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r"RESULT(.*?)END</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    results = json.loads(unescape(found[1]))
    assert [result["width"] for result in results] == [1280, 390]
    for result in results:
        assert result["closed"] <= result["width"], result
        assert result["open"] <= result["width"], result
        assert result["requests"] == []
        assert result["offered"] == 1
        assert result["all"] == result["cards"] > 2
        assert result["none"] == 0
        assert 0 < result["wrong"] < result["cards"]
        assert result["cut"] == 0
        assert result["plots"] > 7
        # On a phone a row is a block, and each cell begins with the name of its column.
        stacked = {"page": '"n"', "study_page": '"Size"'}[which]
        assert result["label"] == (stacked if result["width"] == 390 else "none")
        red = int(re.findall(r"\d+", result["ink"])[0])
        assert (red > 128) == dark
