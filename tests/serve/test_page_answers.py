"""Asking on the page in a real browser, before a server whose answers are written by the test."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import ENTER, ESCAPE, Tab, wait
from page import answer, ask, value, words
from scripted import (
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
    said,
    triage,
)

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]


def test_an_answer_is_drawn_as_it_comes(tab: Tab, server: Scripted) -> None:
    server.play = lambda: server.held(*FIRST, after=REST)
    ask(tab, UTI)
    tab.until("document.querySelectorAll('.part li').length === 3")
    assert words(tab, ".asked") == [f"You: {UTI}"]
    assert words(tab, ".tier h2") == ["See someone within a few days"]
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


def test_where_questions_come_from_is_said_once_behind_them(tab: Tab, server: Scripted) -> None:
    two = (said("questions", text, rule=NHS) for text in ("Is it wax?", "Are drops safe?"))
    answer(tab, server, UTI, *FIRST, *two, DONE)
    assert words(tab, ".part-questions li") == ["Is it wax?", "Are drops safe?"]
    assert words(tab, ".part-questions ul + .rule") == [NHS["name"]]


def test_a_raised_tier_takes_the_place_of_the_first(tab: Tab, server: Scripted) -> None:
    raised = triage("today", raised="the model finds an ambulance likely")
    answer(tab, server, UTI, *FIRST, raised, *REST)
    assert words(tab, ".tier h2") == ["Get medical help today"]
    assert words(tab, ".tier .raised") == ["the model finds an ambulance likely"]
    assert tab.run("document.querySelector('.tier').getAttribute('role')") == "alert"
    assert words(tab, ".part h3")[0] == "What the sources say"  # what was drawn before stays


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
    assert not tab.run("document.querySelector('#notes').open")  # they leave room for the answer
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
    assert words(tab, ".stopped") == ["Stopped. The answer above is not complete."]
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
        triage("days", found, people=[HOSTILE], asides=[{"words": HOSTILE, "why": HOSTILE}]),
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
