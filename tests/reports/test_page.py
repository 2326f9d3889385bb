"""The HTML page: self-contained, escaped, labelled, and says what it must."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from galenic.reports.document import DISCLAIMER, READING, build_report
from galenic.reports.html import to_html
from galenic.reports.runs import load_runs
from runs import write_run

LOADING = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
HOSTILE = "<script>alert('{number}')</script> \"quoted\" & <img src=x> {benchmark}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render(*folders: Path) -> str:
    runs = load_runs(list(folders))
    return to_html(build_report(runs), runs)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("runs")
    hostile = write_run(
        root / "a<b>$x$ & co",
        benchmarks=["pubmedqa", "medmcqa"],
        scorings=["letter", "generate"],
        debias="permutations",
        question=HOSTILE,
        model="evil</title><b>$model$",
        num_items=30,
    )
    collapsed = write_run(root / "collapsed", position_bias=30, num_items=30, keep=20)
    return render(hostile, collapsed)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.mark.slow
def test_tags_nest_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_nothing_outside_the_page_is_named(html: str, page: Page) -> None:
    for tag, attributes in page.elements:
        for name in LOADING & attributes.keys():
            assert (attributes[name] or "").startswith("#"), f"<{tag} {name}={attributes[name]!r}>"
    assert {"link", "iframe", "object", "embed", "img", "base"}.isdisjoint(
        tag for tag, _ in page.elements
    )
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert "@import" not in html
    assert re.findall(r"https?://[^\s\"<]+", html) == []


def test_every_reference_inside_the_page_resolves(html: str, page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [a["href"] for _, a in page.elements if (a.get("href") or "").startswith("#")]
    assert len(links) > 6
    assert {str(link)[1:] for link in links} <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= ids
    labels = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labels <= ids


def test_a_policy_forbids_all_scripts_but_the_search(html: str, page: Page) -> None:
    policy = [a["content"] for a in page.all("meta") if a.get("http-equiv")]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == [
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    ]
    assert not re.search(r"fetch|XMLHttp|innerHTML|eval|import", script)
    handlers = [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    assert handlers == []


def test_hostile_names_and_questions_come_out_as_text(page: Page) -> None:
    assert "<script>alert('" in page.text
    assert '"quoted" & <img src=x> pubmedqa' in page.text
    assert "evil</title><b>$model$" in page.text
    labels = [data for data in page.texts if "a<b>$x$ & co" in data and "·" in data]
    assert any("MedMCQA · letter, n 30 · a<b>$x$ & co" in label for label in labels)


def test_plots_speak_and_tables_have_headers(page: Page) -> None:
    plots = page.all("svg")
    # One wide plot, then 4 or (generated answers) 2 for each of the rows.
    assert len(plots) == 1 + 4 * 4 + 2 * 2
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    assert all(a.get("viewbox") and not a.get("style") for a in plots)
    assert len({a["aria-label"] for a in plots}) > 15
    assert all(a.get("scope") in {"row", "col"} for a in page.all("th"))
    boxes = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table"))
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in boxes)


def test_each_cell_has_the_name_of_its_column_for_phones(html: str, page: Page) -> None:
    cells = page.all("td")
    assert all("data-label" in a for a in cells)
    first = re.search(r"<tbody>\s*<tr.*?</tr>", html, re.DOTALL)
    assert first is not None
    labels = re.findall(r'data-label="([^"]*)"', first[0])
    assert labels == [
        *("n", "Accuracy", "Accuracy, 0 to 1", "Predictions"),
        *("Majority", "Difference", "Uniform", "Macro F1"),
    ]  # fmt: skip
    assert page.all("script") == [{}]


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_page_says_what_it_must(page: Page) -> None:
    assert page.text.count(DISCLAIMER) == 2
    assert "collapsed: 100 % A" in page.text
    assert "Incomplete. Run collapsed holds 20 of 30 planned answers" in page.text
    for word, _ in READING:
        assert word in page.text
    for fact in ("ab" * 32, "cd" * 32, "134,515,008 parameters", "Q4_K_M", "3.0 times fewer"):
        assert fact in page.text
    assert "galenic evaluate --model evil</title>" in page.text


def test_colours_follow_the_reader(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert "#010203" not in html
    assert html.count("currentColor") > 50


@pytest.mark.slow
def test_sixteen_rows_stay_below_two_megabytes(tmp_path: Path) -> None:
    folders = [
        write_run(
            tmp_path / name,
            benchmarks=["pubmedqa", "medqa_4options", "medqa_5options", "medmcqa"],
            scorings=["letter", "text"],
            num_items=60,
            seed=seed,
        )
        for seed, name in enumerate(["dense", "compressed"])
    ]
    text = render(*folders)
    assert len(build_report(load_runs(folders)).rows) == 16
    assert len(text.encode()) < 2_000_000


@pytest.mark.slow
def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path, num_items=10)
    assert render(folder) == render(folder)
