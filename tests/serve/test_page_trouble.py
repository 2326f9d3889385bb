"""The page when something goes wrong: refusals, a key that is missing, answers that break off."""

from __future__ import annotations

import json

import pytest
from chromium import ENTER, Tab
from page import answer, ask, value, words
from scripted import DONE, FIRST, Scripted, event, played

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]

LOST = "Your text is still in the box"


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
