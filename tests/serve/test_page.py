"""The page in a real browser, before a server whose answers are written by the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BROWSERS, ENTER, ESCAPE, TAB, Chromium, Tab, find_browser, wait
from scripted import (
    ABOUT,
    DONE,
    FIRST,
    HOSTILE,
    NHS,
    REST,
    SOURCES,
    UTI,
    Scripted,
    event,
    finding,
    passage,
    played,
    said,
    triage,
)

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]

LOST = "your text is still in the box"


@pytest.fixture(scope="module")
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
    refusals = [one for one in complaints if "Failed to load resource" in one]
    assert len(refusals) == server.refused, complaints
    assert len(complaints) == len(refusals), complaints


def ask(tab: Tab, text: str) -> None:
    tab.run("document.querySelector('#question').focus()")
    tab.type(text)
    tab.press(ENTER)


def answer(tab: Tab, server: Scripted, text: str, *events: bytes) -> None:
    server.play = lambda: played(*events)
    turns = len(words(tab, ".turn"))
    ask(tab, text)
    last = f"document.querySelectorAll('.turn')[{turns}]"
    tab.until(f"{last}?.querySelector('.end').textContent.startsWith('Done')")


def words(tab: Tab, selector: str) -> list[str]:
    found = tab.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.innerText)"
    )
    return [" ".join(one.split()) for one in found]


def value(tab: Tab, selector: str) -> str:
    return str(tab.run(f"document.querySelector({json.dumps(selector)}).value"))


def test_an_answer_is_drawn_as_it_comes(tab: Tab, server: Scripted) -> None:
    server.play = lambda: server.held(*FIRST, after=REST)
    ask(tab, UTI)
    tab.until("document.querySelectorAll('.part li').length === 3")
    assert words(tab, ".asked") == [f"You: {UTI}"]
    assert words(tab, ".tier h2") == ["See someone in the next days"]
    assert words(tab, ".tier .do")[0].startswith("Arrange to see a doctor")
    assert "burning when i pee" in words(tab, ".tier .from")[0]
    assert words(tab, ".part h3") == ["What the sources say", "What to watch for"]
    assert words(tab, ".part-answer li:first-child .cite") == ["[1]", "[2]"]
    assert words(tab, ".part-watch .rule") == [NHS["name"]]
    assert words(tab, ".end") == [""]
    assert words(tab, "#stop") == ["Stop"]
    server.gate.set()
    tab.until("document.querySelector('.end').textContent !== ''")
    assert words(tab, ".part h3")[-1] == "Questions for your appointment"
    assert words(tab, ".unsourced") == ["not sourced"]
    assert words(tab, ".note") == [
        "For your safety: A sentence with a dose was left out: ask a pharmacist."
    ]
    assert words(tab, ".end") == ["Done in 3.2 s · ordered by tiny"]
    assert tab.run(
        "document.querySelector('#stop').hidden && !document.querySelector('#send').hidden"
    )
    assert tab.run("document.querySelector('.tier details').textContent.includes('not there')")
    links = tab.run("[...document.querySelectorAll('a[href^=http]')].map(a => a.rel)")
    assert set(links) == {"noreferrer noopener"}


def test_earlier_messages_and_notes_go_with_a_question(
    tab: Tab, server: Scripted, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"condition": "asthma"}', encoding="utf-8")
    answer(tab, server, "First", *FIRST, *REST)
    assert value(tab, "#question") == ""
    tab.click("#notes summary")
    tab.choose_file("#file", record)
    tab.until("document.querySelector('#context').value !== ''")
    assert "23 characters" in words(tab, "#notes summary")[0]
    ask(tab, "Second")
    tab.until("document.querySelectorAll('.turn .end:not(:empty)').length === 2")
    assert server.asked == [
        {"question": "First", "history": [], "context": None},
        {"question": "Second", "history": ["First"], "context": '{"condition": "asthma"}'},
    ]


def test_keys_of_the_composer(tab: Tab, server: Scripted) -> None:
    ask(tab, "   ")
    assert server.asked == []
    tab.run("document.querySelector('#question').value = ''")
    tab.type("a")
    tab.press(ENTER, shift=True)
    tab.type("b")
    assert value(tab, "#question") == "a\nb"
    tab.click("#send")
    wait(lambda: server.asked != [], "asked")
    assert server.asked[0]["question"] == "a\nb"
    tab.click("#clear")
    tab.click(".chip")
    assert value(tab, "#question") == UTI


def test_an_emergency_is_an_alert(tab: Tab, server: Scripted) -> None:
    found = finding("emergency", "It can be a heart attack.", "Call 112 now.", "chest is crushed")
    other = finding("emergency", "It can be a stroke.", "Call 112 now. Note the time.", "arm")
    lesser = finding("days", "A cold.", "Rest.", "cold")
    answer(tab, server, "My chest is crushed", triage("emergency", found, other, lesser), DONE)
    assert words(tab, "[role=alert].tier h2") == ["Emergency: get help now"]
    assert words(tab, ".tier .do") == ["Call 112 now.", "Note the time."]
    assert "Also noticed, less urgent" in words(tab, ".tier h3")
    shapes = tab.run("document.querySelector('.tier use').getAttribute('href')")
    assert shapes == "#icon-emergency"


@pytest.mark.parametrize("tier", ["emergency", "today", "days", "self-care", "unknown"])
def test_each_tier_has_its_words_and_shape(tab: Tab, server: Scripted, tier: str) -> None:
    answer(tab, server, "x", triage(tier, notes=["A note."], raised="The model is worried."), DONE)
    assert tab.run(f"document.querySelector('#icon-{tier}') !== null")
    assert words(tab, ".tier h2")[0]
    assert {"A note.", "The model is worried."} <= set(words(tab, ".tier p"))


def test_a_citation_opens_its_passage_and_gives_the_focus_back(tab: Tab, server: Scripted) -> None:
    answer(tab, server, UTI, *FIRST, *REST)
    tab.click(".part-answer li:first-child .cite")
    assert tab.run("document.querySelector('#passage').open")
    shown = words(tab, "#passage")[0]
    for part in ("[1] Bladder infection", "A frequent urge.", "NIDDK", "CC BY 4.0", "answer 3"):
        assert part in shown
    assert "US National Institutes of Health" in shown
    assert words(tab, "#passage a") == ["https://www.niddk.nih.gov/"]
    tab.press(ESCAPE)
    tab.until("!document.querySelector('#passage').open")
    focused = tab.run("document.activeElement.getAttribute('aria-label')")
    assert focused == "Source 1: Bladder infection"


def test_without_an_answer_the_passages_are_listed(tab: Tab, server: Scripted) -> None:
    none = event("note", kind="abstained", text="No passage answers this well enough.")
    answer(tab, server, "Odd", triage("unknown"), SOURCES, none, DONE)
    assert words(tab, ".note-abstained") == ["No answer: No passage answers this well enough."]
    assert words(tab, ".passages .open") == ["[1] Bladder infection", "[2] Cystitis"]
    tab.click(".passages li:last-child .open")
    assert "Größer als 38 °C" in words(tab, "#passage")[0]


def test_stop_ends_an_answer_that_never_ends(tab: Tab, server: Scripted) -> None:
    server.play = lambda: server.held(*FIRST)
    ask(tab, UTI)
    tab.until("document.querySelectorAll('.part li').length === 3")
    assert not server.left.is_set()
    tab.click("#stop")
    tab.until("document.querySelector('.stopped') !== null")
    assert server.left.wait(10)
    assert words(tab, ".stopped") == ["Stopped. What stands above is not complete."]
    assert len(words(tab, ".part li")) == 3
    assert tab.run("document.activeElement.id") == "question"
    assert tab.run("document.querySelector('#problem').hidden")


def test_clear_forgets_everything(tab: Tab, server: Scripted) -> None:
    answer(tab, server, "First", *FIRST, *REST)
    server.play = lambda: server.held(*FIRST)
    ask(tab, "Second")
    tab.until("document.querySelectorAll('.turn').length === 2")
    tab.click("#notes summary")
    tab.run("document.querySelector('#context').value = 'asthma'")
    tab.click("#clear")
    assert server.left.wait(10)
    tab.until("!document.querySelector('#send').hidden")
    assert words(tab, "#conversation") == [""]
    assert value(tab, "#context") == value(tab, "#question") == ""
    assert not tab.run("document.querySelector('#welcome').hidden")
    answer(tab, server, "Third", DONE)
    assert server.asked[-1] == {"question": "Third", "history": [], "context": None}
    kept = "[localStorage.length, sessionStorage.length, document.cookie, history.length]"
    assert tab.run(kept) == [0, 0, "", 2]  # the second entry is the page itself
    assert tab.run("indexedDB.databases().then(all => all.length)") == 0


def test_hostile_text_is_shown_as_text(tab: Tab, server: Scripted) -> None:
    found = finding("days", HOSTILE, HOSTILE, HOSTILE)
    found["source"] = {"name": HOSTILE, "url": "javascript:document.title='broken'"}
    bad = passage(1, HOSTILE, HOSTILE, url="javascript:alert(1)", source=HOSTILE, place=HOSTILE)
    events = (
        triage("days", found, populations=[HOSTILE], asides=[{"words": HOSTILE, "why": HOSTILE}]),
        event("sources", sources=[bad]),
        said("answer", HOSTILE, 1, 7),
        said("<b>", HOSTILE, rule={"name": HOSTILE, "url": "data:text/html,x"}),
        event("note", kind=HOSTILE, text=HOSTILE),
        event("constructor", text=HOSTILE),
        event("done", seconds=1, model=HOSTILE, tokens=2),
    )
    answer(tab, server, HOSTILE, *events)
    tab.click(".cite")
    assert words(tab, "#passage .text") == [HOSTILE]
    assert tab.run("document.querySelectorAll('main img, dialog img, main script').length") == 0
    assert tab.run("document.querySelectorAll('.turn a, dialog a').length") == 0
    assert tab.run("document.title") == "Galenic: private medical assistant"
    assert HOSTILE in words(tab, ".asked")[0]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (429, "the line is full. By the rules alone: today.", "By the rules alone: today"),
        (400, "question: too long", "change the text or the notes"),
        (413, "at most 20 bytes are taken", "at most 20 bytes are taken"),
        (500, "", "status 500"),
    ],
)
def test_refusals_are_said_and_the_text_stays(
    tab: Tab, server: Scripted, status: int, reason: str, expected: str
) -> None:
    server.refuse = (status, reason)
    ask(tab, "My question")
    tab.until("!document.querySelector('#problem').hidden")
    assert expected in words(tab, "#problem")[0]
    assert value(tab, "#question") == "My question"
    assert words(tab, ".turn") == []
    server.refuse = None
    tab.press(ENTER)
    tab.until("document.querySelector('.end')?.textContent.startsWith('Done')")
    assert tab.run("document.querySelector('#problem').hidden")
    assert value(tab, "#question") == ""


def test_a_key_is_asked_for_and_kept_in_memory(tab: Tab, server: Scripted) -> None:
    server.key = "k" * 16
    tab.open(f"{server.origin}/")
    tab.until("!document.querySelector('#key-form').hidden")
    ask(tab, "My question")
    tab.until("!document.querySelector('#problem').hidden")
    assert LOST in words(tab, "#problem")[0]
    assert value(tab, "#question") == "My question"
    assert tab.run("document.activeElement.id") == "key"
    tab.type(server.key)
    tab.press(ENTER)
    tab.until("document.querySelector('#key-form').hidden")
    tab.press(ENTER)
    tab.until("document.querySelector('.end')?.textContent.startsWith('Done')")
    assert server.asked[-1]["question"] == "My question"
    assert tab.run("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert value(tab, "#key") == ""


def test_a_server_that_is_gone_is_said(tab: Tab, server: Scripted) -> None:
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.send("Network.emulateNetworkConditions", offline=True, **offline)
    ask(tab, "My question")
    tab.until("!document.querySelector('#problem').hidden")
    assert "cannot be reached" in words(tab, "#problem")[0]
    assert value(tab, "#question") == "My question"
    server.refused = 1  # the console names it once


def test_the_page_says_where_it_runs(browser: Chromium, server: Scripted) -> None:
    for name, where in (("localhost", "this machine"), ("ward3", "ward3")):
        tab = Tab(browser)
        tab.open(server.origin.replace("127.0.0.1", name))
        tab.until("document.querySelector('#about').textContent !== ''")
        assert words(tab, "#private")[0].startswith(f"Private: runs on {where}")
        tab.close()


@pytest.mark.parametrize(
    "end",
    [b"event: sentence\ndata: {", b"data: no JSON\n\n", event("error", message="it broke off")],
    ids=["cut", "garbled", "error"],
)
def test_an_answer_that_breaks_off_gives_the_text_back(
    tab: Tab, server: Scripted, end: bytes
) -> None:
    server.play = lambda: played(*FIRST, end)
    ask(tab, "My question")
    tab.until("document.querySelector('.turn [role=alert]') !== null")
    assert "Broken off" in words(tab, ".turn [role=alert]")[0]
    assert len(words(tab, ".part li")) == 3
    assert value(tab, "#question") == "My question"
    answer(tab, server, "", DONE)
    assert server.asked[-1]["history"] == []


def test_events_are_read_wherever_chunks_are_cut(tab: Tab) -> None:
    script = """(async () => {
      const { readEvents } = await import("/stream.js");
      const text = 'event: a\\r\\ndata: {"x": "é\\u2028€"}\\r\\n\\r\\n: no event\\n\\n' +
        'data:{"y":\\ndata: 1}\\n\\n\\n\\nevent: b\\rdata: 2\\r\\revent: cut\\ndata: 3';
      const bytes = new TextEncoder().encode(text);
      const seen = new Set();
      for (let first = 0; first <= bytes.length; first++) {
        for (const size of [1, 2, 3, bytes.length]) {
          const stream = new ReadableStream({ start(to) {
            to.enqueue(bytes.slice(0, first));
            for (let at = first; at < bytes.length; at += size) {
              to.enqueue(bytes.slice(at, at + size));
            }
            to.close();
          } });
          const found = [];
          for await (const one of readEvents(stream)) found.push(one);
          seen.add(JSON.stringify(found));
        }
      }
      return [...seen];
    })()"""
    [only] = tab.run(script)
    assert json.loads(only) == [
        {"name": "a", "data": {"x": "é\u2028€"}},
        {"name": "message", "data": {"y": 1}},
        {"name": "b", "data": 2},
    ]


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
    assert "16,407 passages" in words(tab, "#about")[0]


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
