"""How the page looks and is reached: widths, colours, contrast, names, keys."""

from __future__ import annotations

import pytest
from chromium import ESCAPE, TAB, Chromium, Tab
from page import answer, words
from scripted import ABOUT, FIRST, REST, UTI, Scripted, event, passage, said

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]


def test_the_page_says_where_it_runs(browser: Chromium, server: Scripted) -> None:
    for name, where in (("localhost", "this machine"), ("ward3", "ward3")):
        tab = Tab(browser)
        tab.open(server.origin.replace("127.0.0.1", name))
        tab.until("document.querySelector('#about').textContent !== ''")
        assert words(tab, "#private")[0].startswith(f"Private: runs on {where}")
        tab.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways(tab: Tab, server: Scripted, width: int, dark: bool) -> None:
    tab.shape(width, 740, dark=dark)
    fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth"
    assert tab.run(fits) == width
    long = passage(3, "Long" + "word" * 60, "a" * 500, url="https://x.example/" + "b" * 300)
    more = (event("sources", sources=[long]), said("answer", "c" * 300, 3))
    answer(tab, server, "q" * 400, *FIRST, *more, *REST)
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.run(fits) == width
    for opener, dialog in (
        (".part-answer li:last-child .cite", "passage"),
        ("footer .scores", "scores"),
    ):
        tab.run(f"document.querySelector('{opener}').click()")
        box = tab.run(
            f"(() => {{ const box = document.querySelector('#{dialog}').getBoundingClientRect();"
            f"const body = document.querySelector('#{dialog}-body');"
            "return [box.left, innerWidth - box.right, body.clientWidth - body.scrollWidth]; })()"
        )
        assert min(box) >= 0, (dialog, box)
        assert tab.run(fits) == width
        tab.run(f"document.querySelector('#{dialog}').close()")
    ground = tab.run("getComputedStyle(document.body).backgroundColor")
    level = int(ground.removeprefix("rgb(").partition(",")[0])
    assert (level < 100) == dark


def test_scores_are_one_click_away(tab: Tab) -> None:
    tab.click("footer .scores")
    assert words(tab, "#scores tbody tr") == ["pubmedqa letter 500 43.6 (39.3 to 48.0) 30.0 55.2"]
    assert str(ABOUT["scores_note"]) in words(tab, "#scores")[0]
    tab.press(ESCAPE)
    assert tab.run("document.activeElement.className").split()[:2] == ["quiet", "scores"]
    assert words(tab, "#attribution li") == ABOUT["attribution"]
    assert "16,407 passages" in words(tab, "#sources")[0]


def test_scores_fit_a_phone(tab: Tab) -> None:
    tab.shape(360, 740)
    tab.click("footer .scores")
    assert tab.run("(() => { const t = document.querySelector('#scores .scroll');"
                   "return t.scrollWidth <= t.clientWidth; })()")  # fmt: skip
    label = "getComputedStyle(document.querySelector('#scores td'), '::before').content"
    assert tab.run(label) == '"Scoring"'


def test_every_control_has_a_name_and_a_place_in_the_order(tab: Tab, server: Scripted) -> None:
    answer(tab, server, UTI, *FIRST, *REST)
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tab.run("document.querySelector('#key-form').hidden = false")
    nodes = tab.accessible()
    controls = ("button", "textbox", "link", "DisclosureTriangle", "dialog", "region", "form")
    assert [role for role, name in nodes if role in controls and not name] == []
    roles = {role for role, _ in nodes}
    assert {"banner", "main", "contentinfo", "heading", "article", "textbox", "button"} <= roles
    assert ("button", "Source 1: Bladder infection") in nodes
    tab.run("document.querySelector('#key-form').hidden = true")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    reached = set()
    for _ in range(60):
        tab.press(TAB)
        reached.add(tab.run("document.activeElement.id || document.activeElement.className"))
        assert tab.run(f"document.activeElement === document.body || {outline} !== 'none'")
    assert {"skip", "question", "send", "clear", "context", "file", "cite", "open"} <= reached


def test_contrast_of_the_tiers(tab: Tab, server: Scripted) -> None:
    """WCAG 2.2: 4.5 to 1 for text, in both colour schemes."""
    script = """(() => {
      const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const light = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((one) => one / 255).map(
          (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const root = getComputedStyle(document.documentElement);
      const ratio = (one, other) => {
        const [low, high] = [one, other].map((name) => light(root.getPropertyValue(name)))
          .sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      };
      const tiers = ["emergency", "today", "days", "self-care", "unknown"];
      return Math.min(...tiers.flatMap((one) => [`--${one}`, "--ink", "--soft"].map(
          (text) => ratio(text, `--${one}-ground`))),
        ratio("--ink", "--ground"), ratio("--soft", "--ground"), ratio("--soft", "--card"),
        ratio("--accent", "--accent-ground"), ratio("--on-accent", "--accent"),
        ratio("--today", "--ground"), ratio("--accent", "--card"));
    })()"""
    for dark in (False, True):
        tab.shape(1280, 900, dark=dark)
        assert tab.run(script) >= 4.5, dark
